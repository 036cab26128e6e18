"""What is killed and starved: commands with inputs that stay, and the files that a run of each must leave."""
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "benchmarks/demo/checkpoint")
SMALL = os.path.join(ROOT, "Tests/Golden/slowfast-clip")
EXAMPLES = os.path.join(ROOT, "benchmarks/demo/examples")
CLIPS = os.path.join(EXAMPLES, "clips")
# A loaded machine is slow, not broken.
PATIENCE = 600


class Finding(Exception):
    """Something that must not be."""


def environment(more=None):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAULTS_", "SLOWFAST_", "LD_PRELOAD"))}
    return {**kept, **(more or {})}


class Job:
    """One command. `place` is a folder of its own: `out` in it is what the command writes to, `in` what it reads."""

    # Whether a run that failed for want of room, or on a broken disk, may leave what the next one goes on from.
    keeps_work = False
    # Whether a fault of the disk may go without an error: what cannot be kept is no reason to give no answer.
    may_go_on = False

    def __init__(self, name, arguments, prepare=None, checkpoint=DEMO, replaced=None):
        """`replaced`: a file below `out` that is there already."""
        self.name, self.arguments, self.prepare, self.checkpoint, self.replaced = name, arguments, prepare, checkpoint, replaced

    def make(self, place, program):
        shutil.rmtree(place, ignore_errors=True)
        os.makedirs(os.path.join(place, "in"))
        self.reset(place)
        if self.prepare:
            self.prepare(os.path.join(place, "in"), program)

    def reset(self, place):
        shutil.rmtree(os.path.join(place, "out"), ignore_errors=True)
        os.makedirs(os.path.join(place, "out"))
        if self.replaced:
            with open(os.path.join(place, "out", self.replaced), "wb") as file:
                file.write(self.old)

    old = b"what was there before"

    def words(self, place):
        names = {"OUT": os.path.join(place, "out"), "IN": os.path.join(place, "in"), "CHECKPOINT": self.checkpoint, "CLIPS": CLIPS}
        return [re.sub("OUT|IN|CHECKPOINT|CLIPS", lambda found: names[found.group()], word) for word in self.arguments]

    def start(self, program, place, more=None):
        """The process, and what waits for its end and tells status, output and errors."""
        process = subprocess.Popen(
            [program] + self.words(place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=environment(more), start_new_session=True)

        def finish():
            try:
                output, errors = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Finding(f"did not end within {PATIENCE} s")
            return process.returncode, output.decode(), errors.decode()

        return process, finish

    def run(self, program, place, more=None):
        return self.start(program, place, more)[1]()

    def result(self, place, output):
        """What must be the same whatever happened before: of every file its name and content."""
        files = {}
        folder = os.path.join(place, "out")
        for path, _, names in os.walk(folder):
            for name in names:
                whole = os.path.join(path, name)
                with open(whole, "rb") as file:
                    data = file.read().replace(place.encode(), b"PLACE")
                files[os.path.relpath(whole, folder)] = self.content(os.path.relpath(whole, folder), data)
        return files

    def content(self, name, data):
        return hashlib.sha256(data).hexdigest()

    def check_left(self, place, truth):
        """After a run that did not come to its end: an output is whole, or what it was, or not there."""
        found = self.result(place, "")
        if self.replaced and self.replaced not in found:
            raise Finding(f"{self.replaced} is gone")
        for name in set(found) & set(truth):
            if found[name] != truth[name] and not (name == self.replaced and found[name] == self.content(name, self.old)):
                raise Finding(f"{name} is not whole")

    def left(self, place, truth):
        """Files that no run leaves by itself."""
        found = self.result(place, "")
        return sorted(name for name in found if name != self.replaced and found[name] != truth.get(name))


class Frames(Job):
    """A folder of pictures, each an output of its own: those that are whole stay."""

    keeps_work = True


class Answers(Job):
    """Its output are answers with times beside them."""

    keeps_work = True

    def content(self, name, data):
        if not name.endswith(".jsonl"):
            return super().content(name, data)
        try:
            lines = [json.loads(line) for line in data.splitlines()]
        except ValueError:
            return "damaged"
        return [{key: value for key, value in line.items() if key not in ("statistics", "peak_resident_bytes")} for line in lines]


class Compared(Job):
    """A folder of reports: when, how long and how much memory differ, and journals are in the order of their making."""

    keeps_work = True

    def check_left(self, place, truth):
        pass

    changing = re.compile(r"second|date|memory|peak|machine", re.I)

    def content(self, name, data):
        if name.endswith(".html"):
            return "a page" if data.endswith(b"</html>\n") else "half a page"
        if name.endswith(".json"):
            return json.dumps(self.steady(json.loads(data)), sort_keys=True)
        if name.endswith(".jsonl"):
            return sorted(line.split(b"\t")[0] for line in data.splitlines())
        return super().content(name, data)

    def steady(self, value):
        if isinstance(value, dict):
            return {key: self.steady(inner) for key, inner in value.items() if not self.changing.search(key)}
        return [self.steady(inner) for inner in value] if isinstance(value, list) else value


class Cached(Answers):
    """An answer, and a clip cache: which frames stand together in it depends on where a run ended, so its files are read instead."""

    may_go_on = True

    def check_left(self, place, truth):
        pass

    def result(self, place, output):
        answer = json.loads(output)
        result = {"answer": [answer["answer"], answer["tokens"]] if "tokens" in answer else answer["answer"]}
        check_cache(os.path.join(place, "out", "cache"))
        return result


def check_cache(folder):
    for name in os.listdir(folder):
        if name != ".lock" and not re.fullmatch(r"[0-9a-f]{32}(\.clip|-[0-9a-f]{16}\.frames)", name):
            raise Finding(f"a stray in the cache: {name}")


class Served(Job):
    """A server with a cache, asked about an upload and a file; killed at any time, then started again and asked the same."""

    may_go_on = True
    keeps_work = True

    def check_left(self, place, truth):
        pass

    def start(self, program, place, more=None):
        for name in ("cache", "tmp"):
            os.makedirs(os.path.join(place, "out", name), mode=0o700, exist_ok=True)
        process = subprocess.Popen(
            [program, "serve", DEMO, "--port", "0", "--media", CLIPS, "--cache", os.path.join(place, "out/cache")], start_new_session=True,
            env=environment({"TMPDIR": os.path.join(place, "out/tmp"), **(more or {})}), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        answers, errors, done = [], [], threading.Event()

        def ask():
            port = None
            for line in process.stderr:
                errors.append(line.decode())
                found = re.search(r"http://[^:]+:(\d+)", errors[-1])
                if found and not port:
                    port = int(found.group(1))
                    threading.Thread(target=talk, args=(port,), daemon=True).start()
            done.set()

        def talk(port):
            try:
                self.talk(port, answers)
            except Exception as error:  # Of a server that was killed while it was asked.
                answers.append(f"{type(error).__name__}: {error}")
            done.set()

        threading.Thread(target=ask, daemon=True).start()

        def finish():
            if not done.wait(PATIENCE):
                process.kill()
                raise Finding(f"no answer within {PATIENCE} s")
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Finding("does not end")
            return process.returncode, json.dumps(answers), "".join(errors)

        return process, finish

    def talk(self, port, answers):
        base = f"http://127.0.0.1:{port}/v1"

        def ask(method, path, body=None, kind="application/json"):
            request = urllib.request.Request(base + path, data=body, method=method, headers={"Content-Type": kind})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                    return json.loads(reply.read())
            except urllib.error.HTTPError as error:
                raise Finding(f"{error.code} {error.read().decode()}")

        def chat(address, question):
            content = [{"type": "video_url", "video_url": {"url": address}}, {"type": "text", "text": question}]
            reply = ask("POST", "/chat/completions", json.dumps(
                {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 24}).encode())
            answers.append(reply["choices"][0]["message"]["content"])

        with open(os.path.join(CLIPS, "003.mp4"), "rb") as file:
            clip = file.read()
        form = (b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n'
                b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n' + clip + b"\r\n--x--\r\n")
        upload = ask("POST", "/files", form, "multipart/form-data; boundary=x")["id"]
        chat(upload, "Which digit flashes?")
        answers.append(len(ask("GET", f"/files/{upload}/frames")["frames"]))
        chat(f"file://{CLIPS}/001.mp4", "How many shapes are there?")
        chat(f"file://{CLIPS}/001.mp4", "Which colour appears last?")

    def result(self, place, output):
        check_cache(os.path.join(place, "out/cache"))
        left = os.listdir(os.path.join(place, "out/tmp"))
        if left:
            raise Finding(f"strays of uploads: {left}")
        answers = json.loads(output)
        if len(answers) < 4 or any("Error: " in str(answer) or "Finding: " in str(answer) for answer in answers):
            raise Finding(f"not all is answered: {answers}")
        return {"answers": answers}


def questions(folder, program):
    lines = []
    with open(os.path.join(EXAMPLES, "eval.jsonl"), encoding="utf-8") as file:
        for line in file:
            asked = json.loads(line)
            if asked["video"] in ("clips/000.mp4", "clips/003.mp4", "clips/005.mp4") and len(lines) < 12:
                lines.append(json.dumps({**asked, "video": os.path.join(EXAMPLES, asked["video"])}))
    with open(os.path.join(folder, "questions.jsonl"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def model(folder, program, *more, checkpoint=DEMO):
    subprocess.run([program, "convert", checkpoint, os.path.join(folder, "model.sfq"), *more], check=True, env=environment(),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def small_model(folder, program):
    model(folder, program, "--bits", "8", checkpoint=SMALL)


def packed(folder, program):
    model(folder, program, "--compress", "zstd")


def raw(folder, program):
    model(folder, program, "--compress", "none")


def model_and_questions(folder, program):
    model(folder, program)
    questions(folder, program)


CALIBRATED = ["--calibrate", "IN/questions.jsonl", "--calibration-clips", "2"]


def all_jobs():
    """By name, for kills at random times: the demonstration's model and clips."""
    jobs = [
        Job("convert rtn", ["convert", "CHECKPOINT", "OUT/model.sfq", "--method", "rtn"]),
        Job("convert search", ["convert", "CHECKPOINT", "OUT/model.sfq"]),
        Job("convert search, calibrated", ["convert", "CHECKPOINT", "OUT/model.sfq"] + CALIBRATED, questions),
        Job("convert gptq", ["convert", "CHECKPOINT", "OUT/model.sfq", "--method", "gptq"] + CALIBRATED, questions),
        Job("convert 3 bits, target", ["convert", "CHECKPOINT", "OUT/model.sfq", "--target-bits", "3.6"]),
        Job("convert 16 bits", ["convert", "CHECKPOINT", "OUT/model.sfq", "--bits", "16", "--compress", "zstd"]),
        Job("pack", ["pack", "IN/model.sfq", "OUT/packed.sfq"], raw),
        Job("unpack", ["unpack", "IN/model.sfq", "OUT/raw.sfq"], packed),
        Answers("batch", ["batch", "IN/model.sfq", "IN/questions.jsonl", "-o", "OUT/answers.jsonl", "--greedy"], model_and_questions),
        Answers("batch to a table", ["batch", "IN/model.sfq", "IN/questions.jsonl", "-o", "OUT/answers.csv", "--csv", "--greedy"],
                model_and_questions),
        Compared("compare", ["compare", "CHECKPOINT", "--variants", "8,4", "--parts", "none", "--data", "IN/questions.jsonl", "--limit", "2",
                             "-o", "OUT/report"], questions),
        Frames("frames", ["frames", "CLIPS/003.mp4", "-n", "16", "-o", "OUT/frames"]),
        Job("frames, sheet", ["frames", "CLIPS/003.mp4", "-n", "16", "--sheet", "OUT/sheet.png"]),
        Cached("run with a cache", ["run", "IN/model.sfq", "CLIPS/003.mp4", "-q", "Which digit flashes?", "--greedy", "--json", "--cache",
                                    "OUT/cache"], model),
        Served("serve", []),
    ]
    return {job.name: job for job in jobs}


def step_jobs():
    """By name, for faults at single calls: the smallest model there is, few threads."""
    one = ["--threads", "1"]
    jobs = [
        Job("convert", ["convert", "CHECKPOINT", "OUT/model.sfq"] + one, checkpoint=SMALL),
        Job("convert --force", ["convert", "CHECKPOINT", "OUT/model.sfq", "--force"] + one, checkpoint=SMALL, replaced="model.sfq"),
        Job("pack", ["pack", "IN/model.sfq", "OUT/packed.sfq"], small_model),
        Job("unpack", ["unpack", "IN/model.sfq", "OUT/raw.sfq"], small_model),
        Answers("batch", ["batch", "IN/model.sfq", "IN/questions.jsonl", "-o", "OUT/answers.jsonl", "--greedy", "--parallel", "1"],
                model_and_questions),
        Compared("compare", ["compare", "CHECKPOINT", "--variants", "8,4", "--parts", "none", "--data", "IN/questions.jsonl", "--limit", "1",
                             "-o", "OUT/report"], questions),
        Frames("frames", ["frames", "CLIPS/003.mp4", "-n", "4", "-o", "OUT/frames"]),
        Job("frames, sheet", ["frames", "CLIPS/003.mp4", "-n", "4", "--sheet", "OUT/sheet.png"]),
        Job("frames, sheet --force", ["frames", "CLIPS/003.mp4", "-n", "4", "--sheet", "OUT/sheet.png", "--force"], replaced="sheet.png"),
        Job("trace", ["trace", "IN/model.sfq", "--video", "CLIPS/003.mp4", "--frames", "2", "-q", "hi", "-o", "OUT/trace.safetensors"],
            small_model),
        Cached("run with a cache", ["run", "IN/model.sfq", "CLIPS/003.mp4", "-q", "What?", "--frames", "4", "--max-tokens", "4", "--greedy",
                                    "--json", "--cache", "OUT/cache"], small_model),
        Served("serve", []),
    ]
    return {job.name: job for job in jobs}
