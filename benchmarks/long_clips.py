#!/usr/bin/env python3
"""Clips of many frames on one model: seconds a frame, seconds a token and the peak of memory beside the plan, as a table and a picture.

    long_clips.py SLOWFAST MODEL CLIP [--frames 64,256,512,1024,1536] [--cache-bits 16] [--picture FILE.svg] [--json FILE]

The model is one of `full_size_checkpoint.py --shape long`, converted; the clip has at least as many frames. Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

TOKENS = 17


def planned(plan: dict) -> int:
    """The peak of a run's plan, as `MemoryPlan.peakBytes` has it."""
    return plan["base_bytes"] + max(
        plan["vision_weight_bytes"] + plan["vision_buffer_bytes"] + plan["token_bytes"],
        plan["decoder_weight_bytes"] + plan["slow_cache_bytes"] + plan["token_bytes"]
        + max(plan["slow_buffer_bytes"], plan["decoder_buffer_bytes"] + plan["cache_bytes"] - plan["slow_token_bytes"]))


def run(options: argparse.Namespace, frames: int) -> dict:
    command = [
        options.slowfast, "run", options.model, options.clip, "-q", "What happens in this clip?", "--frames", str(frames), "--fast-frames",
        "16", "--max-tokens", str(TOKENS), "--greedy", "--slow-attention", "all", "--cache-bits", str(options.cache_bits), "--json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    statistics, plan = found["statistics"], found["plan"]
    times = statistics["times"]
    return {
        "frames": frames,
        "slow_tokens": statistics["slow_tokens"],
        "prompt_tokens": statistics["prompt_tokens"],
        "tower": times["tower"] + times["projector"],
        "wait": times["frame_wait"],
        "keys": times["cross_key_values"],
        "prefill": times["prefill"],
        "token": times["generate"] / max(1, statistics["generated_tokens"] - 1),
        "peak": found["peak_resident_bytes"],
        "planned": planned(plan),
    }


def table(rows: list[dict]) -> str:
    lines = [
        "| frames | slow tokens | tower, ms a frame | keys and values, s | prompt, s | a token, ms | peak, GiB | planned, GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['frames']} | {row['slow_tokens']:,} | {row['tower'] / row['frames'] * 1000:.1f} | {row['keys']:.2f} | {row['prefill']:.2f} "
            f"| {row['token'] * 1000:.1f} | {row['peak'] / 2**30:.2f} | {row['planned'] / 2**30:.2f} |")
    return "\n".join(lines)


def picture(rows: list[dict]) -> str:
    """Three panels over the frames: seconds of the tower, milliseconds of a token, GiB at the peak with the plan as a hollow circle."""
    panels = [
        ("tower, s", [row["tower"] for row in rows], None),
        ("a token, ms", [row["token"] * 1000 for row in rows], None),
        ("peak (filled) and plan (hollow), GiB", [row["peak"] / 2**30 for row in rows], [row["planned"] / 2**30 for row in rows]),
    ]
    width, height, margin = 300, 220, 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{3 * width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{3 * width}" height="{height}" fill="white"/>']
    right = max(row["frames"] for row in rows)
    for index, (name, values, others) in enumerate(panels):
        top = 1.1 * max(values + (others or []))
        left = index * width + margin
        wide, high = width - margin - 14, height - 2 * margin + 10

        def at(frames: float, value: float) -> tuple[float, float]:
            return left + frames / right * wide, margin - 10 + high - value / top * high

        parts.append(f'<text x="{left}" y="{margin - 22}">{name}</text>')
        parts.append(f'<path d="M{left},{margin - 10} v{high} h{wide}" fill="none" stroke="black"/>')
        for part in (0, 0.5, 1):
            x, y = at(right * part, top / 1.1 * part)
            parts.append(f'<text x="{x:.0f}" y="{margin + high + 6}" text-anchor="middle">{right * part:.0f}</text>')
            parts.append(f'<text x="{left - 4}" y="{y + 4:.0f}" text-anchor="end">{top / 1.1 * part:.3g}</text>')
        points = " ".join("{:.1f},{:.1f}".format(*at(row["frames"], value)) for row, value in zip(rows, values))
        parts.append(f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>')
        for numbers, fill in ((values, "#1f77b4"), (others or [], "none")):
            for row, value in zip(rows, numbers):
                x, y = at(row["frames"], value)
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 if fill != "none" else 5}" fill="{fill}" stroke="#1f77b4"/>')
        parts.append(f'<text x="{left + wide / 2:.0f}" y="{height - 6}" text-anchor="middle">frames</text>')
    return "\n".join(parts + ["</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slowfast")
    parser.add_argument("model")
    parser.add_argument("clip")
    parser.add_argument("--frames", default="64,256,512,1024,1536")
    parser.add_argument("--cache-bits", type=int, default=16)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for frames in options.frames.split(","):
        rows.append(run(options, int(frames)))
        print(rows[-1], file=sys.stderr)
    print(table(rows))
    if options.picture:
        options.picture.write_text(picture(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
