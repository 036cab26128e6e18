"""Questions about a scene, with the one right answer of each; and a description of the whole clip.

`DETAIL` kinds hang on something that one sampled frame shows, which the pooled fast tokens blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from world import COLOURS, KINDS, Scene

CLOSED = (
    "colour", "shape", "size", "count", "exists", "choice", "motion", "order", "place", "event",
    "digit", "flashes", "moment", "sentence")
DETAIL = ("digit", "flashes", "moment")
OPEN = ("describe",)
DOES = {
    "left": "moves left", "right": "moves right", "up": "moves up", "down": "moves down",
    "still": "stays still", "bounce": "bounces back"}
MOTION = {**{way: way for way in ("left", "right", "up", "down")}, "still": "nowhere", "bounce": "back and forth"}
EVENTS = {"collide": "they collide", "pass": "one passes in front", "none": "they never meet"}
MOMENTS = ("at the start", "in the middle", "at the end")


@dataclass
class Item:
    kind: str
    question: str
    answer: str


def questions(scene: Scene, rng: np.random.Generator, kinds: tuple[str, ...] = CLOSED + OPEN) -> list[Item]:
    """At most one question of each kind that the scene allows, in random order."""
    items = []
    for kind in rng.permutation(kinds):
        asked = ASK[str(kind)](scene, rng)
        if asked is not None:
            items.append(Item(str(kind), *asked))
    return items


def _pick(rng: np.random.Generator, options):
    return options[int(rng.integers(len(options)))]


def _lettered(rng: np.random.Generator, right: str, wrong: list[str]) -> tuple[str, str]:
    options = [right, *wrong]
    order = rng.permutation(len(options))
    text = " ".join(f"{'ABCD'[n]}. {options[i]}" for n, i in enumerate(order))
    return text, "ABCD"[int(np.flatnonzero(order == 0)[0])]


def colour(scene: Scene, rng):
    alone = [one for one in scene.objects if sum(other.kind == one.kind for other in scene.objects) == 1]
    if not alone:
        return None
    one = _pick(rng, alone)
    return _pick(rng, (f"What colour is the {one.kind}?", f"Which colour does the {one.kind} have?")), one.colour


def shape(scene: Scene, rng):
    one = _pick(rng, scene.objects)
    return _pick(rng, (f"What shape is the {one.colour} one?", f"Which shape is {one.colour}?")), one.kind


def size(scene: Scene, rng):
    one = _pick(rng, scene.objects)
    return f"Is the {one.name} small or large?", one.size


def count(scene: Scene, rng):
    choice = int(rng.integers(3))
    if choice == 0:
        return "How many shapes are there?", str(len(scene.objects))
    if choice == 1:
        kind = _pick(rng, KINDS) if rng.random() < 0.3 else _pick(rng, scene.objects).kind
        plural = "crosses" if kind == "cross" else kind + "s"
        return f"How many {plural} are there?", str(sum(one.kind == kind for one in scene.objects))
    wanted = _pick(rng, ("small", "large"))
    return f"How many {wanted} shapes are there?", str(sum(one.size == wanted for one in scene.objects))


def exists(scene: Scene, rng):
    if rng.random() < 0.5:
        return f"Is there a {_pick(rng, scene.objects).name}?", "yes"
    return f"Is there a {_absent(scene, rng)}?", "no"


def _absent(scene: Scene, rng) -> str:
    """A name that no shape of the scene has; half of the time its colour is there, of another shape."""
    there = {one.name for one in scene.objects}
    while True:
        tone = _pick(rng, scene.objects).colour if rng.random() < 0.5 else _pick(rng, tuple(COLOURS))
        name = f"{tone} {_pick(rng, KINDS)}"
        if name not in there:
            return name


def choice(scene: Scene, rng):
    wrong: list[str] = []
    while len(wrong) < 3:
        name = _absent(scene, rng)
        if name not in wrong:
            wrong.append(name)
    text, letter = _lettered(rng, _pick(rng, scene.objects).name, wrong)
    return f"Which of these is in the video? {text}", letter


def motion(scene: Scene, rng):
    one = _pick(rng, scene.objects)
    return _pick(rng, (f"Which way does the {one.name} move?", f"Where does the {one.colour} shape go?")), MOTION[one.motion]


def order(scene: Scene, rng):
    by_time = sorted(scene.objects, key=lambda one: one.appears)
    asked = []
    if len(by_time) > 1 and by_time[-1].appears - by_time[-2].appears >= 3:
        asked.append(("Which colour appears last?", by_time[-1].colour))
    if len(by_time) > 1 and by_time[1].appears - by_time[0].appears >= 3:
        asked.append(("Which colour appears first?", by_time[0].colour))
    return _pick(rng, asked) if asked else None


def place(scene: Scene, rng):
    late = bool(rng.integers(2))
    clear = []
    for one in scene.objects:
        x, y = one.at(1.0 if late else 0.0)
        if (late or one.appears == 0) and min(abs(x - 0.5), abs(y - 0.5)) > 0.1:
            clear.append((one, f"{'top' if y < 0.5 else 'bottom'} {'left' if x < 0.5 else 'right'}"))
    if not clear:
        return None
    one, where = _pick(rng, clear)
    return f"In which corner is the {one.colour} {one.kind} {'at the end' if late else 'at the start'}?", where


def event(scene: Scene, rng):
    if len(scene.objects) < 2:
        return None
    if rng.random() < 0.4:
        return "Do two shapes collide?", "yes" if scene.event == "collide" else "no"
    text, letter = _lettered(rng, EVENTS[scene.event], [text for name, text in EVENTS.items() if name != scene.event])
    return f"What happens between the shapes? {text}", letter


def digit(scene: Scene, rng):
    if not scene.flashes:
        return ("Which digit flashes?", "none") if rng.random() < 0.3 else None
    if len(scene.flashes) == 1:
        return "Which digit flashes?", str(scene.flashes[0].digit)
    low, high = sorted(flash.digit for flash in scene.flashes)
    return "Which two digits flash?", f"{low} and {high}"


def flashes(scene: Scene, rng):
    return _pick(rng, ("How many digits flash?", "How many times does a digit flash?")), str(len(scene.flashes))


def moment_of(frame: int) -> str | None:
    """When a flash is; None where two answers would be near."""
    if frame <= 4:
        return MOMENTS[0]
    if frame >= 11:
        return MOMENTS[2]
    return MOMENTS[1] if 6 <= frame <= 9 else None


def moment(scene: Scene, rng):
    if len(scene.flashes) != 1 or moment_of(scene.flashes[0].frame) is None:
        return None
    right = moment_of(scene.flashes[0].frame)
    text, letter = _lettered(rng, right, [text for text in MOMENTS if text != right])
    return f"When does the digit flash? {text}", letter


def sentence(scene: Scene, rng):
    one = _pick(rng, scene.objects)
    return f"What does the {one.colour} shape do?", f"The {one.size} {one.name} {DOES[one.motion]}."


def describe(scene: Scene, rng):
    rank = list(COLOURS)
    said = []
    for one in sorted(scene.objects, key=lambda one: rank.index(one.colour)):
        said.append(f"A {one.size} {one.name} {'appears later and ' if one.appears else ''}{DOES[one.motion]}.")
    if scene.event == "collide":
        said.append("Two shapes collide.")
    if scene.event == "pass":
        said.append("One shape passes in front of another.")
    for value in sorted(flash.digit for flash in scene.flashes):
        said.append(f"The digit {value} flashes.")
    return _pick(rng, ("Describe the video.", "What happens in this video?")), " ".join(said)


ASK = {
    "colour": colour, "shape": shape, "size": size, "count": count, "exists": exists, "choice": choice,
    "motion": motion, "order": order, "place": place, "event": event, "digit": digit, "flashes": flashes,
    "moment": moment, "sentence": sentence, "describe": describe}
