#!/usr/bin/env python3
"""Runs slowfast and its peers in turn on the same shapes and the same machine, and writes one table.

    compare.py WORK [--size small|full|tiny|onevision-0.5b] [--stages tower,prefill,generate,video] [--clip CLIP]... [--model 4=FILE.sfq]...

Every measurement is a process of its own, which warms up before it measures. All contestants of a workload run once before any runs
again, in an order that turns with the rounds, so that what the machine does meanwhile meets all of them. WORK keeps what was made
and measured: the same command goes on where an earlier one stopped, and tries again what failed. Results are WORK/results-SIZE.md
and .json. `run.sh` makes the environment first.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from contestants import STAGES, Contestant, Setup, contestants
from prepare import HERE, PreparationError, forget_checkpoint, prepare
from results import Journal, Row, limits, summary, table
from sizes import SIZES


def run_once(contestant: Contestant, setup: Setup, number: int, prefix: list[str], timeout: float) -> Row:
    row = Row(setup.size_name, contestant.workload, contestant.name, contestant.ours, number)
    threads = str(setup.threads)
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        # The resources of this process's children keep the largest of all: a process between measures the one.
        command = [sys.executable, str(HERE / "peak.py"), *contestant.command]
        try:
            status = subprocess.run(prefix + command, stdout=output, stderr=errors, env=environment, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            row.error = f"not done after {timeout:.0f} s"
            return row
        output.seek(0)
        errors.seek(0)
        text = output.read().decode(errors="replace")
        if status != 0:
            words = errors.read().decode(errors="replace").strip().splitlines()
            row.error = f"exit status {status}" + (f": {words[-1][:200]}" if words else "")
            return row
    try:
        read(row, text, contestant)
    except (ValueError, KeyError, StopIteration) as error:
        row.error = f"unexpected output: {error!r}"
    return row


def read(row: Row, text: str, contestant: Contestant) -> None:
    """Fills a row from what the process wrote: its own report, then a line with the peak memory."""
    body, _, last = text.strip().rpartition("\n")
    row.peak_bytes = json.loads(last)["peak_bytes"]
    if not contestant.ours:
        found = json.loads(body.splitlines()[-1])
        for name in ("seconds", "units", "products", "bytes", "note"):
            setattr(row, name, found[name])
        return
    found = json.loads(body)
    stage = next(stage for stage in found["stages"] if stage["name"] == contestant.stage)
    row.seconds, row.units = [stage["seconds"]], stage["units"]
    row.products, row.bytes = contestant.products, stage.get("bytes")
    row.note = f"{found['kernels']}, {found['version']}"
    row.limits = found.get("limits")


def machine() -> str:
    try:
        name = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} processors, Linux {platform.release()}, {time.strftime('%Y-%m-%d')}"


def write_results(setup: Setup, journal: Journal) -> str:
    """Of everything in the journal, whatever this command's stages are."""
    order = [(one.workload, one.name) for one in contestants(setup)]
    found = [(row.workload, row.contestant) for row in journal.rows.values() if row.size == setup.size_name]
    names = [name for name in order if name in found] + [name for name in dict.fromkeys(found) if name not in order]
    entries = summary(journal, setup.size_name, list(dict.fromkeys(workload for workload, _ in names)), names)
    found = limits(journal, setup.size_name)
    text = table(
        entries, f"{machine()}, {setup.threads} threads. Size {setup.size_name}: {setup.size.described}; "
        f"medians of {max((entry['rounds'] for entry in entries), default=0)} rounds.", found)
    path = setup.folder / f"results-{setup.size_name}"
    path.with_suffix(".md").write_text(text)
    medians = {name: statistics.median(values) for name, values in found.items()}
    content = {"machine": machine(), "threads": setup.threads, "size": setup.size_name, "limits": medians, "entries": entries}
    path.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    return text


def given_models(texts: list[str]) -> dict[int, Path]:
    models = {}
    for text in texts:
        bits, _, path = text.partition("=")
        if bits not in ("4", "8") or not Path(path).is_file():
            sys.exit(f"--model {text}: expected 4=FILE or 8=FILE, of an .sfq file")
        models[int(bits)] = Path(path)
    return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--stages", default=",".join(STAGES), help="with commas between; default: all")
    parser.add_argument("--only", default="", help="contestants whose name contains one of these texts, with commas between")
    parser.add_argument("--clip", type=Path, action="append", default=[], help="a video to take frames of; may be repeated")
    parser.add_argument(
        "--model", action="append", default=[], metavar="BITS=FILE", help="a converted model of that size instead of one made here")
    parser.add_argument("--slowfast", type=Path, default=HERE.parent.parent / ".build/release/slowfast")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=2, help="runs in a process, of which the median counts")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one process")
    parser.add_argument("--prefix", default="", help="put before every measured command, such as 'taskset -c 0,1'")
    parser.add_argument("--prepare-only", action="store_true")
    options = parser.parse_args()
    stages = tuple(options.stages.split(","))
    if unknown := [stage for stage in stages if stage not in STAGES]:
        sys.exit(f"--stages {unknown[0]}: expected {', '.join(STAGES)}")
    for path in [*options.clip, options.slowfast]:
        if not path.is_file():
            sys.exit(f"{path}: no such file")
    setup = Setup(options.work, options.size, options.slowfast, options.threads, options.repeats, options.clip, given_models(options.model))
    setup.folder.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in contestants(setup, stages) if any(part.strip() in one.name for part in options.only.split(","))]
    journal = Journal(setup.folder / "results.jsonl")
    rounds = options.rounds or setup.size.rounds

    failed: dict[str, str] = {}
    for need in dict.fromkeys(need for one in chosen for need in one.needs):
        print(f"preparing {need}", flush=True)
        try:
            prepare(setup, need)
        except (PreparationError, OSError) as error:
            failed[need] = str(error)
            print(f"  failed: {error}", flush=True)
    forget_checkpoint(setup)
    if options.prepare_only:
        sys.exit(1 if failed else 0)

    for number in range(rounds):
        for workload in dict.fromkeys(one.workload for one in chosen):
            group = [one for one in chosen if one.workload == workload]
            turn = number % len(group)
            for one in group[turn:] + group[:turn]:
                if journal.has((setup.size_name, workload, one.name, number)):
                    continue
                print(f"round {number + 1} of {rounds}: {workload}: {one.name}", end=" ", flush=True)
                missing = next((failed[need] for need in one.needs if need in failed), None)
                if missing:
                    row = Row(setup.size_name, workload, one.name, one.ours, number, error=missing)
                else:
                    row = run_once(one, setup, number, shlex.split(options.prefix), options.timeout)
                journal.add(row)
                print(row.error or f"{statistics.median(row.seconds):.4g} s", flush=True)
        write_results(setup, journal)
    print("\n" + write_results(setup, journal))


if __name__ == "__main__":
    main()
