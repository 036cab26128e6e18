#!/usr/bin/env python3
"""Asks the `slowfast` command every question of an evaluation set, and compares its answers with PyTorch's.

    compare_runtime.py SLOWFAST MODEL EVAL_DIR ANSWERS.jsonl [--slow-attention prompt|all] [--every 1]

MODEL is a checkpoint directory or an .sfq file; ANSWERS.jsonl is what `evaluate.py --generate` wrote. Prints exact match of both,
and each answer that differs. Exit status 1 if any does and the model is unquantized (a directory).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from questions import CLOSED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slowfast", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("eval", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--slow-attention", choices=("prompt", "all"), default="all")
    parser.add_argument("--every", type=int, default=1, help="ask only every n-th question")
    options = parser.parse_args()
    asked = [json.loads(line) for line in options.answers.read_text().splitlines()][:: options.every]

    def answer(one: dict) -> str:
        command = [options.slowfast, "run", options.model, options.eval / one["video"], "-q", one["question"], "--greedy", "--frames", "16",
                   "--max-tokens", "120", "--slow-attention", options.slow_attention, "--threads", "1"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{one['video']}: {done.stderr.strip()}")
        return done.stdout.strip()

    count: Counter = Counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for one, said in zip(asked, pool.map(answer, asked)):
            reference = one[options.slow_attention]
            count["equal"] += said == reference
            if one["kind"] in CLOSED:
                count["closed"] += 1
                count["right"] += said == one["answer"]
                count["reference right"] += reference == one["answer"]
            if said != reference:
                print(f"{one['video']} {one['question']}\n  PyTorch  {reference}\n  slowfast {said}")
    closed = max(count["closed"], 1)
    print(f"{count['equal']} of {len(asked)} answers equal; closed questions right: "
          f"slowfast {100 * count['right'] / closed:.1f} %, PyTorch {100 * count['reference right'] / closed:.1f} %")
    sys.exit(1 if options.model.is_dir() and count["equal"] < len(asked) else 0)


if __name__ == "__main__":
    main()
