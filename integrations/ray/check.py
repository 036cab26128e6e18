#!/usr/bin/env python3
"""ray_batch.py on a cluster of two machines of its own, one of which is killed in the middle: check.py SLOWFAST, run by a Python that has ray."""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from ray.cluster_utils import Cluster

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "../../benchmarks/demo")
OPTIONS = ["--temperature", "0", "--max-tokens", "64"]
# What does not hang on how busy the machine was.
SAME = ("id", "line", "clip", "question", "answer", "tokens", "end_reason", "choices", "error")


def check(condition, *words):
    if not condition:
        sys.exit("error: " + " ".join(str(word) for word in words))


def answers(path):
    with open(path) as file:
        return [{key: line.get(key) for key in SAME} for line in map(json.loads, file)]


def journal(path):
    try:
        with open(path) as file:
            return sum(block.count("\t") + 1 for block in file.readlines()[1:])
    except FileNotFoundError:
        return 0


def wait(condition, seconds, what, log):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            check(False, "not within", seconds, "s:", what, open(log).read()[-3000:])
        time.sleep(0.05)


def folders():
    """What is fetched to on this machine."""
    return set(glob.glob(os.path.join(tempfile.gettempdir(), "slowfast-ray-*")))


def main():
    before_all = folders()
    program = os.path.realpath(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        os.environ["RAY_TMPDIR"] = work

        def path(name):
            return os.path.join(work, name)

        # The demonstration's questions, clips as far off and named in as many ways as there are, and lines that are wrong.
        os.makedirs(path("here/clips"))
        os.symlink(os.path.realpath(DEMO + "/examples/clips"), path("clips"))
        lines = [json.loads(line) for line in open(DEMO + "/examples/eval.jsonl")]
        for number, line in enumerate(lines):
            name = line["video"]
            line["video"] = {0: "../" + name, 1: os.path.join(work, name), 2: "../here/.././" + name}[number % 3]
        lines[5]["choices"] = ["2", "3", "4"]
        lines[20]["id"] = lines[150]["id"] = "twice"
        texts = [json.dumps(line) for line in lines]
        texts[30:30] = ["", "no JSON", json.dumps({"video": "none.mp4", "question": "What?"}), json.dumps({"question": "Who?"})]
        with open(path("here/questions.jsonl"), "w") as file:
            file.write("\n".join(texts) + "\n")
        subprocess.run([program, "convert", DEMO + "/checkpoint", path("model.sfq"), "--bits", "8"], check=True, capture_output=True)
        done = subprocess.run([program, "batch", path("model.sfq"), "questions.jsonl", "-o", path("alone.jsonl"), *OPTIONS], cwd=path("here"), capture_output=True)
        check(done.returncode == 1, "batch ended with", done.returncode, done.stderr)
        # A run that takes a second, and tells which lines it was given; the first one falls.
        with open(path("slow"), "w") as file:
            file.write(f'#!/bin/sh\nmkdir {work}/fallen 2>/dev/null && kill -9 $$\ngrep -n . questions.jsonl | sed "s/:.*/ $PPID/" >> {work}/asked\nsleep 1\nexec {program} "$@"\n')
        os.chmod(path("slow"), 0o755)

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 << 20})
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
        cluster.wait_for_nodes()
        start = time.monotonic()

        def through_ray(model, questions, output, slowfast, *options):
            return subprocess.Popen(
                [sys.executable, HERE + "/ray_batch.py", model, path(questions), "-o", path(output), "--slowfast", slowfast, "--address", cluster.address, "--",
                 *(options or OPTIONS)], stdout=subprocess.DEVNULL, stderr=open(path("log"), "w"))

        def all_through_ray():
            return through_ray(path("model.sfq"), "here/questions.jsonl", "answers.jsonl", path("slow"))

        # The program that hands out the questions is killed, and goes on.
        running = all_through_ray()
        wait(lambda: journal(path("answers.jsonl.partial")) > 25, 180, "the first answers", path("log"))
        running.send_signal(signal.SIGKILL)
        running.wait()
        kept = journal(path("answers.jsonl.partial"))
        print(f"[ray] killed with {kept} answers, {time.monotonic() - start:.0f} s", flush=True)
        time.sleep(1)
        os.rename(path("asked"), path("asked.before"))

        # A machine is killed while both are at work.
        running = all_through_ray()
        wait(lambda: journal(path("answers.jsonl.partial")) > kept + 40, 180, "more answers", path("log"))
        before = {line.split()[1] for line in open(path("asked"))}
        check(len(before) == 2, "questions went to", len(before), "machines")
        cluster.remove_node(nodes[0], allow_graceful=False)
        print(f"[ray] one machine less with {journal(path('answers.jsonl.partial'))} answers, {time.monotonic() - start:.0f} s", flush=True)
        wait(lambda: running.poll() is not None, 240, "the end", path("log"))
        check(running.returncode == 1, "it ended with", running.returncode, open(path("log")).read()[-3000:])

        differing = [pair for pair in zip(answers(path("answers.jsonl")), answers(path("alone.jsonl"))) if pair[0] != pair[1]]
        check(not differing, len(differing), "answers differ from batch's, the first:", *differing[:1])
        asked = [int(line.split()[0]) for line in open(path("asked"))]
        again = len(asked) - len(set(asked))
        check(len(set(asked)) == len(lines) + 3 - kept, len(set(asked)), "lines were asked about after the first", kept, "of", len(lines) + 3)
        # The lost machine had begun one block, and may have been given another.
        check(again <= 40, again, "were asked about again")
        check(os.path.isdir(path("fallen")), "no run fell")
        print(f"[ray] {len(lines) + 3} lines are batch's to the bit, {again} were asked about again, {time.monotonic() - start:.0f} s", flush=True)

        # Clips, program and model by addresses.
        few = lines[:20]
        with open(path("addresses.jsonl"), "w") as file:
            file.writelines(json.dumps({**line, "video": "file://" + os.path.join(work, "clips", os.path.basename(line["video"]))}) + "\n" for line in few)
        running = through_ray("file://" + path("model.sfq"), "addresses.jsonl", "fetched.jsonl", "file://" + program)
        check(running.wait(180) == 0, open(path("log")).read()[-3000:])
        check([line["tokens"] for line in answers(path("fetched.jsonl"))] == [line["tokens"] for line in answers(path("alone.jsonl"))[:20]], "what was fetched")

        # What cannot be done is told.
        running = through_ray(path("model.sfq"), "addresses.jsonl", "not.jsonl", path("slow"), "--max-tokens", "none")
        check(running.wait(180) == 1 and "--max-tokens" in open(path("log")).read(), open(path("log")).read()[-3000:])
        print(f"[ray] addresses, and options that are wrong, {time.monotonic() - start:.0f} s", flush=True)
        cluster.shutdown()
        # Of what was fetched nothing is left, also where a machine was killed.
        wait(lambda: not folders() - before_all, 60, "the end of its folders", path("log"))


if __name__ == "__main__":
    main()
