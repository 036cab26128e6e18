#!/usr/bin/env python3
"""How fresh a watched stream is, and how long a question about it waits:

    benchmarks/streams.py SLOWFAST MODEL [--every 2] [--window 16] [--warm-up 30] [--questions 8]

Sends a 720p clip of 25 frames a second by MPEG-TS over TCP (ffmpeg, encoded before, so that sending takes next to nothing), asks a question with
choices every five seconds, and prints the median and the greatest of: the age of the newest window, the seconds to the first token, and the age of the newest frame at
that moment.

    benchmarks/streams.py SLOWFAST MODEL --day [--window 64]

Sends a day of a camera, a frame a second, as fast as it is taken, and prints the server's memory on the way."""
import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

QUESTION = {"choices": ["yes", "no"], "stream": True, "messages": [{"role": "user", "content": [
    {"type": "video_url", "video_url": {"url": "stream:camera"}}, {"type": "text", "text": "Does anything move?"}]}]}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(base):
    """Seconds to the first token, and the age of the newest frame then."""
    start, first, age = time.time(), None, None
    request = urllib.request.Request(base + "/v1/chat/completions", json.dumps(QUESTION).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise SystemExit(chunk["error"]["message"])
            if chunk["choices"] and chunk["choices"][0]["delta"].get("content") and first is None:
                first = time.time() - start
            if "streams" in chunk.get("slowfast", {}):
                age = chunk["slowfast"]["streams"][0]["age"]
    return first, age - (time.time() - start - first)


def day(server, base, port):
    """86,400 frames of a second each, of which every other one is taken."""
    sender = subprocess.Popen(["ffmpeg", "-v", "quiet", "-f", "lavfi", "-i", "testsrc2=size=128x128:rate=1,noise=alls=40:allf=t", "-t", "86400",
                               "-c:v", "mpeg2video", "-g", "10", "-f", "mpegts", f"tcp://127.0.0.1:{port}"])
    try:
        while sender.poll() is None:
            time.sleep(10)
            with open(f"/proc/{server.pid}/status") as status:
                resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
            with urllib.request.urlopen(base + "/v1/streams/camera") as response:
                state = json.load(response)
            print(f"{state['frames']} frames taken, {state['dropped']} left out: {resident / 1000:.0f} MB in memory", flush=True)
    finally:
        sender.kill()


def told(name, values):
    return f"{name}: {statistics.median(values):.2f} s, at most {max(values):.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slowfast")
    parser.add_argument("model")
    parser.add_argument("--every", type=float, default=2)
    parser.add_argument("--window", type=int, default=16)
    parser.add_argument("--warm-up", type=float, default=30)
    parser.add_argument("--questions", type=int, default=8)
    parser.add_argument("--day", action="store_true")
    options = parser.parse_args()
    http, tcp = free_port(), free_port()
    base = f"http://127.0.0.1:{http}"
    with tempfile.TemporaryDirectory() as folder:
        clip = os.path.join(folder, "clip.ts")
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25,noise=alls=10:allf=t", "-t", "30",
                        "-c:v", "libx264", "-preset", "veryfast", "-b:v", "3M", "-g", "50", "-f", "mpegts", clip], check=True)
        server = subprocess.Popen([options.slowfast, "serve", options.model, "--port", str(http), "--every", str(options.every), "--window",
                                   str(options.window), "--watch", f"camera=tcp://127.0.0.1:{tcp}?listen"], stderr=subprocess.PIPE, text=True)
        sender = None
        try:
            for line in server.stderr:
                if "is asked at" in line:
                    break
            threading.Thread(target=server.stderr.read, daemon=True).start()
            time.sleep(0.5)
            if options.day:
                return day(server, base, tcp)
            sender = subprocess.Popen(["ffmpeg", "-v", "quiet", "-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-f", "mpegts",
                                       f"tcp://127.0.0.1:{tcp}"])
            time.sleep(options.warm_up)
            ages, waits, ages_then = [], [], []
            for _ in range(options.questions):
                for _ in range(20):
                    time.sleep(0.25)
                    with urllib.request.urlopen(base + "/v1/streams/camera") as response:
                        state = json.load(response)
                    ages.append(state["age"])
                wait, age = ask(base)
                waits.append(wait)
                ages_then.append(age)
            print(told("age of the newest frame that the tower has seen", ages))
            print(told("question to first token", waits))
            print(told("age of the newest frame at the first token", ages_then))
            with open(f"/proc/{server.pid}/status") as status:
                resident = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
            print(f"{state['frames']} frames taken, {state['dropped']} left out; at most {resident / 1024:.0f} MiB in memory")
        finally:
            if sender:
                sender.kill()
            server.kill()


if __name__ == "__main__":
    main()
