#!/usr/bin/env python3
"""Draws the trainings' courses: plot.py WORK OUT.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    work, out = map(Path, sys.argv[1:])
    out.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5))
    tower, decoder = read(work / "tower/log.jsonl"), read(work / "decoder/log.jsonl")
    for axis, lines, names, title in (
        (axes[0], tower, ("shape", "size", "digit"), "tower, single frames: right answers"),
        (axes[1], decoder, ("loss",), "decoder: loss of an answer's token"),
        (axes[2], decoder, tuple(name for name in (decoder or [{}])[0] if name not in ("step", "loss", "clips_s")),
         "decoder: exact match, validation clips"),
    ):
        for name in names:
            strong = name in ("closed", "loss")
            axis.plot([one["step"] for one in lines], [one[name] for one in lines], label=name, linewidth=2.5 if strong else 1)
        if "loss" in names:
            axis.set_yscale("log")
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        if names:
            axis.legend(fontsize=7, ncols=2)
    figure.tight_layout()
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main()
