#!/usr/bin/env python3
"""What `--reuse T` saves and costs: reuse.py SLOWFAST MODEL EVAL|CLIP [--values 0,0.05,0.1,0.2] [--frames 16] [--picture FILE.svg]

Of a clip it prints the share of the tower's blocks that are computed, by stage, and seconds in the tower.

EVAL is a folder with eval.jsonl (video, question, answer, kind: benchmarks/demo/make_eval.py makes one). Each question is asked by
`slowfast batch` with each T, the answers to questions of its kind being its choices, so that an answer is a distribution over them.
Then the table has answers that changed, exact match, and the mean Kullback-Leibler divergence of the choices' probabilities from those at
the first T besides, which is to be 0. Needs nothing beyond Python 3.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def ask(slowfast: str, model: str, lines: list[dict], options: list[str]) -> list[dict]:
    """An answer to each line, in order."""
    with tempfile.TemporaryDirectory() as work:
        questions, answers = Path(work, "questions.jsonl"), Path(work, "answers.jsonl")
        with open(questions, "w") as file:
            for index, line in enumerate(lines):
                file.write(json.dumps({"id": str(index), **{key: line[key] for key in ("video", "question", "choices")}}) + "\n")
        run([slowfast, "batch", model, str(questions), "-o", str(answers), "--greedy", "--progress", "none", *options])
        return sorted(map(json.loads, open(answers)), key=lambda line: int(line["id"]))


def encode(slowfast: str, model: str, clips: list[str], options: list[str]) -> tuple[list[float], float]:
    """Of all frames through the tower, the share of each stage that was computed, and seconds."""
    frames, computed, seconds = 0, [], 0.0
    for clip in clips:
        command = [slowfast, "run", model, clip, "-q", "What?", "--greedy", "--max-tokens", "1", "--json", "--progress", "none", *options]
        statistics = json.loads(run(command))["statistics"]
        frames += statistics["encoded_frames"]
        seconds += statistics["times"]["tower"]
        stages = statistics["computed_frames"]
        computed = [a + b for a, b in zip(computed or [0.0] * len(stages), stages)]
    return [value / frames for value in computed], seconds


def divergence(p: dict[str, float], q: dict[str, float]) -> float:
    return sum(value * math.log(value / max(q[name], 1e-30)) for name, value in p.items() if value > 0)


def picture(rows: list[tuple[float, list[float], float]]) -> str:
    """Of each T the share that each stage computed, and the divergence: two panels over T."""
    width, height, margin = 360, 230, 46
    wide, high = width - margin - 80, height - 2 * margin + 10
    last = rows[-1][0]
    colours = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728"]
    stages = [(f"stage {index + 1}", [100 * shares[index] for _, shares, _ in rows]) for index in range(len(rows[0][1]))]
    panels = [("computed, %", 100.0, stages), ("divergence, 10⁻⁴ nats", None, [("", [1e4 * value for _, _, value in rows])])]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{2 * width}" height="{height}" fill="white"/>']
    for index, (name, top, lines) in enumerate(panels):
        top = top or 1.1 * max(lines[0][1])
        left = index * width + margin
        parts.append(f'<text x="{left}" y="{margin - 22}">{name}</text>')
        parts.append(f'<path d="M{left},{margin - 10} v{high} h{wide}" fill="none" stroke="black"/>')
        for part in (0, 0.5, 1):
            x, y = left + part * wide, margin - 10 + high * (1 - part)
            parts.append(f'<text x="{x:.0f}" y="{margin + high + 6}" text-anchor="middle">{last * part:.3g}</text>')
            parts.append(f'<text x="{left - 4}" y="{y + 4:.0f}" text-anchor="end">{top * part:.3g}</text>')
        parts.append(f'<text x="{left + wide / 2:.0f}" y="{height - 6}" text-anchor="middle">T</text>')
        lowest = 0.0
        for (label, values), colour in sorted(zip(lines, colours), key=lambda line: -line[0][1][-1]):
            points = [(left + t / last * wide, margin - 10 + high * (1 - value / top)) for (t, _, _), value in zip(rows, values)]
            text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
            lowest = max(lowest + 13, points[-1][1] + 4)
            parts.append(f'<text x="{points[-1][0] + 8:.0f}" y="{lowest:.0f}" fill="{colour}">{label}</text>')
    return "\n".join(parts + ["</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slowfast")
    parser.add_argument("model")
    parser.add_argument("eval", type=Path)
    parser.add_argument("--values", default="0,0.05,0.1,0.2")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    values = arguments.values.split(",")
    if arguments.eval.is_file():
        print("| T | computed, by stage | tower, s |\n|---|---|---|")
        for value in values:
            options = ["--reuse", value, "--frames", str(arguments.frames)]
            shares, seconds = encode(arguments.slowfast, arguments.model, [str(arguments.eval)], options)
            print(f"| {value} | {', '.join(f'{100 * share:.0f} %' for share in shares)} | {seconds:.1f} |", flush=True)
        return
    lines = [json.loads(line) for line in open(arguments.eval / "eval.jsonl")]
    by_kind = defaultdict(set)
    for line in lines:
        by_kind[line["kind"]].add(line["answer"])
    # Descriptions are their own each: no choices.
    asked = [
        {**line, "video": str((arguments.eval / line["video"]).resolve()), "choices": sorted(by_kind[line["kind"]])}
        for line in lines if 1 < len(by_kind[line["kind"]]) <= 20]
    clips = sorted({line["video"] for line in asked})
    first: list[dict] = []
    rows = []
    print("| T | computed, by stage | tower, s | divergence | answers that changed | exact match |")
    print("|---|---|---|---|---|---|")
    for value in values:
        options = ["--reuse", value, "--frames", str(arguments.frames)]
        answers = ask(arguments.slowfast, arguments.model, asked, options)
        shares, seconds = encode(arguments.slowfast, arguments.model, clips, options)
        first = first or answers
        changed = sum(a["answer"] != b["answer"] for a, b in zip(first, answers))
        right = sum(a["answer"] == line["answer"] for a, line in zip(answers, asked))
        chosen = [{choice["text"]: choice["probability"] for choice in answer["choices"]} for answer in first + answers]
        mean = sum(map(divergence, chosen[:len(answers)], chosen[len(answers):])) / len(answers)
        rows.append((float(value), shares, mean))
        print(f"| {value} | {', '.join(f'{100 * share:.0f} %' for share in shares)} | {seconds:.1f} | {mean:.1e} "
              f"| {changed} of {len(answers)} | {100 * right / len(answers):.2f} % |", flush=True)
    if arguments.picture:
        arguments.picture.write_text(picture(rows))


if __name__ == "__main__":
    main()
