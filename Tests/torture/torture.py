#!/usr/bin/env python3
"""Is anything lost? Kills the command, and has the disk fail, at many moments; then runs it again and compares with a run that nobody
disturbed.

    Tests/torture/torture.py SLOWFAST [--kills 500] [--steps 40] [--faults 25] [--seed N] [--jobs PATTERN] [--plain]

--kills   SIGKILL at random moments, spread over all jobs; each time the next run must be right and complete, with nothing else left
--steps   of each job so many calls that change the disk, before each of which the process is killed (0: none); a write has written half
--pairs   of each job so many times two processes on one output
--faults  of each job, and of each of ENOSPC, EDQUOT, EIO, EROFS, so many calls at which it begins (0: none): the command must say so in a
          line and leave nothing, or what the next run goes on from; that run must be right
--plain   the file system knows no files without names, no renaming that replaces nothing, and no second links, as FAT does

Prints its seed, so that --seed draws the same moments again. Status 1 where something was found.
"""
import argparse
import concurrent.futures
import fnmatch
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import jobs
from jobs import Finding

FAULTS = ["ENOSPC", "EDQUOT", "EIO", "EROFS"]


class Torture:
    def __init__(self, program, folder, is_plain):
        self.program, self.folder, self.is_plain = program, folder, is_plain
        self.lock = threading.Lock()
        self.findings = []
        self.counts = {}
        self.truths = {}
        self.shim = os.path.join(folder, "faults.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "faults.c")
        compiler = next(name for name in ("clang", "cc", "gcc") if shutil.which(name))
        subprocess.run([compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self.shim, source, "-ldl"], check=True)
        self.places = queue.Queue()

    def count(self, name, column, number=1):
        with self.lock:
            row = self.counts.setdefault(name, {})
            row[column] = row.get(column, 0) + number

    def note(self, name, what, error):
        with self.lock:
            self.findings.append((name, what, str(error)))
            print(f"FOUND  {name}, {what}: {error}", flush=True)
        self.count(name, "findings")

    # What is right

    def measure(self, job, place):
        """An undisturbed run: what it leaves, how long it takes, and its calls."""
        job.make(place, self.program)
        start = time.monotonic()
        status, output, errors = job.run(self.program, place)
        seconds = time.monotonic() - start
        if status != 0:
            raise SystemExit(f"{job.name}: does not even run: {errors}")
        truth = job.result(place, output)
        job.reset(place)
        log = place + ".log"
        status, output, errors = job.run(self.program, place, self.faults(place, log))
        if status != 0 or job.result(place, output) != truth:
            raise SystemExit(f"{job.name}: two undisturbed runs differ: {self.difference(job.result(place, output), truth)} {errors}")
        calls = self.calls(log)
        job.reset(place)
        return truth, seconds, calls

    def faults(self, place, log, at=0, what=None):
        if os.path.exists(log):
            os.remove(log)
        plain = {"FAULTS_PLAIN": "1"} if self.is_plain else {}
        fault = {"FAULTS_AT": str(at), "FAULTS_DO": what} if what else {}
        return {"LD_PRELOAD": self.shim, "FAULTS_ROOT": os.path.join(place, "out"), "FAULTS_LOG": log, **fault, **plain}

    @staticmethod
    def calls(log):
        if not os.path.exists(log):
            return []
        with open(log, encoding="utf-8") as file:
            return [line.rstrip("\n").split(" ", 2) for line in file]

    def check_next(self, job, place, truth):
        """The next run: right and complete, or it says that all is there already, and then it is."""
        more = self.faults(place, place + ".log") if self.is_plain else None
        status, output, errors = job.run(self.program, place, more)
        if status != 0 and not (status == 1 and "exists already" in errors):
            raise Finding(f"the next run has status {status}: {errors.strip()}")
        found = job.result(place, output)
        if found != truth:
            raise Finding(f"the next run leaves something else: {self.difference(found, truth)}")

    @staticmethod
    def difference(found, truth):
        lines = [f"{name}: {'missing' if name not in found else 'too much' if name not in truth else 'other content'}"
                 for name in sorted(set(found) | set(truth)) if found.get(name) != truth.get(name)]
        return "; ".join(lines[:6])

    @staticmethod
    def check_session(leader):
        """Nobody of the killed process's session lives on."""
        for _ in range(300):
            living = []
            for name in os.listdir("/proc"):
                try:
                    with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                        fields = file.read().rpartition(")")[2].split()
                    if fields[3] == str(leader) and fields[0] not in "ZX":
                        living.append(name)
                except (OSError, IndexError):
                    continue
            if not living:
                return
            time.sleep(0.1)
        raise Finding(f"processes live on for 30 s: {living}")

    # What is done to it

    def kill_at_random(self, job, place, truth, seconds, draw):
        job.reset(place)
        killed = 0
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            process, finish = job.start(self.program, place)
            time.sleep(draw.random() * seconds)
            was_alive = process.poll() is None
            process.kill()
            finish()
            self.check_session(process.pid)
            killed += was_alive
            job.check_left(place, truth)
        self.check_next(job, place, truth)
        return killed

    def kill_at_call(self, job, place, truth, at):
        job.reset(place)
        log = place + ".log"
        process, finish = job.start(self.program, place, self.faults(place, log, at, "kill"))
        finish()
        self.check_session(process.pid)
        job.check_left(place, truth)
        self.check_next(job, place, truth)
        return int(process.returncode == -9)

    def fail_at_call(self, job, place, truth, at, what):
        job.reset(place)
        log = place + ".log"
        status, output, errors = job.run(self.program, place, self.faults(place, log, at, what))
        calls = self.calls(log)
        if len(calls) < at:
            return 0
        call = " ".join(calls[at - 1][1:])
        lines = [line for line in errors.splitlines() if line.startswith("error: ")]
        if status < 0 or status > 1:
            raise Finding(f"{call}: status {status}: {errors[-300:].strip()}")
        if status == 1:
            if len(lines) != 1 and "error" not in output:
                raise Finding(f"{call}: status 1 without one line that says why: {errors.strip()}")
            job.check_left(place, truth)
            if not job.keeps_work and not job.may_go_on and what != "EROFS" and job.left(place, truth):
                raise Finding(f"{call}: leaves {job.left(place, truth)}")
        elif not job.may_go_on:
            if calls[at - 1][1] in ("fsync", "fdatasync") and what == "EIO":
                raise Finding(f"{call}: failed, and nobody says so")
            # What could not be taken away any more is for the next run.
            if what != "EROFS" and job.result(place, output) != truth:
                raise Finding(f"{call}: failed, status 0, and {self.difference(job.result(place, output), truth)}")
        self.check_next(job, place, truth)
        return 1

    def begin_two(self, job, place, truth, pause):
        """Two processes on one output: one does it, the other does it too or says in a line why not."""
        job.reset(place)
        runs = [job.start(self.program, place)[1]]
        time.sleep(pause)
        runs.append(job.start(self.program, place)[1])
        ends = [finish() for finish in runs]
        for status, _, errors in ends:
            if status not in (0, 1) or status == 1 and not any(words in errors for words in self.refusals):
                raise Finding(f"two at once: status {status}: {errors.strip()}")
        if all(status for status, _, _ in ends):
            raise Finding(f"two at once, and neither does it: {ends}")
        self.check_next(job, place, truth)
        return 1

    refusals = ["exists already", "another process", "another comparison"]

    # All of it

    def attempt(self, job, column, what, body):
        """One try at a place of its own; `body` returns how many blows hit."""
        place = self.places.get()
        try:
            folder = os.path.join(place, str(id(job)))
            if not os.path.exists(folder):
                job.make(folder, self.program)
            self.count(job.name, column, body(folder))
        except Finding as error:
            self.count(job.name, column)
            self.note(job.name, what, error)
        finally:
            self.places.put(place)


def chosen(calls, most, draw):
    """Numbers of calls: of each kind and file the first and the last, then any."""
    kinds = {}
    for number, call in enumerate(calls, 1):
        kinds.setdefault(tuple(call[1:]), []).append(number)
    edges = sorted({number for numbers in kinds.values() for number in (numbers[0], numbers[-1])})
    if len(edges) > most:
        edges = draw.sample(edges, most)
    others = [number for number in range(1, len(calls) + 1) if number not in edges]
    return sorted(edges + draw.sample(others, min(len(others), most - len(edges))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--faults", type=int, default=25)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--jobs", default="*", help="a pattern of names")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--folder", help="where it happens; default: one in memory")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    draw = random.Random(options.seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="slowfast-torture-", dir=options.folder or memory)
    try:
        torture = Torture(os.path.realpath(options.program), folder, options.plain)
        for number in range(options.at_once):
            place = os.path.join(folder, str(number))
            os.makedirs(place)
            torture.places.put(place)
        torment(torture, options, draw)
        report(torture)
        sys.exit(1 if torture.findings else 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def torment(torture, options, draw):
    work = []
    kill_jobs = [job for job in jobs.all_jobs().values() if fnmatch.fnmatch(job.name, options.jobs)] if options.kills + options.pairs else []
    step_jobs = [job for job in jobs.step_jobs().values() if fnmatch.fnmatch(job.name, options.jobs)] if options.steps + options.faults else []
    for job in kill_jobs:
        truth, seconds, calls = torture.measure(job, os.path.join(torture.folder, "truth"))
        print(f"{job.name}: {seconds:.1f} s, {len(calls)} calls", flush=True)
        work.append((job, "kills", truth, seconds, None))
    step_work = []
    for job in step_jobs:
        truth, seconds, calls = torture.measure(job, os.path.join(torture.folder, "truth"))
        print(f"{job.name}: {seconds:.1f} s, {len(calls)} calls", flush=True)
        for at in chosen(calls, options.steps, draw):
            step_work.append((job, "steps", truth, at, "kill"))
        for fault in FAULTS:
            for at in chosen(calls, options.faults, draw):
                step_work.append((job, fault, truth, at, fault))
    with concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        # Until there were so many: one that came after the end was none.
        while work and sum(row.get("kills", 0) for row in torture.counts.values()) < options.kills:
            missing = options.kills - sum(row.get("kills", 0) for row in torture.counts.values())
            tries = [work[index % len(work)] for index in range(max(1, missing * 2 // 3))]
            draw.shuffle(tries)
            done = []
            for job, column, truth, seconds, _ in tries:
                own = random.Random(draw.random())
                done.append(pool.submit(
                    torture.attempt, job, column, "killed at random",
                    lambda place, job=job, truth=truth, seconds=seconds, own=own: torture.kill_at_random(job, place, truth, seconds, own)))
            for future in done:
                future.result()
        done = []
        for job, _, truth, seconds, _ in work:
            for _ in range(options.pairs):
                pause = draw.choice([0, draw.random() * seconds])
                done.append(pool.submit(
                    torture.attempt, job, "pairs", f"{pause:.2f} s apart",
                    lambda place, job=job, truth=truth, pause=pause: torture.begin_two(job, place, truth, pause)))
        for job, column, truth, at, what in step_work:
            done.append(pool.submit(
                torture.attempt, job, column, f"call {at}, {what}",
                lambda place, job=job, truth=truth, at=at, what=what: torture.kill_at_call(job, place, truth, at)
                if what == "kill" else torture.fail_at_call(job, place, truth, at, what)))
        for future in done:
            future.result()


def report(torture):
    columns = ["kills", "pairs", "steps"] + FAULTS + ["findings"]
    print("\n| job | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for name, row in torture.counts.items():
        print(f"| {name} | " + " | ".join(str(row.get(column, "")) for column in columns) + " |")
    total = [sum(row.get(column, 0) for row in torture.counts.values()) for column in columns]
    print("| all | " + " | ".join(map(str, total)) + " |")


if __name__ == "__main__":
    main()
