#!/usr/bin/env python3
"""How long several clients at once wait for the first token of an answer, and how many tokens a second they get together.

    benchmarks/server.py SLOWFAST MODEL --clip CLIP… [--clients 1,2,4,8] [--tokens 32] [--frames N] [--forbid ID,…]
    benchmarks/server.py SLOWFAST MODEL --upload --clip CLIP [--tokens 32]
    benchmarks/server.py --base http://127.0.0.1:8080/v1 --pictures --clip CLIP…       # a server that runs already, such as llama.cpp's

Streams over plain HTTP, nothing installed. Each client asks questions of its own about a clip whose features the server has, all about the
same one, then each about another (copies of the clips that are given, changed in a byte that no decoder reads, where there are too few), and
then about clips that the server has not seen. Tokens of --forbid, such as the end's, are
not chosen, so that answers are of one length. With --upload the first clip is uploaded and, when it is encoded, asked about five times, one question after the other. With --pictures a clip is sent as that many JPEGs, which FFmpeg makes of it. Prints a table.
"""
import argparse
import base64
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse


def stream(base, object):
    """Seconds to the first text, to the end, and how many tokens there were."""
    parts = urllib.parse.urlsplit(base)
    body = json.dumps(object).encode()
    connection = socket.create_connection((parts.hostname, parts.port), timeout=1200)
    head = f"POST {parts.path}/chat/completions HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    start = time.monotonic()
    connection.sendall(head.encode() + body)
    first, tokens, status = None, 0, None
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            if status is None:
                status = int(line.split()[1])
            if not line.startswith(b"data: {"):
                if status != 200 and line.startswith(b"{"):
                    raise SystemExit(f"refused with {status}: {line.decode()}")
                continue
            event = json.loads(line[6:])
            if "error" in event:
                raise SystemExit(f"refused: {event['error']}")
            if any(choice["delta"].get("content") for choice in event.get("choices", [])) and first is None:
                first = time.monotonic() - start
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
    if first is None:
        raise SystemExit(f"no answer: status {status}")
    return first, time.monotonic() - start, tokens


class Asker:
    def __init__(self, base, arguments):
        self.base, self.arguments, self.number = base, arguments, 0
        self.clips = [open(path, "rb").read() for path in arguments.clip]
        self.pictures = {}

    def part(self, index):
        """A clip, the same for the same number."""
        data = self.clips[index % len(self.clips)]
        if self.arguments.pictures:
            if index not in self.pictures:
                self.pictures[index] = self.frames(self.arguments.clip[index % len(self.clips)], index)
            return [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64," + picture}} for picture in self.pictures[index]]
        # A box that decoders pass over, so that the bytes are others.
        mark = f"{index:08}".encode()
        data += (8 + len(mark)).to_bytes(4, "big") + b"free" + mark
        address = {"url": "data:video/mp4;base64," + base64.b64encode(data).decode()}
        if self.arguments.frames:
            address["num_frames"] = self.arguments.frames
        return [{"type": "video_url", "video_url": address}]

    def frames(self, clip, index):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["ffmpeg", "-v", "error", "-i", clip, "-vf", f"noise=alls=1:all_seed={index + 1},thumbnail=4", "-frames:v",
                 str(self.arguments.frames or 8), folder + "/%04d.jpg"], check=True)
            return [base64.b64encode(open(os.path.join(folder, name), "rb").read()).decode() for name in sorted(os.listdir(folder))]

    def ask(self, index, question, tokens):
        object = {
            "max_tokens": tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
            "logit_bias": {token: -100 for token in self.arguments.forbid.split(",") if token},
            "messages": [{"role": "user", "content": self.part(index) + [{"type": "text", "text": question}]}]}
        return stream(self.base, object)

    def together(self, indices):
        """Answers at the same time: the median to the first token, and tokens a second of all from the first request to the last end."""
        results = [None] * len(indices)
        self.number += 1

        def one(place, index):
            results[place] = self.ask(index, f"Question {self.number}.{place}: describe at length what happens.", self.arguments.tokens)
        threads = [threading.Thread(target=one, args=pair) for pair in enumerate(indices)]
        start = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - start
        if None in results:
            raise SystemExit("a request failed")
        tokens = sum(result[2] for result in results)
        return statistics.median(result[0] for result in results), tokens / seconds, tokens


def measure(asker, arguments):
    counts = [int(count) for count in arguments.clients.split(",")]
    print(f"{'clips':10} {'clients':>7} {'first token s':>14} {'tokens/s':>9} {'tokens':>7}")
    new = 1000
    # Warm: weights in memory, features kept.
    for index in range(max(counts)):
        asker.ask(index, "Hello?", 1)
    for kind in ("one", "different", "new"):
        for count in counts:
            runs = []
            for _ in range(arguments.repeat):
                indices = [0] * count if kind == "one" else list(range(count)) if kind == "different" else list(range(new, new + count))
                new += count if kind == "new" else 0
                runs.append(asker.together(indices))
            first, speed, tokens = (statistics.median(values) for values in zip(*runs))
            print(f"{kind:10} {count:7} {first:14.2f} {speed:9.1f} {tokens:7.0f}", flush=True)


QUESTIONS = ["What happens in this video?", "How many people are there?", "What colour is the largest thing?", "Does anything move, and where to?", "How does it end?"]


def upload(base, arguments):
    """Seconds until an uploaded clip is encoded, and to the first token of each of five questions about it."""
    import urllib.request
    data = open(arguments.clip[0], "rb").read()
    body = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nvision\r\n'
    body += b'--b\r\nContent-Disposition: form-data; name="file"; filename="clip.mp4"\r\n\r\n' + data + b"\r\n--b--\r\n"
    start = time.monotonic()
    request = urllib.request.Request(base + "/files", body, {"Content-Type": "multipart/form-data; boundary=b"})
    file = json.load(urllib.request.urlopen(request))
    print(f"uploaded after {time.monotonic() - start:.2f} s", flush=True)
    while file["status"] == "uploaded":
        time.sleep(0.2)
        file = json.load(urllib.request.urlopen(base + "/files/" + file["id"]))
    if file["status"] != "processed":
        raise SystemExit(f"not encoded: {file}")
    print(f"encoded after {time.monotonic() - start:.1f} s", flush=True)
    for question in QUESTIONS:
        object = {
            "max_tokens": arguments.tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True},
            "logit_bias": {token: -100 for token in arguments.forbid.split(",") if token},
            "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": file["id"]}}, {"type": "text", "text": question}]}]}
        first, end, tokens = stream(base, object)
        print(f"first token after {first:6.2f} s, then {(tokens - 1) / max(1e-9, end - first):5.1f} tokens/s: {question}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--base")
    parser.add_argument("--clip", nargs="+", required=True)
    parser.add_argument("--clients", default="1,2,4,8")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--forbid", default="")
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--upload", action="store_true")
    arguments = parser.parse_args()
    print("load before:", " ".join(f"{load:.2f}" for load in os.getloadavg()))
    if arguments.base and arguments.upload:
        upload(arguments.base, arguments)
        return
    if arguments.base:
        measure(Asker(arguments.base, arguments), arguments)
        return
    if not arguments.model:
        parser.error("a program and a model, or --base")
    most = max(int(count) for count in arguments.clients.split(","))
    environment = {name: value for name, value in os.environ.items() if name != "SLOWFAST_API_KEY"}
    server = subprocess.Popen(
        [arguments.program, "serve", arguments.model, "--port", "0", "--parallel", str(most)], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        found = re.search(r"http://\S+", server.stderr.readline())
        if not found:
            sys.exit("the server does not listen")
        threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
        if arguments.upload:
            upload(found.group(), arguments)
        else:
            measure(Asker(found.group(), arguments), arguments)
        status = dict(line.split(":", 1) for line in open(f"/proc/{server.pid}/status"))
        print(f"peak memory: {int(status['VmHWM'].split()[0]) / 1024:.0f} MiB")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


if __name__ == "__main__":
    main()
