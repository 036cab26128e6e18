#!/usr/bin/env python3
"""Real senders against `slowfast serve --watch` and `slowfast watch`: streams.py SLOWFAST [DIRECTORY FOR PICTURES]. Needs ffmpeg; for RTSP
/usr/bin/python3 with GStreamer's server; for the page playwright and chromium. Prints what it does, a line each, says what it leaves out,
and ends with 1 where something is not as it should be. All traffic stays on 127.0.0.1."""
import base64
import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import traceback
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKPOINT = os.path.join(ROOT, "benchmarks/demo/checkpoint")
CLIPS = os.path.join(ROOT, "benchmarks/demo/examples/clips")
LEVELS = os.path.join(ROOT, "Tests/Clips/levels.ts")
QUESTION, COLOURS = "Which colour appears last?", ["red", "cyan", "yellow", "purple"]
# What is fresh on a machine that does other things too, in seconds.
FRESH = 5

RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_shared(True)
factory.set_launch("( filesrc location=%s ! tsdemux ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )" % sys.argv[2])
server.get_mount_points().add_factory("/door", factory)
if not server.attach(None):
    sys.exit(1)
GLib.MainLoop().run()
"""


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in words))


def left_out(what):
    print(f"left out: {what}", file=sys.stderr, flush=True)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def until(what, seconds, condition):
    """The first value of `condition` that counts as true; `what` is a sentence for where there is none in time."""
    end, value = time.monotonic() + seconds, None
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    check(False, what, "not in", seconds, "s")


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments], check=True)


class Sender:
    """A process that is started again when it ends, until it is stopped: what it sends to may not listen yet."""

    def __init__(self, *command):
        self.command, self.process, self.wanted = command, None, False
        self.lock = threading.Lock()

    def start(self):
        self.wanted = True
        threading.Thread(target=self.keep, daemon=True).start()
        return self

    def keep(self):
        while True:
            with self.lock:
                if not self.wanted:
                    return
                self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.process.wait()
            time.sleep(0.2)

    def signal(self, number):
        with self.lock:
            if self.process:
                self.process.send_signal(number)

    def kill(self):
        self.wanted = False
        self.signal(signal.SIGKILL)


def ffmpeg_sender(clip, address):
    return Sender(
        "ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", clip, "-c", "copy", "-muxdelay", "0", "-f", "mpegts", address)


def jpeg_sender(clip, address):
    """Five pictures a second by HTTP, as simple cameras send them: nothing says when one was taken."""
    return Sender(
        "ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", clip, "-an", "-r", "5", "-c:v", "mjpeg", "-f", "mpjpeg", "-listen", "1",
        address)


class GrowingFile:
    """A recording that is being written: `rate` bytes a second of what is in `source`, over and over."""

    def __init__(self, source, path, rate):
        self.bytes, self.path, self.rate = open(source, "rb").read(), path, rate
        self.writes, self.ends = threading.Event(), False
        open(path, "wb").close()

    def start(self):
        self.writes.set()
        threading.Thread(target=self.keep, daemon=True).start()
        return self

    def keep(self):
        with open(self.path, "ab") as file:
            place = 0
            while not self.ends:
                self.writes.wait()
                file.write(self.bytes[place:place + self.rate // 10])
                file.flush()
                place = (place + self.rate // 10) % len(self.bytes)
                time.sleep(0.1)


class Server:
    """`slowfast serve` with these options, until `end`; what it logs is kept."""

    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "serve", *options, "--port", "0"], stderr=subprocess.PIPE, text=True, errors="replace")
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        check(found, "no address in", line)
        self.base, self.log = found.group(), []
        self.origin = self.base.removesuffix("/v1")
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def get(self, path):
        with urllib.request.urlopen(self.base + path, timeout=30) as response:
            return json.load(response)

    def ask(self, stream, **more):
        """Status and reply."""
        parts = [{"type": "video_url", "video_url": {"url": "stream:" + stream}}, {"type": "text", "text": QUESTION}]
        body = json.dumps({"messages": [{"role": "user", "content": parts}], "temperature": 0, **more}).encode()
        request = urllib.request.Request(self.base + "/chat/completions", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def told(self, name):
        """What a question about a stream was answered from."""
        status, reply = self.ask(name)
        check(status == 200 and reply["choices"][0]["message"]["content"], name, status, reply)
        told = reply["slowfast"]["streams"][0]
        check(told["name"] == name and reply["slowfast"]["frames"] == told["frames"] >= 1, reply)
        return told

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024

    def end(self, within):
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            check(False, "the server did not end within", within, "s:", "".join(self.log[-20:]))
        check(status == 0, "the server ended with", status, "".join(self.log[-20:]))
        return time.monotonic() - start


class Receiver:
    """A webhook: answers what `statuses` says in turn, then its last; None: never."""

    def __init__(self, *statuses):
        self.bodies, self.accepted = [], []
        receiver, left = self, list(statuses)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append((self.headers["Content-Type"], body))
                status = left.pop(0) if len(left) > 1 else left[0]
                if status is None:
                    time.sleep(300)
                    return
                if status == 200:
                    receiver.accepted.append(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Threads(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/event"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def together(*parts):
    """Runs all of them at the same time; fails with the first that did."""
    failures = []

    def run(part):
        try:
            part()
        except BaseException:
            failures.append(traceback.format_exc())
    threads = [threading.Thread(target=run, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not failures, "\n".join(failures))


def timed(name, part, *arguments):
    start = time.monotonic()
    told = part(*arguments)
    print(f"[streams] {name}: {time.monotonic() - start:.1f} s{', ' + told if told else ''}", flush=True)


def make_clips(scratch):
    """What senders send: clips of the demonstration one after the other, and two plain ones of different sizes."""
    with open(scratch + "/list", "w") as file:
        for number in ("000", "003", "005", "007"):
            file.write(f"file '{CLIPS}/{number}.mp4'\n")
    codec = ["-an", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "8", "-pix_fmt", "yuv420p"]
    ffmpeg("-f", "concat", "-safe", "0", "-i", scratch + "/list", *codec, "-f", "mpegts", scratch + "/clips.ts")
    ffmpeg("-stream_loop", "15", "-i", scratch + "/clips.ts", "-c", "copy", "-f", "mpegts", scratch + "/long.ts")
    for colour, size in (("red", "320x180"), ("blue", "144x176")):
        source = ["-f", "lavfi", "-i", f"color={colour}:size={size}:rate=10"]
        ffmpeg(*source, "-t", "6", *codec, "-f", "mpegts", f"{scratch}/{colour}.ts")


# Senders of one server.

def answers(server, name):
    """A stream shows something, is asked about, and was connected to once."""
    until(f"{name} is live", 25, lambda: server.get("/streams/" + name)["state"] == "live" and server.get("/streams/" + name)["window"])
    told = server.told(name)
    check(told["age"] < FRESH, name, "was answered from", told)
    check(server.get("/streams/" + name)["connections"] == 1, server.get("/streams/" + name))


def absent(server):
    status, reply = server.ask("gone")
    check(status == 503 and reply["error"]["code"] == "no_frame", status, reply)
    check(re.fullmatch(r'The stream "gone" has shown nothing yet(: .*)?\.', reply["error"]["message"]), reply)
    until("why it is waited for", 5, lambda: server.get("/streams/gone")["problem"])
    told = server.get("/streams/gone")
    check(told["state"] == "waiting" and told["connections"] == 0 and told["age"] is None and "127.0.0.1" not in told["problem"], told)


def ages(server, name):
    """The frames that are there are still answered about, as old as they are."""
    first, begun = server.told(name), time.monotonic()
    time.sleep(1.5)
    second, passed = server.told(name), time.monotonic() - begun
    check(second["newest"] == first["newest"] and abs(second["age"] - first["age"] - passed) < 0.5, name, first, second, passed)


def dies_and_comes(server, name, sender, connections=2):
    sender.kill()
    problem = until(f"{name} is waited for", 20, lambda: (
        lambda told: told["problem"] if told["state"] == "waiting" else None)(server.get("/streams/" + name)))
    check("\n" not in problem, problem)
    ages(server, name)
    with comes(server, name, connections):
        sender.start()


@contextlib.contextmanager
def comes(server, name, connections):
    """After what is done within, a stream shows newer frames than it has, and is answered from fresh ones."""
    last = server.told(name)["newest"]
    yield
    until(f"{name} comes again", 40, lambda: (
        lambda told: told["state"] == "live" and told["problem"] is None and told["connections"] == connections)(server.get("/streams/" + name)))
    until(f"{name} shows something new", 40, lambda: (
        lambda told: told["newest"] > last and told["age"] < FRESH)(server.told(name)))


def stalls(server, name, sender, seconds, connections):
    """Stopped for a while; `connections` that there are when it goes on."""
    sender.signal(signal.SIGSTOP)
    time.sleep(seconds)
    told = server.told(name)
    check(told["age"] > seconds - FRESH / 2, name, told)
    with comes(server, name, connections):
        sender.signal(signal.SIGCONT)


def keeps_time(server, name, every):
    """A frame is taken every so many seconds of this machine's clock."""
    count = lambda: server.get("/streams/" + name)["frames"]  # noqa: E731
    first, begun = count(), time.monotonic()
    time.sleep(10 * every)
    taken, due = count() - first, (time.monotonic() - begun) / every
    check(abs(taken - due) <= 3, name, taken, "frames taken where", due, "were due")


def file_stops(server, file):
    """A file's writer that pauses ends nothing."""
    file.writes.clear()
    time.sleep(2)
    ages(server, "file")
    check(server.get("/streams/file")["connections"] == 1, "a file that does not grow was opened again")
    with comes(server, "file", 1):
        file.writes.set()


def mean_colour(server, name):
    """Of all pixels of the newest frames."""
    sheet = base64.b64decode(server.get(f"/streams/{name}/frames")["sheet"].split(",")[1])
    decoded = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "-", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], input=sheet, capture_output=True, check=True).stdout
    return [sum(decoded[channel::3]) * 3 // len(decoded) for channel in range(3)]


def size_changes(server, scratch, port):
    """A picture of another size begins in the middle of a connection."""
    with until("the sender is listened to", 20, lambda: connected(port)) as connection:
        for name in ("red", "blue"):
            with open(f"{scratch}/{name}.ts", "rb") as file:
                data = file.read()
            for start in range(0, len(data), len(data) // 50 + 1):
                connection.sendall(data[start:start + len(data) // 50 + 1])
                time.sleep(0.1)
            wanted = {"red": 0, "blue": 2}[name]
            # Both colours are there at first.
            until(f"the frames are {name}", 10, lambda: (lambda told: told[wanted] > 90 and told[wanted] > 4 * told[2 - wanted])(
                mean_colour(server, "size")))
            check(server.get("/streams/size")["connections"] == 1, server.get("/streams/size"))
            server.told("size")


def connected(port):
    try:
        return socket.create_connection(("127.0.0.1", port), 1)
    except OSError:
        return None


# Rules.

RULES = """
- {name: flaky, question: "%(question)s", choices: [%(choices)s], when: [%(choices)s], stream: tcp, webhook: "%(flaky)s", file: %(file)s}
- {name: hangs, question: "%(question)s", choices: [%(choices)s], stream: tcp, webhook: "%(hangs)s"}
- {name: refused, question: "%(question)s", choices: [%(choices)s], stream: tcp, webhook: "http://127.0.0.1:%(closed)d/"}
- {name: good, question: "%(question)s", choices: [%(choices)s], when: [%(choices)s], streams: [tcp, rtsp], webhook: "%(good)s"}
"""


class SmallDisk:
    """A file system of two pages, on one of which an event's file fits until the other is free; None where that is not to be had."""

    def __init__(self, path):
        os.mkdir(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", path], check=True, capture_output=True)
        self.path, self.events, self.filler = path, path + "/events.jsonl", path + "/filler"
        self.known = b'{"old": true}\n' * (4020 // 14)
        with open(self.events, "wb") as file:
            file.write(self.known)
        with open(self.filler, "wb") as file:
            file.write(b"x" * 4096)

    @staticmethod
    def make(path):
        try:
            return SmallDisk(path)
        except (OSError, subprocess.CalledProcessError):
            left_out("a full disk: no small file system can be mounted here")
            return None

    def whole(self):
        """Nothing of a line that has no room stays."""
        with open(self.events, "rb") as file:
            check(file.read() == self.known, "half of a line on a full disk")

    def unmount(self):
        subprocess.run(["umount", "-l", self.path], check=False, capture_output=True)


def check_event(event, rule):
    check(list(event) == ["time", "rule", "stream", "question", "answer", "probabilities", "frames"], event)
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) and event["rule"] == rule, event)
    check(event["question"] == QUESTION and event["answer"] in COLOURS and event["frames"] == 4, event)
    told = event["probabilities"]
    check(sorted(told) == sorted(COLOURS) and abs(sum(told.values()) - 1) < 1e-4 and told[event["answer"]] == max(told.values()), event)


def rules_told(server, receivers, path, disk):
    """Each event once and in order, as it should look; who hangs stops nobody else."""
    flaky, hangs, good = receivers
    until("events that were refused at first", 30, lambda: len(flaky.accepted) >= 3)
    until("events of two streams", 30, lambda: {event["stream"] for event in good.accepted} == {"tcp", "rtsp"})
    check(len(hangs.bodies) >= 1, "nobody was hung up on")
    for receiver, name in ((flaky, "flaky"), (good, "good")):
        events = list(receiver.accepted)
        for event in events:
            check_event(event, name)
        for stream in ("tcp", "rtsp"):
            own = [event for event in events if event["stream"] == stream]
            times = [event["time"] for event in own]
            check(times == sorted(times), name, "not in order:", times)
            # Frames of a burst come in the same millisecond, but each event has another answer than the one before.
            check(all(one["answer"] != next["answer"] for one, next in zip(own, own[1:])), name, "not each once:", own)
    # The first one was refused, and came again before the second.
    check(flaky.bodies[0] == flaky.bodies[1] and json.loads(flaky.bodies[0][1]) == flaky.accepted[0], flaky.bodies[:2])
    check(flaky.bodies[0][0] == "application/json", flaky.bodies[0])
    count = len(flaky.accepted)
    with open(path, "rb") as file:
        text = file.read()
    check(text.endswith(b"\n"), "half of a line")
    lines = [json.loads(line) for line in text.splitlines()]
    check(lines[:count] == flaky.accepted[:count], "file and webhook tell different events", lines[:count], flaky.accepted[:count])
    if disk:
        until("the full disk is told of", 20, lambda: any("rule disk: file: no space" in line or "No space" in line for line in server.log))
        disk.whole()
        os.unlink(disk.filler)
        until("the event comes once there is room", 20, lambda: os.path.getsize(disk.events) > len(disk.known))
        with open(disk.events, "rb") as file:
            text = file.read()
        check(text.startswith(disk.known) and text.endswith(b"\n"), text[len(disk.known):])
        for line in text[len(disk.known):].splitlines():
            check_event(json.loads(line), "disk")


# The page.

def page(server, pictures):
    from playwright.sync_api import expect, sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1000, "height": 1100})
        problems = []
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.on("request", lambda request: problems.append(request.url) if not request.url.startswith((server.origin, "data:")) else None)
        view.goto(server.origin + "/")
        section = view.locator("#streams")
        expect(section).to_be_visible(timeout=10000)
        expect(section).to_contain_text("nothing shown yet", timeout=10000)
        expect(section).to_contain_text(re.compile(r"newest frame \d+\.\d s old"), timeout=10000)
        # What rules find.
        expect(section).to_contain_text(re.compile(re.escape(QUESTION) + r" [a-z]+ \(\d+ %, "), timeout=10000)
        # One is chosen: its newest frames, again and again.
        view.get_by_role("button", name="tcp", exact=True).click()
        expect(view.get_by_role("button", name="tcp", exact=True)).to_have_attribute("aria-pressed", "true")
        sheet = view.locator("#sheet")
        expect(sheet).to_be_visible(timeout=10000)
        expect(sheet).to_have_attribute("alt", re.compile(r"^The newest \d frames of tcp, \d\.\d s old$"), timeout=10000)
        before = sheet.get_attribute("src")
        expect(sheet).not_to_have_attribute("src", before, timeout=10000)
        question = view.get_by_label("Question", exact=True)
        question.fill(QUESTION)
        question.press("Enter")
        expect(view.locator("#talk .assistant")).to_have_text(re.compile(r"^[a-z]+$"), timeout=20000)
        expect(view.locator("#talk .error")).to_have_count(0)
        view.locator("#times-part summary").click()
        expect(view.locator("#times")).to_contain_text("age of the newest frame of tcp")
        view.locator("#request-part summary").click()
        check('"stream:tcp"' in view.locator("#curl").inner_text(), view.locator("#curl").inner_text())
        if pictures:
            view.screenshot(path=os.path.join(pictures, "server-streams.png"))
        # Stopped before it is answered.
        question.fill("What happens in this video?")
        view.evaluate("document.getElementById('ask').requestSubmit(); document.getElementById('stop').click()")
        expect(view.locator("#talk .assistant").last).to_have_text(re.compile(r"\(stopped\)$"))
        expect(view.locator("#send")).to_be_enabled()
        # What shows nothing is told so.
        view.get_by_role("button", name="gone", exact=True).click()
        question.fill(QUESTION)
        question.press("Enter")
        expect(view.locator("#talk .error")).to_contain_text("has shown nothing yet", timeout=10000)
        # And away from it.
        view.get_by_role("button", name="Another clip").click()
        expect(sheet).to_be_hidden()
        expect(view.locator("#stream-list button[aria-pressed=true]")).to_have_count(0)
        expect(view.locator("#talk li")).to_have_count(0)
        check("stream:" not in view.locator("#curl").inner_text(), "the program still asks about a stream")
        check(problems == [], problems)
        browser.close()


# Memory.

def memory(program, model):
    """Some thousand frames as fast as they are taken: what is kept does not grow with them."""
    port = free_port()
    server = Server(program, model, "--watch", f"fast=tcp://127.0.0.1:{port}?listen", "--every", "1", "--window", "16")
    sender = Sender(
        "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=128x128:rate=1,noise=alls=40:allf=t", "-c:v", "mpeg2video",
        "-g", "10", "-f", "mpegts", f"tcp://127.0.0.1:{port}").start()
    try:
        until("a thousand frames", 30, lambda: server.get("/streams/fast")["frames"] > 1000)
        middle, counted = server.resident(), server.get("/streams/fast")["frames"]
        until("three thousand frames", 60, lambda: server.get("/streams/fast")["frames"] > max(3000, 2 * counted))
        last = server.resident()
        told = server.get("/streams/fast")
        check(told["connections"] == 1, told)
        check(last - middle < 20, f"{middle:.0f} MiB after {counted} frames, {last:.0f} MiB after {told['frames']}")
    finally:
        sender.kill()
        server.end(45)
    return f"{middle:.0f} MiB after {counted} frames, {last:.0f} MiB after {told['frames']}"


# The command at a terminal.

class Terminal:
    """A program at a terminal of so many columns."""

    def __init__(self, columns, *command):
        self.text = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            os.execv(command[0], command)
        threading.Thread(target=self.keep, daemon=True).start()

    def keep(self):
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 65536):
                self.text += data

    @property
    def shown(self):
        return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", self.text).decode(errors="replace")

    def interrupt(self, within):
        """Ctrl-C; the status."""
        os.write(self.master, b"\x03")
        end = time.monotonic() + within
        while time.monotonic() < end:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        check(False, "did not end within", within, "s of Ctrl-C:", self.shown[-500:])


def terminal(program, model, scratch):
    port = free_port()
    sender = ffmpeg_sender(scratch + "/clips.ts", f"tcp://127.0.0.1:{port}").start()
    address = f"tcp://127.0.0.1:{port}?listen"
    view = Terminal(40, program, "watch", model, address, "-q", QUESTION, "--choices", ",".join(COLOURS), "--every", "0.5", "--window", "4")
    try:
        line = re.compile(r"(?m)^\d\d:\d\d:\d\d  (?:" + "|".join(COLOURS) + r")\s*$")
        lines = lambda: line.findall(view.shown.replace("\r", "\n"))  # noqa: E731
        until("three answers", 20, lambda: len(lines()) >= 3)
        until("a progress line", 5, lambda: "watching: " in view.shown)
        sender.kill()
        until("that it is waited for is told", 20, lambda: "it is tried again" in view.shown and "waiting: " in view.shown)
        count = len(lines())
        sender.start()
        until("answers come again", 30, lambda: len(lines()) >= count + 2)
        status = view.interrupt(2)
        check(status == 130, "Ctrl-C ended it with", status)
    finally:
        sender.kill()
    # What is written again and again stays on one line: messages may be longer.
    progress = [part for part in re.split(r"[\r\n]+", view.shown) if re.match(r"(watching|waiting|connecting): ", part)]
    check(progress and all(len(part) <= 40 for part in progress), "wrapped:", [part for part in progress if len(part) > 40])
    # Nobody sends: ended as fast.
    idle = Terminal(40, program, "watch", model, f"tcp://127.0.0.1:{free_port()}?listen", "-q", QUESTION)
    until("that it connects", 10, lambda: "connecting: " in idle.shown)
    status = idle.interrupt(2)
    check(status == 130, "Ctrl-C ended one that waits with", status)
    return f"{len(lines())} answers"


def main():
    program = os.path.abspath(sys.argv[1])
    pictures = sys.argv[2] if len(sys.argv) > 2 else None
    begun = time.monotonic()
    with contextlib.ExitStack() as ends:
        scratch = ends.enter_context(tempfile.TemporaryDirectory())
        model = scratch + "/demo.sfq"
        subprocess.run([program, "convert", CHECKPOINT, model, "--bits", "8"], check=True, capture_output=True)
        make_clips(scratch)
        has_rtsp = subprocess.run(
            ["/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0')\nfrom gi.repository import GstRtspServer"],
            capture_output=True, check=False).returncode == 0
        ports = {name: free_port() for name in ("tcp", "rtsp", "size", "jpegs")}
        udp = free_port(socket.SOCK_DGRAM)
        senders = {
            "tcp": ffmpeg_sender(scratch + "/clips.ts", f"tcp://127.0.0.1:{ports['tcp']}"),
            "udp": ffmpeg_sender(scratch + "/clips.ts", f"udp://127.0.0.1:{udp}?pkt_size=1316"),
            "jpegs": jpeg_sender(scratch + "/clips.ts", f"http://127.0.0.1:{ports['jpegs']}/v"),
        }
        addresses = {"jpegs": f"http://127.0.0.1:{ports['jpegs']}/v", "tcp": f"tcp://127.0.0.1:{ports['tcp']}?listen", "udp": f"udp://127.0.0.1:{udp}"}
        if has_rtsp:
            senders["rtsp"] = Sender("/usr/bin/python3", "-c", RTSP_SERVER, str(ports["rtsp"]), scratch + "/long.ts")
            addresses["rtsp"] = f"rtsp://127.0.0.1:{ports['rtsp']}/door"
        else:
            left_out("RTSP: /usr/bin/python3 has no GStreamer")
            addresses["rtsp"] = addresses["udp"].replace(str(udp), str(free_port(socket.SOCK_DGRAM)))
            senders["rtsp"] = ffmpeg_sender(scratch + "/clips.ts", addresses["rtsp"] + "?pkt_size=1316")
        for sender in senders.values():
            ends.callback(sender.kill)
            sender.start()
        size = os.path.getsize(scratch + "/clips.ts")
        file = GrowingFile(scratch + "/clips.ts", scratch + "/growing.ts", size // 18).start()
        addresses |= {
            "file": scratch + "/growing.ts", "size": f"tcp://127.0.0.1:{ports['size']}?listen", "gone": f"rtsp://127.0.0.1:{free_port()}/x"}
        receivers = Receiver(500, 200), Receiver(None), Receiver(200)
        disk = SmallDisk.make(scratch + "/disk")
        if disk:
            ends.callback(disk.unmount)
        text = RULES % {
            "question": QUESTION, "choices": ", ".join(COLOURS), "flaky": receivers[0].address, "hangs": receivers[1].address,
            "good": receivers[2].address, "file": scratch + "/events.jsonl", "closed": free_port()}
        if disk:
            text += f'- {{name: disk, question: "{QUESTION}", choices: [{", ".join(COLOURS)}], when: [{", ".join(COLOURS)}], file: {disk.events}}}\n'
        with open(scratch + "/rules.yaml", "w") as rules:
            rules.write(text)
        watched = [option for name, address in addresses.items() for option in ("--watch", f"{name}={address}")]
        server = Server(program, model, *watched, "--every", "0.5", "--window", "4", "--rule", scratch + "/rules.yaml")
        ends.callback(server.process.kill)
        live = [name for name in addresses if name not in ("gone", "size")]
        timed("live, and absent", together, lambda: absent(server), *(lambda name=name: answers(server, name) for name in live))

        def tcp():
            dies_and_comes(server, "tcp", senders["tcp"])
            stalls(server, "tcp", senders["tcp"], 4, 2)

        def rtsp():
            dies_and_comes(server, "rtsp", senders["rtsp"])
            if has_rtsp:
                stalls(server, "rtsp", senders["rtsp"], 13, 3)
        timed("senders that die, stall and change", together, tcp, rtsp, lambda: dies_and_comes(server, "udp", senders["udp"]),
              lambda: file_stops(server, file), lambda: size_changes(server, scratch, ports["size"]), lambda: keeps_time(server, "jpegs", 0.5))
        timed("rules", rules_told, server, receivers, scratch + "/events.jsonl", disk)
        try:
            import playwright  # noqa: F401
        except ImportError:
            left_out("the page about streams: this Python has no playwright")
        else:
            timed("the page", page, server, pictures)
        timed("the end of a server that has events left", lambda: f"{server.end(45):.1f} s from SIGTERM")
        file.ends = True
        for sender in senders.values():
            sender.kill()
        timed("memory", memory, program, model)
        timed("at a terminal", terminal, program, model, scratch)
    print(f"[streams] all: {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
