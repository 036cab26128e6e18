#!/usr/bin/env python3
"""Makes the evaluation set: make_eval.py OUT [--clips 500] [--seed 1000].

Writes OUT/clips/NNN.mp4 (128 × 128, 3 to 5 seconds, H.264) and OUT/eval.jsonl, one question a line: video, question, answer, kind.
Scenes are new, and the handwritten digits are by writers whom no training clip shows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from draw import digit_split, draw
from pool import NATIVE
from questions import questions
from video import encode
from world import FRAMES, sample_scene


def make(out: Path, clips: int, seed: int) -> None:
    (out / "clips").mkdir(parents=True, exist_ok=True)
    rng, digits = np.random.default_rng([seed, 3]), digit_split(test=True)
    with open(out / "eval.jsonl", "w") as file:
        for n in range(clips):
            scene = sample_scene(rng, digits)
            frames = 1 + (FRAMES - 1) * int(rng.integers(3, 6))  # sampling then meets every moment of the scene exactly
            name = f"clips/{n:03}.mp4"
            encode(draw(scene, NATIVE, np.arange(frames) / (frames - 1)), out / name, int(rng.integers(18, 27)))
            for item in questions(scene, rng):
                line = {"video": name, "question": item.question, "answer": item.answer, "kind": item.kind}
                file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1000)
    options = parser.parse_args()
    make(options.out, options.clips, options.seed)


if __name__ == "__main__":
    main()
