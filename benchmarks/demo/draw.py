"""Draws scenes: numpy arrays, anti-aliased edges, a textured background, noise, and a drifting camera."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image

from world import COLOURS, FRAMES, Flash, Object, Scene


@lru_cache(maxsize=1)
def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's bundled handwritten digits: images [n, 8, 8] in 0…1, labels [n]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images / 16).astype(np.float32), data.target


def digit_split(test: bool) -> dict[int, np.ndarray]:
    """For each digit, the images of the training set, or of the test set (the last fifth, by other writers)."""
    _, labels = digit_images()
    edge = len(labels) * 4 // 5
    part = range(edge, len(labels)) if test else range(edge)
    return {digit: np.array([i for i in part if labels[i] == digit]) for digit in range(10)}


def draw(scene: Scene, side: int, times: np.ndarray) -> np.ndarray:
    """Frames [n, side, side, 3] u8 at the given times."""
    rng = np.random.default_rng(scene.seed)
    base, pattern = _background(rng, side + side // 4)
    jitter = {name: np.clip(np.array(rgb) + rng.integers(-18, 19, 3), 0, 255) for name, rgb in COLOURS.items()}
    drift, phase = rng.uniform(-0.03, 0.03, 2), rng.uniform(0, 2 * np.pi, 2)
    turns = rng.uniform(0.3, 1.0, 2)
    sigma = float(rng.choice([0.0, 2.0, 4.0, 7.0]))
    margin = side // 8
    frames = np.empty((len(times), side, side, 3), np.uint8)
    speckle = rng.normal(0, sigma, (side + 37, side + 53, 1)).astype(np.float32) if sigma else None
    for n, time in enumerate(times):
        dx, dy = drift * np.sin(2 * np.pi * turns * time + phase)
        left, top = margin + round(-dx * side), margin + round(-dy * side)
        canvas = (base + pattern[top : top + side, left : left + side]).astype(np.float32)
        for one in sorted(scene.objects, key=lambda one: one.depth):
            if one.shown(time):
                x, y = one.at(time)
                _shape(canvas, one, float(x + dx) * side, float(y + dy) * side, side, jitter[one.colour])
        for flash in scene.flashes:
            if flash.shown(time):
                _digit(canvas, flash, side)
        if speckle is not None:
            oy, ox = rng.integers(37), rng.integers(53)
            canvas += speckle[oy : oy + side, ox : ox + side]
        frames[n] = np.clip(canvas + 0.5, 0, 255)
    return frames


def _background(rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    base = rng.uniform(12, 70, 3).astype(np.float32)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(4, 14)
    along = np.cos(angle) * x + np.sin(angle) * y
    kind = rng.integers(4)
    if kind == 0:
        wave = np.zeros_like(x)
    elif kind == 1:
        wave = along - along.mean()
    elif kind == 2:
        wave = np.sin(along * rng.uniform(20, 60))
    else:
        cells = rng.uniform(4, 9)
        wave = np.sign(np.sin(x * cells * np.pi) * np.sin(y * cells * np.pi))
    return base, (wave * strength)[..., None]


def _shape(canvas: np.ndarray, one: Object, x: float, y: float, side: int, rgb: np.ndarray) -> None:
    r = one.radius * side
    x0, x1 = max(int(x - r) - 2, 0), min(int(x + r) + 3, side)
    y0, y1 = max(int(y - r) - 2, 0), min(int(y + r) + 3, side)
    if x0 >= x1 or y0 >= y1:
        return
    px = (np.arange(x0, x1, dtype=np.float32) + 0.5 - x)[None, :]
    py = (np.arange(y0, y1, dtype=np.float32) + 0.5 - y)[:, None]
    ax, ay = np.abs(px), np.abs(py)
    if one.kind == "circle":
        inside = r - np.sqrt(px * px + py * py)
    elif one.kind == "square":
        inside = 0.88 * r - np.maximum(ax, ay)
    elif one.kind == "triangle":
        inside = np.minimum(0.75 * r - py, (0.9 * r + py) * 0.5 - ax * 0.85)
    else:
        arm = 0.36 * r
        inside = np.maximum(np.minimum(arm - ax, r - ay), np.minimum(arm - ay, r - ax))
    cover = np.clip(inside + 0.5, 0, 1)[..., None]
    patch = canvas[y0:y1, x0:x1]
    patch += cover * (rgb.astype(np.float32) - patch)


def _digit(canvas: np.ndarray, flash: Flash, side: int) -> None:
    images, _ = digit_images()
    size = round(flash.width * side)
    image = Image.fromarray(images[flash.image]).resize((size, size), Image.BICUBIC)
    cover = np.clip(np.asarray(image), 0, 1)[..., None]
    left = min(max(round(flash.x * side - size / 2), 0), side - size)
    top = min(max(round(flash.y * side - size / 2), 0), side - size)
    patch = canvas[top : top + size, left : left + size]
    patch += cover * (np.float32(245) - patch)


def shrink(frames: np.ndarray, side: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Resizes square frames as the model's preprocessing does; with `rng`, after the losses of a codec, imitated by JPEG
    (the same transform and the same subsampled colours, at a hundredth of the cost of encoding a clip)."""
    out = np.empty((len(frames), side, side, 3), np.uint8)
    quality = int(rng.integers(30, 95)) if rng is not None else 0
    for n, frame in enumerate(frames):
        image = Image.fromarray(frame)
        if quality:
            coded = io.BytesIO()
            image.save(coded, "JPEG", quality=quality)
            image = Image.open(coded)
        out[n] = np.asarray(image.resize((side, side), Image.BICUBIC))
    return out


def sampled_times() -> np.ndarray:
    return np.arange(FRAMES) / (FRAMES - 1)
