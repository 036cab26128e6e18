#!/usr/bin/env python3
"""Models on one clip, in turn, each run a process: seconds to the first token, tokens a second, the peak of memory beside the plan.

    onevision.py SLOWFAST CLIP MODEL... [--frames 32] [--tokens 33] [--cache-bits 16] [--rounds 3] [--memory 1G] [--json FILE]

Models are those of `full_size_checkpoint.py --shape onevision-0.5b`, `onevision-7b` and `smolvlm2-500m`, converted. With --memory each run is in
a control group of so many bytes, what it reads of files included; needs the right to make one. A cell is the median of the rounds.
Standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from long_clips import planned

QUESTION = "What happens in this clip?"


class ControlGroup:
    """A group of this process's own, gone when it is left; of version 2, or of version 1's memory controller."""

    def __init__(self, limit: int):
        old = Path("/sys/fs/cgroup/memory")
        self.folder = (old if old.is_dir() else Path("/sys/fs/cgroup")) / f"slowfast-{os.getpid()}"
        self.limit = self.folder / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")
        self.size = limit

    def __enter__(self) -> ControlGroup:
        self.folder.mkdir()
        self.limit.write_text(str(self.size))
        return self

    def __exit__(self, *_: object) -> None:
        # What decoded for the run ends after it, soon.
        end = time.monotonic() + 10
        while True:
            try:
                return self.folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    def join(self) -> None:
        (self.folder / "cgroup.procs").write_text(str(os.getpid()))


def run(options: argparse.Namespace, model: Path) -> dict | str:
    """What a run took, or why it did not end."""
    command = [
        options.slowfast, "run", model, options.clip, "-q", QUESTION, "--frames", options.frames, "--max-tokens", options.tokens, "--greedy",
        "--json", *(["--cache-bits", options.cache_bits] if options.cache_bits else [])]
    start = time.monotonic()

    def wait(join=None) -> subprocess.CompletedProcess:
        return subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=join)

    if options.memory:
        with ControlGroup(options.memory) as group:
            done = wait(group.join)
    else:
        done = wait()
    seconds = time.monotonic() - start
    if done.returncode != 0:
        return done.stderr.strip() or f"ended by signal {-done.returncode}"
    found = json.loads(done.stdout)
    counts, plan = found["statistics"], found["plan"]
    times = counts["times"]
    return {
        "frames": counts["frames"],
        "prompt": counts["prompt_tokens"],
        "frame": (times["tower"] + times["projector"] + times["frame_wait"]) / counts["frames"],
        "load": times["load_vision"] + times["load_decoder"],
        "prefill": counts["prompt_tokens"] / times["prefill"],
        "first": seconds - times["generate"],
        "rate": (counts["generated_tokens"] - 1) / times["generate"] if times["generate"] else 0,
        "peak": found["peak_resident_bytes"] / 2**30,
        "planned": planned(plan) / 2**30,
    }


COLUMNS = (
    ("frames", "frames", 0), ("prompt", "prompt tokens", 0), ("frame", "s a frame", 2), ("load", "loading, s", 1),
    ("prefill", "prompt, tokens/s", 0), ("first", "to the first token, s", 1), ("rate", "then tokens/s", 1), ("peak", "peak, GiB", 2),
    ("planned", "planned, GiB", 2))


def table(rows: dict[str, list[dict | str]]) -> str:
    lines = ["| model | " + " | ".join(title for _, title, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, runs in rows.items():
        good = [one for one in runs if isinstance(one, dict)]
        if good:
            cells = [f"{statistics.median(one[key] for one in good):.{digits}f}" for key, _, digits in COLUMNS]
        else:
            cells = [str(runs[0]).replace("\n", " "), *[""] * (len(COLUMNS) - 1)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def size(text: str) -> int:
    units = {"K": 10, "M": 20, "G": 30}
    return int(float(text[:-1]) * 2 ** units[text[-1]]) if text[-1] in units else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slowfast")
    parser.add_argument("clip")
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=33)
    parser.add_argument("--cache-bits", type=int, choices=(8, 16, 32))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", type=size, help="of a control group, such as 1G")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: dict[str, list[dict | str]] = {model.stem: [] for model in options.models}
    for _ in range(options.rounds):
        for model in options.models:
            rows[model.stem].append(run(options, model))
            print(model.stem, rows[model.stem][-1], file=sys.stderr)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
