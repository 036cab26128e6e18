"""Scenes: a few moving shapes, and handwritten digits that flash for one sampled frame.

Lengths are fractions of the frame's width, y points down, and time runs from 0 (first frame) to 1 (last).
A scene is drawn by `draw.py` and asked about by `questions.py`; both see only what is here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

FRAMES = 16  # what the model samples from a clip
COLOURS = {
    "red": (220, 45, 45),
    "green": (45, 185, 65),
    "blue": (55, 85, 235),
    "yellow": (235, 210, 45),
    "purple": (165, 60, 205),
    "cyan": (60, 210, 225),
}
KINDS = ("circle", "square", "triangle", "cross")
SIZES = ("small", "large")
MOTIONS = ("left", "right", "up", "down", "still", "bounce")
STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
CLOSE = 0.02  # shapes that do not meet stay at least this far apart


@dataclass
class Object:
    colour: str
    kind: str
    size: str
    radius: float
    motion: str
    appears: int  # the first sampled frame that shows it
    path: list[tuple[float, float, float]]  # (time, x, y), linear between
    depth: int = 0  # drawn later when larger

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"

    def at(self, time: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        times, xs, ys = zip(*self.path)
        return np.interp(time, times, xs), np.interp(time, times, ys)

    def shown(self, time: float) -> bool:
        return time * (FRAMES - 1) > self.appears - 0.5


@dataclass
class Flash:
    digit: int
    frame: int  # the one sampled frame that shows it
    image: int  # which handwritten image of the set
    x: float
    y: float
    width: float

    def shown(self, time: float) -> bool:
        return abs(time * (FRAMES - 1) - self.frame) < 0.5


@dataclass
class Scene:
    objects: list[Object]
    flashes: list[Flash]
    event: str  # "collide", "pass" or "none"
    pair: tuple[str, str] | None  # the colours of the two that meet; of "pass", the one in front first
    seed: int  # of the look: background, noise, drift, colour jitter
    look: dict = field(default_factory=dict)


def sample_scene(rng: np.random.Generator, digits: dict[int, np.ndarray]) -> Scene:
    """A random scene; `digits` gives for each digit the images that may be used (train and test sets differ)."""
    while True:
        count = int(rng.choice([1, 2, 3, 4], p=[0.15, 0.35, 0.3, 0.2]))
        objects, event = _objects(rng, count)
        if objects is not None:
            break
    pair = (objects[0].colour, objects[1].colour) if event != "none" else None
    order = rng.permutation(len(objects))
    return Scene([objects[i] for i in order], _flashes(rng, digits), event, pair, int(rng.integers(1 << 31)))


def _objects(rng: np.random.Generator, count: int) -> tuple[list[Object] | None, str]:
    colours = rng.choice(list(COLOURS), size=count, replace=False)
    appears = _appearances(rng, count)
    event = str(rng.choice(["collide", "pass", "none"], p=[0.3, 0.25, 0.45])) if count > 1 else "none"
    objects: list[Object] = []
    for i in range(count):
        size = SIZES[int(rng.integers(2))]
        radius = float(rng.uniform(0.075, 0.088) if size == "small" else rng.uniform(0.135, 0.16))
        objects.append(Object(str(colours[i]), KINDS[int(rng.integers(len(KINDS)))], size, radius, "still", 0, [], 0))
    first = 0
    if event != "none":
        _meeting(rng, objects[0], objects[1], event)
        first = 2
    for i in range(first, count):
        one = objects[i]
        one.appears = appears[i]
        for _ in range(30):
            _walk(rng, one)
            if all(_apart(one, other) for other in objects[:i]):
                break
        else:
            return None, event
    return objects, event


def _appearances(rng: np.random.Generator, count: int) -> list[int]:
    """First frames: the first object's is 0, the others' 0 or later, late ones at least three apart."""
    late = [0]
    for _ in range(1, count):
        choices = [f for f in range(3, 12) if all(abs(f - other) >= 3 for other in late)]
        late.append(int(rng.choice(choices)) if choices and rng.random() < 0.55 else 0)
    return late


def _walk(rng: np.random.Generator, one: Object) -> None:
    one.motion = MOTIONS[int(rng.choice(5, p=[0.19, 0.19, 0.19, 0.19, 0.24]))]
    start = one.appears / (FRAMES - 1)
    far = float(rng.uniform(0.35, 0.6))
    sx, sy = STEP[one.motion]
    low, high = one.radius + 0.03, 1 - one.radius - 0.03

    def span(step: int) -> tuple[float, float]:
        if step == 0:
            at = float(rng.uniform(low, high))
            return at, at
        begin = float(rng.uniform(low, high - far))
        return (begin, begin + far) if step > 0 else (begin + far, begin)

    (x0, x1), (y0, y1) = span(sx), span(sy)
    one.path = [(start, x0, y0), (1.0, x1, y1)]


def _meeting(rng: np.random.Generator, a: Object, b: Object, event: str) -> None:
    """Lets two objects approach along one axis; they bounce off each other, or `a` passes in front of `b`."""
    for one in (a, b):
        one.appears, one.motion = 0, "bounce"
    flip, upright = rng.random() < 0.5, rng.random() < 0.5
    low, high = a.radius + 0.03, 1 - b.radius - 0.03
    across = float(rng.uniform(0.2, 0.8))
    meet = float(rng.uniform(0.35, 0.65))
    touch_a, touch_b = 0.5 - a.radius * 0.95, 0.5 + b.radius * 0.95
    if event == "collide":
        shift = float(rng.uniform(-0.08, 0.08))
        along_a = [(0.0, low), (meet, touch_a + shift), (1.0, low + float(rng.uniform(0, 0.06)))]
        along_b = [(0.0, high), (meet, touch_b + shift), (1.0, high - float(rng.uniform(0, 0.06)))]
    else:
        a.depth = 1
        along_a, along_b = [(0.0, low), (1.0, 1 - a.radius - 0.03)], [(0.0, high), (1.0, b.radius + 0.03)]
        if rng.random() < 0.4:
            at = float(rng.uniform(0.45, 0.6))
            along_b = [(0.0, at), (1.0, at)]
            b.motion = "still"
    for one, along in ((a, along_a), (b, along_b)):
        points = [(t, 1 - p if flip else p) for t, p in along]
        one.path = [(t, across, p) if upright else (t, p, across) for t, p in points]
        if event == "pass" and one.motion != "still":
            forward = points[-1][1] > points[0][1]
            one.motion = ("down" if forward else "up") if upright else ("right" if forward else "left")


def _apart(a: Object, b: Object) -> bool:
    times = np.linspace(max(a.appears, b.appears) / (FRAMES - 1), 1, 24)
    ax, ay = a.at(times)
    bx, by = b.at(times)
    return bool(np.min(np.hypot(ax - bx, ay - by)) > a.radius + b.radius + CLOSE)


def _flashes(rng: np.random.Generator, digits: dict[int, np.ndarray]) -> list[Flash]:
    count = int(rng.choice([0, 1, 2], p=[0.25, 0.5, 0.25]))
    frames = rng.permutation(FRAMES)[:2]
    if abs(int(frames[0]) - int(frames[1])) < 2:
        frames[1] = (frames[0] + 5) % FRAMES
    values = rng.choice(10, size=2, replace=False)
    flashes = []
    for value, frame in zip(values[:count], frames[:count]):
        width = float(rng.uniform(0.34, 0.44))
        x, y = rng.uniform(width / 2, 1 - width / 2, size=2)
        image = int(rng.choice(digits[int(value)]))
        flashes.append(Flash(int(value), int(frame), image, float(x), float(y), width))
    return sorted(flashes, key=lambda flash: flash.frame)
