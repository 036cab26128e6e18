#!/usr/bin/env python3
"""`slowfast batch` on the machines of a Ray cluster: the same questions in, the same answers out.

    ray_batch.py MODEL QUESTIONS.jsonl -o ANSWERS.jsonl [--slowfast PROGRAM] [OPTIONS] [-- OPTIONS OF slowfast batch]

Questions about the same clip go together; a block of them is one run of `slowfast batch` on some machine, one at a time there, and what comes back is in
ANSWERS.jsonl.partial before the next one is looked at. What was stopped goes on there. A machine that is lost costs the blocks that it had begun. Paths are
the same on all machines, or addresses that fsspec reads (s3://…, gs://…), of the program, the model and clips. Exit status: as batch's.
"""
import argparse
import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ATTEMPTS = 3  # of a block on one machine
DEPTH = 8  # of a block's folder, for clips that are named with so many leading `..`


def fetched(path, folder, name=None):
    """The path of a file that is here; what is an address is read once."""
    if "://" not in path:
        return os.path.abspath(path)
    import fsspec

    target = os.path.join(folder, name or path)
    if not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with fsspec.open(path) as source, open(target + ".part", "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        os.rename(target + ".part", target)
    return target


def clips(text):
    """Names of the clips of a line; none where batch will say what is wrong with it."""
    try:
        line = json.loads(text)
        named = line.get("images") or [line.get("video")]
        return tuple(name for name in named if isinstance(name, str) and name)
    except (ValueError, AttributeError, TypeError):
        return ()


def removed_with_this_process(folder):
    """The folder goes when this process ends, however it does: a shell of its own waits for that."""
    end, self = os.pipe()
    subprocess.run(["sh", "-c", 'exec 3<&0; (read -r _ <&3; sleep 1; rm -rf "$1") >/dev/null 2>&1 &', "sh", folder], stdin=end, start_new_session=True)
    os.close(end)
    return self


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Asker:
    """Lives on a machine, and runs one `slowfast batch` there at a time."""

    def __init__(self, program, model, beside, options):
        self.folder = tempfile.mkdtemp(prefix="slowfast-ray-")
        self.end = removed_with_this_process(self.folder)
        self.program = fetched(program, self.folder, "slowfast")
        self.model = fetched(model, self.folder, "model.sfq")
        self.beside, self.options = beside, options
        if self.program.startswith(self.folder):
            os.chmod(self.program, 0o755)

    def __call__(self, batch):
        rows = [self.answers(block) for block in batch["questions"]]
        return {"answers": [answers for answers, _ in rows], "failure": [failure for _, failure in rows]}

    def answers(self, block):
        """What batch writes, a line for each line of the block that is not empty; and, where that is nothing, why."""
        with tempfile.TemporaryDirectory(dir=self.folder) as top:
            work = os.path.join(top, *"d" * DEPTH)
            os.makedirs(work)
            try:
                for text in block.splitlines():
                    for clip in clips(text):
                        self.place(clip, work)
            except Exception as error:
                return b"", f"{type(error).__name__}: {error}"
            with open(work + "/questions.jsonl", "wb") as file:
                file.write(block)
            command = [self.program, "batch", self.model, "questions.jsonl", "-o", "answers.jsonl", "--progress", "none", *self.options]
            for attempt in range(ATTEMPTS):
                done = subprocess.run(
                    command, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=die_with_parent)
                if os.path.exists(work + "/answers.jsonl"):
                    with open(work + "/answers.jsonl", "rb") as file:
                        return file.read(), ""
            return b"", f"slowfast batch ended with {done.returncode}: " + done.stderr.decode(errors="replace").strip()[-1000:]

    def place(self, clip, work):
        """Makes the clip's name, as the line has it, lead to the clip from the block's folder."""
        if "://" in clip:
            fetched(clip, work)
        elif not os.path.isabs(clip):
            parts = clip.split("/")
            ups = next((n for n, part in enumerate(parts) if part not in ("..", ".")), 0)
            head = "/".join(parts[:ups + 1])
            link, target = (os.path.normpath(os.path.join(folder, head)) for folder in (work, self.beside))
            if os.path.exists(target) and not os.path.lexists(link):
                os.symlink(target, link)


def blocks(lines, missing, size):
    """Files of questions: what is missing about the same clips is in one of them, at the numbers that it has in the whole."""
    groups, first = {}, {}
    for number in missing:
        key = clips(lines[number])
        try:
            # A second line of an id is an error that names the first one. A line without one has its number for it.
            said = json.loads(lines[number]).get("id")
            key = first.setdefault(json.dumps(number + 1 if said is None else said), key)
        except (ValueError, AttributeError):
            key = next(iter(groups), key)
        groups.setdefault(key, []).append(number)
    found, numbers = [], []
    for group in groups.values():
        numbers += group
        if len(numbers) >= size:
            found.append(sorted(numbers))
            numbers = []
    if numbers:
        found.append(sorted(numbers))
    for numbers in found:
        text = bytearray()
        for last, number in zip([-1] + numbers, numbers):
            text += b"\n" * (number - last - 1) + lines[number] + b"\n"
        yield bytes(text)


class Journal:
    """Answers by the numbers of their lines, on the disk as they come: those of a block in one line, with tabs between, whole or not there."""

    def __init__(self, path, identity, force):
        self.answers = {}
        if os.path.exists(path) and not force:
            with open(path, "rb") as file:
                kept = file.read()
            kept = kept[:kept.rfind(b"\n") + 1].splitlines()
            if kept and json.loads(kept[0]) != identity:
                sys.exit(f"error: {path} has answers to something else; --force forgets them")
            self.answers = {json.loads(answer)["line"]: answer for block in kept[1:] for answer in block.split(b"\t")}
        self.file = open(path + ".new", "wb")
        self.write([json.dumps(identity).encode()])
        for answer in self.answers.values():
            self.file.write(answer + b"\n")
        self.file.flush()
        os.rename(path + ".new", path)

    def write(self, answers):
        self.file.write(b"\t".join(answers) + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def add(self, answers):
        # What was lost on its way may have been made again.
        fresh = {number: answer for number, answer in ((json.loads(answer)["line"], answer) for answer in answers) if number not in self.answers}
        self.answers.update(fresh)
        if fresh:
            self.write(fresh.values())


def main():
    arguments = sys.argv[1:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--slowfast", default=shutil.which("slowfast") or "slowfast")
    parser.add_argument("--address", default=None, help="of the cluster; default: the one that this machine is in, else one of its own")
    parser.add_argument("--cpus", type=float, help="processors of a machine that a run takes; default: all of the smallest machine")
    parser.add_argument("--machines", type=int, help="at most so many at a time; default: as many as there are now")
    parser.add_argument("--block", type=int, default=8, help="questions in a run, more where a clip has more")
    parser.add_argument("--force", action="store_true", help="replace the answers")
    options = parser.parse_args(arguments[:at])
    rest = arguments[at + 1:]
    if os.path.exists(options.output) and not options.force:
        sys.exit(f"error: {options.output} exists; --force replaces it")
    with open(options.questions, "rb") as file:
        whole = file.read()
    lines = whole.split(b"\n")
    numbers = [number for number, line in enumerate(lines) if line.strip()]
    identity = {"questions": hashlib.sha256(whole).hexdigest(), "model": options.model, "options": rest}
    journal = Journal(options.output + ".partial", identity, options.force)

    import ray.data

    ray.init(address=options.address, log_to_driver=False, logging_level="ERROR")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # what is missing is asked for again
    machines = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    cpus = options.cpus or min((count for count in machines if count), default=1)
    now = max(1, sum(int(count // cpus) for count in machines))
    most = options.machines or now
    start, before = time.monotonic(), len(journal.answers)
    failure, asked = "", None
    while True:
        missing = [number for number in numbers if number + 1 not in journal.answers]
        # What a pipeline leaves is given to another one, as long as that helps.
        if not missing or missing == asked:
            break
        asked = missing
        found = list(blocks(lines, missing, options.block))
        pipeline = ray.data.from_items([{"questions": block} for block in found], override_num_blocks=len(found)).map_batches(
            Asker, batch_size=1, num_cpus=cpus, compute=ray.data.ActorPoolStrategy(min_size=min(now, most, len(found)), max_size=min(most, len(found))),
            fn_constructor_args=(options.slowfast, options.model, os.path.dirname(os.path.abspath(options.questions)), rest))
        for batch in pipeline.iter_batches(batch_size=None, prefetch_batches=0):
            for answers in batch["answers"]:
                journal.add(answers.splitlines())
            failure = next(filter(None, batch["failure"]), failure)
            done, seconds = len(journal.answers), time.monotonic() - start
            left = seconds / max(done - before, 1) * (len(numbers) - done)
            print(f"{done} of {len(numbers)} answers, {left:.0f} s left", file=sys.stderr, flush=True)
    missing = [number + 1 for number in numbers if number + 1 not in journal.answers]
    if missing:
        sys.exit(f"error: {len(missing)} lines have no answer, the first is {missing[0]}; the same command goes on" + (": " + failure if failure else ""))
    answers = [journal.answers[number + 1] for number in numbers]
    with open(options.output + ".new", "wb") as file:
        file.write(b"".join(answer + b"\n" for answer in answers))
    os.rename(options.output + ".new", options.output)
    os.remove(options.output + ".partial")
    errors = sum("error" in json.loads(answer) for answer in answers)
    print(f"{options.output}: {len(answers) - errors} answers, {errors} errors, {time.monotonic() - start:.1f} s", file=sys.stderr)
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
