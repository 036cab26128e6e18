#!/usr/bin/env python3
"""Asks a server of its own through lmms-eval, and holds its answers and scores against `slowfast batch` and `slowfast compare`.

    check.py SLOWFAST [--checkpoint DIR] [--bits 8] [--data EVAL.jsonl] [--questions N] [--runs url,png,jpeg,png-kept,jpeg-kept]

Run by the Python that has lmms-eval (run.sh makes one). `url` has pass_video_url=True; `png` and `jpeg` send frames as pictures, and with `-kept` each of them
once (README.md). Ends with 1 where an answer was a failure, where one with `url` is not batch's or the score not compare's, where more than one in ten is
another with pictures that are kept, or half of them with those that are not.
"""
import argparse
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "../../benchmarks/demo")
TOKENS, PARALLEL = 64, 4
FAILURE = "[LMMS_EVAL_"  # what its openai model writes in place of an answer


def check(condition, *words):
    if not condition:
        sys.exit("error: " + " ".join(str(word) for word in words))


def run(*command, log, **options):
    with open(log, "w") as file:
        done = subprocess.run([str(part) for part in command], stdout=file, stderr=subprocess.STDOUT, **options)
    check(done.returncode == 0, command[:3], "ended with", done.returncode, "\n" + open(log).read()[-4000:])


def lines(path):
    return [json.loads(line) for line in open(path)]


class Server:
    def __init__(self, program, model, media):
        self.process = subprocess.Popen(
            [program, "serve", model, "--port", "0", "--name", "slowfast", "--media", media, "--parallel", str(PARALLEL)],
            stderr=subprocess.PIPE, text=True, env={name: value for name, value in os.environ.items() if name != "SLOWFAST_API_KEY"})
        first = self.process.stderr.readline()
        found = re.search(r"http://\S+", first)
        check(found, "no address in", first)
        self.base = found.group()
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def lmms_eval(work, name, base, frames, **arguments):
    """Answers in the order of the questions, and the score that lmms-eval prints."""
    environment = dict(
        os.environ, OPENAI_API_KEY="none", HF_HOME=os.path.join(work, "huggingface"), HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1",
        FORCE_QWENVL_VIDEO_READER="decord", LMMS_IMAGE_ENCODE_FORMAT="PNG" if "png" in name else "JPEG",
        LMMS_EVAL_KEEP_FRAMES="1" if name.endswith("-kept") else "")
    said = dict(model_version="slowfast", base_url=base, max_frames_num=frames, max_retries=1, prefix_aware_queue=False, **arguments)
    out = os.path.join(work, name)
    run(sys.executable, os.path.join(HERE, "launch.py"), "--model", "openai", "--model_args", ",".join(f"{key}={value}" for key, value in said.items()),
        "--tasks", "slowfast_demo", "--include_path", os.path.join(HERE, "task"), "--batch_size", "1", "--output_path", out, "--log_samples",
        log=out + ".log", cwd=work, env=environment)
    samples = sorted(lines(glob.glob(out + "/**/*_samples_slowfast_demo.jsonl", recursive=True)[0]), key=lambda sample: sample["doc_id"])
    results = json.load(open(glob.glob(out + "/**/*_results.json", recursive=True)[0]))
    answers = [sample["filtered_resps"] for sample in samples]
    check([sample["doc_id"] for sample in samples] == list(range(len(lines(work + "/eval.jsonl")))), name, "does not answer each question once")
    failed = [answer for answer in answers if answer.startswith(FAILURE)]
    check(not failed, name, f"has {len(failed)} failures, the first", *failed[:1])
    return answers, results["results"]["slowfast_demo"]["exact_match,none"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slowfast", type=os.path.realpath)
    parser.add_argument("--checkpoint", default=os.path.join(DEMO, "checkpoint"))
    parser.add_argument("--bits", default="8")
    parser.add_argument("--data", default=os.path.join(DEMO, "examples/eval.jsonl"), help="as for slowfast compare")
    parser.add_argument("--questions", type=int, help="take only so many, spread over the file")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--runs", default="url,png,jpeg,png-kept,jpeg-kept")
    options = parser.parse_args()
    media = os.path.dirname(os.path.realpath(options.data))
    asked = lines(options.data)
    count = min(options.questions or len(asked), len(asked))
    asked = [asked[n * len(asked) // count] for n in range(count)]
    with tempfile.TemporaryDirectory() as work:
        # Where each program reads the same questions, with clips by their whole paths.
        data, model, answers = (os.path.join(work, name) for name in ("eval.jsonl", "model.sfq", "answers.jsonl"))
        with open(data, "w") as file:
            file.writelines(json.dumps({**one, "video": os.path.join(media, one["video"])}) + "\n" for one in asked)
        run(options.slowfast, "convert", options.checkpoint, model, "--bits", options.bits, log=work + "/convert.log")
        run(options.slowfast, "batch", model, data, "-o", answers, "--frames", options.frames, "--temperature", "0", "--max-tokens", TOKENS, log=work + "/batch.log")
        batch = [line["answer"] for line in lines(answers)]
        run(options.slowfast, "compare", options.checkpoint, model, "--data", data, "--frames", options.frames, "--parts", "none", "--max-tokens", TOKENS,
            "-o", work + "/report", log=work + "/compare.log")
        right = json.load(open(work + "/report/report.json"))["variants"][0]["exact_match"]["count"]
        print(f"[lmms-eval] {count} questions; batch: {sum(said == one['answer'] for said, one in zip(batch, asked))} right, compare: {right} right", flush=True)
        with Server(options.slowfast, model, media) as server:
            for name in options.runs.split(","):
                start = time.monotonic()
                # One run asks as many at once as the client would by itself.
                arguments = {"pass_video_url": True} if name == "url" else {"num_concurrent": PARALLEL}
                said, score = lmms_eval(work, name, server.base, options.frames, **arguments)
                same = sum(one == other for one, other in zip(said, batch))
                print(f"[lmms-eval] {name}: {same} of {count} answers are batch's, exact match {score:.4f} ({round(score * count)} right), "
                      f"{time.monotonic() - start:.0f} s", flush=True)
                if name == "url":
                    check(same == count, "answers differ from batch's:", [pair for pair in zip(said, batch) if pair[0] != pair[1]][:5])
                    check(round(score * count) == right, "the score is", score, "where compare has", right, "of", count)
                else:
                    check(count - same <= max(1, count // (10 if name.endswith("-kept") else 2)), "too many answers differ with frames as pictures:", count - same)


if __name__ == "__main__":
    main()
