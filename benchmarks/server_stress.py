#!/usr/bin/env python3
"""Requests to a server of its own that break off, are wrong, or are slow: does it leak, and is any answer another than it was?

    benchmarks/server_stress.py SLOWFAST [--requests 10000] [--clients 8] [--seed 1]

The model is the demonstration's. Each request is one of: a question, whole or streamed, in several ways to give the clip; the same whose
connection ends at some byte, sent or received; one that is read or written slowly; a body that is wrong; an upload with questions and
deletion; a deletion while its clip is encoded. An answer is compared with the first one to the same question. Afterwards the server must
come to rest, and memory, descriptors and threads are those of before, within what is said below. Prints a table; status 1 if not.
"""
import argparse
import base64
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHECKPOINT = os.path.join(ROOT, "benchmarks/demo/checkpoint")
CLIPS = os.path.join(ROOT, "benchmarks/demo/examples/clips")
QUESTIONS = ["How many shapes are there?", "Which colour appears last?", "What happens in this video?"]


class Broken(Exception):
    """The connection was ended on purpose."""


class Stress:
    def __init__(self, program, seed):
        environment = {name: value for name, value in os.environ.items() if name != "SLOWFAST_API_KEY"}
        self.process = subprocess.Popen(
            [program, "serve", CHECKPOINT, "--port", "0", "--media", CLIPS, "--parallel", "4", "--cache-size", "64M"], env=environment,
            stderr=subprocess.PIPE, text=True)
        found = re.search(r"http://[^:]+:(\d+)", self.process.stderr.readline())
        assert found, "the server does not listen"
        self.port = int(found.group(1))
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
        self.clips = sorted(os.listdir(CLIPS))[:6]
        self.data = {name: open(os.path.join(CLIPS, name), "rb").read() for name in self.clips}
        self.lock = threading.Lock()
        self.first = {}
        self.counts = {}
        self.problems = []
        self.seed = seed

    # One exchange

    def exchange(self, random, method, path, body=b"", kind="application/json", breaks=None, slow=None):
        """Status and body. `breaks`: "sent" or "received", ends the connection at some byte; `slow`: the same, a little at a time."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        whole = head.encode() + body
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=300)
        try:
            if breaks == "sent":
                connection.sendall(whole[:random.randrange(len(whole))])
                if random.random() < 0.5:
                    time.sleep(random.random() * 0.05)
                if random.random() < 0.5:
                    # At once, without saying goodbye.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                raise Broken
            try:
                if slow == "sent":
                    step = max(1, len(whole) // 12)
                    for start in range(0, len(whole), step):
                        connection.sendall(whole[start:start + step])
                        time.sleep(random.random() * 0.05)
                else:
                    connection.sendall(whole)
            except (BrokenPipeError, ConnectionResetError):
                # Refused before all was sent: the answer may be there.
                pass
            received = b""
            until = random.randrange(1, 1500) if breaks == "received" else None
            if breaks == "received" and random.random() < 0.5:
                time.sleep(random.random() * 0.3)
                raise Broken
            while piece := connection.recv(random.randrange(1, 64) if slow == "received" and len(received) < 600 else 65536):
                received += piece
                if until is not None and len(received) >= until:
                    raise Broken
                if slow == "received" and len(received) < 600:
                    time.sleep(random.random() * 0.03)
        finally:
            connection.close()
        top, _, rest = received.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in top.lower():
            joined = b""
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                count = int(size, 16)
                joined, rest = joined + rest[:count], rest[count + 2:]
            rest = joined
        return int(top.split()[1]) if top else 0, rest

    def post(self, random, object, **how):
        return self.exchange(random, "POST", "/v1/chat/completions", json.dumps(object).encode(), **how)

    # Kinds of requests

    def question(self, random, clip=None):
        name = random.choice(self.clips)
        text, frames = random.choice(QUESTIONS), random.choice([4, 8, 16])
        way = random.randrange(3)
        url = clip or (f"file://{CLIPS}/{name}" if way else "data:video/mp4;base64," + base64.b64encode(self.data[name]).decode())
        object = {"max_tokens": 24, "temperature": random.choice([0, 1]), "seed": random.randrange(3), "messages": [{"role": "user", "content": [
            {"type": "video_url", "video_url": {"url": url, "num_frames": frames}}, {"type": "text", "text": text}]}]}
        if random.random() < 0.15:
            object["messages"] += [{"role": "assistant", "content": "Well."}, {"role": "user", "content": "Are you sure?"}]
        if random.random() < 0.1:
            object["response_format"] = {"type": "json_schema", "json_schema": {"name": "a", "schema": {
                "type": "object", "properties": {"count": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["count"]}}}
        if random.random() < 0.5:
            object["stream"] = True
        key = json.dumps([name, text, frames, object["temperature"], object["temperature"] and object["seed"], len(object["messages"]),
                          "response_format" in object])
        return object, name, key

    def text(self, status, body, streamed):
        if status != 200:
            return None
        if not streamed:
            return json.loads(body)["choices"][0]["message"]["content"]
        events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
        if not events or events[-1] != "[DONE]":
            raise ValueError("the stream has no end")
        objects = [json.loads(event) for event in events[:-1]]
        if any("error" in object for object in objects):
            raise ValueError(str(objects[-1]))
        return "".join(choice["delta"].get("content") or "" for object in objects for choice in object["choices"])

    def compare(self, key, answer):
        digest = hashlib.sha256(answer.encode()).hexdigest()
        with self.lock:
            if self.first.setdefault(key, digest) != digest:
                self.problems.append(f"another answer to {key}: {answer!r}")

    def ask(self, random, **how):
        object, _, key = self.question(random)
        status, body = self.post(random, object, **how)
        if status in (429, 503):
            return f"{status}"
        answer = self.text(status, body, object.get("stream"))
        if answer is None:
            raise ValueError(f"status {status}: {body[:300]!r}")
        self.compare(key, answer)
        return "answered"

    def broken(self, random):
        object, _, _ = self.question(random)
        try:
            self.post(random, object, breaks=random.choice(["sent", "received"]))
        except (Broken, ConnectionResetError):
            pass
        return "broken off"

    def wrong(self, random):
        object, name, _ = self.question(random)
        body = json.dumps(object).encode()
        which = random.randrange(5)
        if which == 0:
            body = body[:random.randrange(len(body))]
        elif which == 1:
            body = random.randbytes(random.randrange(1, 3000))
        elif which == 2:
            damaged = bytearray(self.data[name])
            for _ in range(40):
                damaged[random.randrange(len(damaged))] = random.randrange(256)
            object["messages"][0]["content"][0]["video_url"]["url"] = "data:video/mp4;base64," + base64.b64encode(damaged).decode()
            body = json.dumps(object).encode()
        elif which == 3:
            object["messages"][0]["content"][0]["video_url"]["url"] = "file:///etc/passwd"
            body = json.dumps(object).encode()
        else:
            object["temperature"] = -1
            body = json.dumps(object).encode()
        status, reply = self.exchange(random, "POST", "/v1/chat/completions", body)
        # What is damaged may still decode, or ask for more memory than there is; nothing else is answered, and nothing is the server's fault.
        if status not in (400, 404, 422, 429) and not (which == 2 and status in (200, 503)):
            raise ValueError(f"status {status} to a wrong body: {reply[:300]!r}")
        return "refused"

    def upload(self, random):
        name = random.choice(self.clips)
        body = (b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n--b\r\nContent-Disposition: form-data; name="file"; '
                b'filename="a.mp4"\r\n\r\n' + self.data[name] + b"\r\n--b--\r\n")
        kind = "multipart/form-data; boundary=b"
        if random.random() < 0.2:
            try:
                self.exchange(random, "POST", "/v1/files", body, kind, breaks="sent")
            except (Broken, ConnectionResetError):
                return "upload broken off"
        status, reply = self.exchange(random, "POST", "/v1/files", body, kind, slow=random.choice([None, "sent"]))
        if status != 200:
            raise ValueError(f"status {status} to an upload: {reply[:300]!r}")
        identity = json.loads(reply)["id"]
        if random.random() < 0.7:
            object, _, key = self.question(random, clip=identity)
            parts = json.loads(key)
            parts[0] = name
            status, reply = self.post(random, object)
            answer = self.text(status, reply, object.get("stream"))
            if answer is not None:
                self.compare(json.dumps(parts), answer)
            elif status not in (429, 503):
                raise ValueError(f"status {status} about an upload: {reply[:300]!r}")
        status, reply = self.exchange(random, "DELETE", "/v1/files/" + identity)
        if status != 200:
            raise ValueError(f"status {status} to a deletion: {reply[:300]!r}")
        return "uploaded"

    def one(self, random):
        kinds = [
            (30, lambda: self.ask(random)), (8, lambda: self.ask(random, slow="received")), (6, lambda: self.ask(random, slow="sent")),
            (26, lambda: self.broken(random)), (20, lambda: self.wrong(random)), (10, lambda: self.upload(random))]
        make = random.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
        try:
            kind = make()
        except Exception as error:
            kind = "failed"
            with self.lock:
                self.problems.append(f"{type(error).__name__}: {error}")
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1

    # The server's state

    def metric(self, name):
        _, text = self.exchange(random.Random(0), "GET", "/metrics")
        return int(re.search(rf"^slowfast_{name} (\d+)$", text.decode(), re.M).group(1))

    def state(self):
        """Memory in MiB, descriptors and threads, when nothing is done any more."""
        for _ in range(600):
            if self.metric("answers_running") == 0 and self.metric("queue_length") == 0:
                break
            time.sleep(0.1)
        else:
            self.problems.append("the server does not come to rest")
        time.sleep(1)
        folder = f"/proc/{self.process.pid}"
        status = dict(line.split(":", 1) for line in open(folder + "/status"))
        return {"memory": int(status["VmRSS"].split()[0]) / 1024, "descriptors": len(os.listdir(folder + "/fd")),
                "threads": int(status["Threads"])}

    def run(self, count, clients, offset):
        numbers = iter(range(offset, offset + count))

        def client():
            while True:
                with self.lock:
                    number = next(numbers, None)
                if number is None:
                    return
                self.one(random.Random(self.seed * 1_000_003 + number))
        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    stress = Stress(arguments.program, arguments.seed)
    start = time.monotonic()
    try:
        print(f"{'requests':>9} {'memory MiB':>11} {'descriptors':>12} {'threads':>8} {'wrong':>6}", flush=True)
        done, states = 0, []
        # A tenth first: what is kept of clips fills its place.
        for part in [max(1, arguments.requests // 10)] + [max(1, arguments.requests * 3 // 10)] * 3:
            stress.run(part, arguments.clients, done)
            done += part
            state = stress.state()
            states.append(state)
            print(f"{done:9} {state['memory']:11.1f} {state['descriptors']:12} {state['threads']:8} {len(stress.problems):6}", flush=True)
        before, after = states[0], states[-1]
        if after["descriptors"] > before["descriptors"] + 4:
            stress.problems.append("descriptors are left open")
        if after["threads"] > before["threads"] + 16:
            stress.problems.append("threads are left")
        # A hundred MiB over nine tenths of ten thousand requests are 12 KiB each.
        if after["memory"] > before["memory"] * 1.25 + 100:
            stress.problems.append("memory grows")
        uploads = stress.metric("uploads")
        if uploads != 0:
            stress.problems.append(f"{uploads} uploads are left")
    finally:
        stress.process.send_signal(signal.SIGTERM)
        status = stress.process.wait(60)
    if status != 0:
        stress.problems.append(f"the server ended with {status}")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(stress.counts.items())))
    print(f"{len(stress.first)} different questions; {time.monotonic() - start:.0f} s")
    for problem in stress.problems[:20]:
        print("wrong:", problem)
    sys.exit(1 if stress.problems else 0)


if __name__ == "__main__":
    main()
