#!/usr/bin/env python3
"""A server of its own under attack: attack.py SLOWFAST [--short]

Slow and silent senders, readers that do not read, bodies and heads of hostile sizes, names that lead out of --media, wrong keys, names of
uploads. Under each attack a client that means well asks, and must be answered within seconds. Afterwards memory, descriptors and threads
are those of before, and the log holds neither a question, a name nor the key. Says what was tried; status 1 if something went wrong.
Takes about two minutes, --short less than half a minute; the connections are as many as descriptors allow, 10,000 at most.
"""
import argparse
import base64
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKPOINT = os.path.join(ROOT, "benchmarks/demo/checkpoint")
CLIPS = os.path.join(ROOT, "benchmarks/demo/examples/clips")
KEY = "key-5f1c9b7e"
SECRET = "zebra-crossing-77"
# Of a machine that does other things too.
SECONDS = 30
LIMIT = 4 << 20


class Server:
    def __init__(self, program, folder):
        self.folder = folder
        self.media = os.path.join(folder, "media")
        self.temporary = os.path.join(folder, "temporary")
        os.mkdir(self.media)
        os.mkdir(self.temporary)
        self.log = os.path.join(folder, "log")
        environment = dict(os.environ, SLOWFAST_API_KEY=KEY, TMPDIR=self.temporary)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [program, "serve", CHECKPOINT, "--port", "0", "--media", self.media, "--max-upload", str(LIMIT), "--parallel", "2"],
                env=environment, stderr=log)
        end = time.time() + 120
        while not (found := re.search(r"http://[^:]+:(\d+)", open(self.log).read())):
            assert time.time() < end and self.process.poll() is None, "the server does not listen"
            time.sleep(0.05)
        self.port = int(found.group(1))

    def connect(self, timeout=SECONDS, small=False):
        connection = socket.socket()
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(timeout)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def head(self, method, path, *more, key=KEY):
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", *more]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def exchange(self, data, timeout=SECONDS):
        """Status and body of the first answer; 0 where the connection ends without one. Sends whatever the other side does."""
        connection = self.connect(timeout)
        try:
            try:
                connection.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                # Refused before all was sent: the answer may be there.
                pass
            received = b""
            try:
                while piece := connection.recv(65536):
                    received += piece
                    top, found, rest = received.partition(b"\r\n\r\n")
                    length = re.search(rb"content-length: (\d+)", top.lower())
                    if found and length and len(rest) >= int(length.group(1)):
                        break
            except ConnectionResetError:
                pass
        finally:
            connection.close()
        top, _, rest = received.partition(b"\r\n\r\n")
        return (int(top.split()[1]) if top else 0), rest

    def question(self, clip, **more):
        part = {"type": "video_url", "video_url": {"url": clip, "num_frames": 4}}
        body = {"max_tokens": 8, "temperature": 0, **more}
        body["messages"] = [{"role": "user", "content": [part, {"type": "text", "text": f"How many shapes are there? {SECRET}"}]}]
        body = json.dumps(body).encode()
        return self.head("POST", "/v1/chat/completions", "Content-Type: application/json", f"Content-Length: {len(body)}") + body

    def ask(self, clip, **more):
        return self.exchange(self.question(clip, **more))

    def form(self, content, filename):
        body = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + filename + b"\"\r\n\r\n" + content + b"\r\n--b--\r\n"
        kind = "Content-Type: multipart/form-data; boundary=b"
        return self.exchange(self.head("POST", "/v1/files", kind, f"Content-Length: {len(body)}") + body)

    def state(self):
        """Resident bytes, descriptors, threads."""
        place = f"/proc/{self.process.pid}"
        status = open(f"{place}/status").read()
        memory, threads = (int(re.search(rf"{name}:\s+(\d+)", status).group(1)) for name in ("VmRSS", "Threads"))
        return memory << 10, len(os.listdir(f"{place}/fd")), threads


class Attack:
    def __init__(self, server, short):
        self.server, self.short, self.failures = server, short, 0
        self.clip = os.path.join(server.media, "clip.mp4")
        shutil.copy(os.path.join(CLIPS, "003.mp4"), self.clip)

    def says(self, what, count, result, fine):
        self.failures += not fine
        print(f"{'ok    ' if fine else 'FAILED'} {what}: {count}: {result}", flush=True)

    def client(self):
        """Seconds in which somebody who means well is answered; what went wrong raises."""
        start = time.time()
        status, _ = self.server.exchange(self.server.head("GET", "/health"))
        assert status == 200, f"/health is {status}"
        status, body = self.server.ask("file://" + self.clip)
        assert status == 200, f"a question is {status}: {body[:200]}"
        return time.time() - start

    def answered(self):
        try:
            return f"a client was answered in {self.client():.1f} s", True
        except (OSError, AssertionError) as error:
            return f"a client was not answered: {error!r}", False

    # Connections

    def silent(self, count):
        connections = []
        try:
            for _ in range(count):
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", self.server.port))
                connections.append(connection)
                if len(connections) % 100 == 0:
                    time.sleep(0.01)
            time.sleep(1)
            self.says("connections that say nothing", count, *self.answered())
        finally:
            for connection in connections:
                connection.close()

    def drip(self, count):
        """Begins heads that come a byte a second, until `stop_dripping`, which tells how many of them the server has ended."""
        self.drips = [self.server.connect() for _ in range(count)]
        self.dripped, self.stop = time.time(), threading.Event()
        text = self.server.head("GET", "/health", *(f"X-{index}: 1" for index in range(50)))

        def run():
            for byte in text:
                for connection in self.drips:
                    try:
                        connection.send(bytes([byte]))
                    except OSError:
                        pass
                if self.stop.wait(1):
                    return
        self.dripping = threading.Thread(target=run)
        self.dripping.start()

    def ended(self, connections, seconds):
        """How many the server has closed within so many seconds."""
        poll = select.poll()
        for connection in connections:
            poll.register(connection, select.POLLRDHUP)
        end, open_ones = time.time() + seconds, len(connections)
        while open_ones and (left := end - time.time()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                poll.unregister(descriptor)
                open_ones -= 1
        return len(connections) - open_ones

    def stop_dripping(self):
        count = len(self.drips)
        if self.short:
            self.says("heads, a byte a second", count, *self.answered())
        else:
            ended = self.ended(self.drips, max(0, self.dripped + 100 - time.time()))
            self.says("heads, a byte a second", count, f"{ended} were ended", ended == count)
        self.stop.set()
        self.dripping.join()
        for connection in self.drips:
            connection.close()

    def unread(self, count):
        """Asks for more than fits on the way, and never reads it."""
        self.readers = [self.server.connect(small=True) for _ in range(count)]
        pages = self.server.head("GET", "/openapi.json") * 200
        stream = self.server.question("file://" + self.clip, stream=True, n=8, logprobs=True, top_logprobs=20, max_tokens=24)
        for index, connection in enumerate(self.readers):
            connection.sendall(stream if index % 2 else pages)
        self.unread_since = time.time()
        self.says("answers that nobody reads", count, *self.answered())

    def stop_unread(self, descriptors):
        if not self.short:
            # The end comes after what is not read: the server's descriptors tell.
            while (kept := self.server.state()[1] - descriptors) > 4 and time.time() < self.unread_since + 150:
                time.sleep(1)
            self.says("answers that nobody reads, after a while", len(self.readers), f"{max(0, kept)} descriptors are kept", kept <= 4)
        for connection in self.readers:
            connection.close()

    # What is sent

    def expect(self, what, requests, allowed, timeout=SECONDS):
        statuses = {}
        for request in requests:
            try:
                status = self.server.exchange(request, timeout)[0]
            except TimeoutError:
                status = "silence"
            statuses[status] = statuses.get(status, 0) + 1
        shown = ", ".join(f"{count} × {status or 'closed'}" for status, count in statuses.items())
        self.says(what, sum(statuses.values()), shown, set(statuses) <= allowed)

    def bodies(self):
        head, kind = self.server.head, "Content-Type: application/json"
        path = "/v1/chat/completions"
        lengths = [str(LIMIT + 1), str(5 << 30), str((1 << 63) - 1)]
        self.expect("bodies beyond the limit, announced", [head("POST", path, kind, f"Content-Length: {n}") + b"{" for n in lengths], {413})
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        chunked = head("POST", path, kind, "Transfer-Encoding: chunked")
        self.expect("bodies beyond the limit, in chunks", [chunked + chunk * 6], {413})
        wrong = [b"-1", b"0x10", b"ffffffffffffffffffff", b"", b"G", b" 5", b"5 5", b"5;" + b"e" * 1_000_000]
        self.expect("sizes of chunks that are none", [chunked + size + b"\r\nabc\r\n0\r\n\r\n" for size in wrong], {0, 400})
        huge = [chunked + b"ffffffffffffffff\r\nabc"]
        self.expect("a chunk of 2^64 bytes that does not come", huge, {0, 400, 413, "silence"}, timeout=3)
        both = [["Content-Length: 5", "Transfer-Encoding: chunked"], ["Content-Length: 5", "Content-Length: 6"], ["Content-Length: -5"],
                ["Content-Length: 99999999999999999999"], ["Content-Length: 5, 5"], ["Transfer-Encoding: chunked, identity"]]
        self.expect("lengths that contradict", [head("POST", path, kind, *lines) + b"0\r\n\r\nGET" for lines in both], {0, 400})
        deep = [b"[" * 4_000_000, b'{"messages":' * 300_000, b"[" + b"0," * 2_000_000, b'"' + b"\\u0000" * 600_000, b"\xff" * 1_000_000]
        self.expect("bodies that are no question", [head("POST", path, kind, f"Content-Length: {len(b)}") + b for b in deep], {400})

    def endless(self):
        """Bodies that nobody asked for and that do not end: answered, and then not read for ever."""
        count, chunk = 4, b"1000\r\n" + b"x" * 4096 + b"\r\n"
        heads = [self.server.head("GET", "/health", "Transfer-Encoding: chunked"),
                 self.server.head("POST", "/v1/chat/completions", "Content-Type: text/plain", "Transfer-Encoding: chunked"),
                 self.server.head("POST", "/v1/files", "Content-Type: application/json", f"Content-Length: {1 << 50}"),
                 self.server.head("POST", "/v1/models", "Transfer-Encoding: chunked", "Connection: close")]
        ended, lock = [], threading.Lock()

        def run(head):
            connection = self.server.connect()
            end = time.time() + 25
            try:
                connection.sendall(head)
                while time.time() < end:
                    connection.sendall(chunk)
                    time.sleep(0.05)
            except OSError:
                with lock:
                    ended.append(head)
            connection.close()
        threads = [threading.Thread(target=run, args=[head]) for head in heads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.says("bodies without end, after the answer", count, f"{len(ended)} were ended", len(ended) == count)

    def heads(self):
        before = self.server.state()[0]
        head = self.server.head
        floods = [head("GET", "/health", *(f"X-{index}: a" for index in range(100_000))), head("GET", "/health", "X: " + "a" * 10_000_000),
                  head("GET", "/health", "a" * 10_000_000 + ": x"), head("GET", "/" + "a" * 1_000_000), b"A" * 1_000_000 + b"\r\n\r\n",
                  head("GET", "/health", "X: " + "\0" * 10), head("GET", "/health", "X : a"), b"GET /health HTTP/9.9\r\n\r\n", b"\r\n" * 500_000,
                  b"GET /health HTTP/1.1\r\n\r\n" + b"\x16\x03\x01" * 1000]
        # Empty lines before a request are allowed; the last is a request, and then noise.
        self.expect("heads that flood", floods[:-2], {0, 400})
        self.expect("lines without end, and noise", floods[-2:], {0, 200, 400, "silence"}, timeout=3)
        grown = self.server.state()[0] - before
        self.says("memory after that", 1, f"{grown / 1e6:.0f} MB more", grown < 200e6)

    # Names and keys

    def names(self):
        media, outside = self.server.media, os.path.join(self.server.folder, "outside")
        os.mkdir(outside)
        secret = os.path.join(outside, "secret.mp4")
        shutil.copy(os.path.join(CLIPS, "001.mp4"), secret)
        os.symlink(secret, os.path.join(media, "link.mp4"))
        os.symlink(outside, os.path.join(media, "folder"))
        os.symlink("loop", os.path.join(media, "loop"))
        os.mkfifo(os.path.join(media, "pipe"))
        os.mkfifo(os.path.join(outside, "pipe"))
        os.symlink(os.path.join(outside, "pipe"), os.path.join(media, "pipe-link"))
        os.mkdir(os.path.join(media, "directory.mp4"))
        os.symlink("/dev/zero", os.path.join(media, "zero.mp4"))
        up = "../" * 12
        names = [f"{media}/../outside/secret.mp4", f"{media}/%2e%2e/outside/secret.mp4", f"{media}/%252e%252e/outside/secret.mp4",
                 f"{media}/..%2foutside%2fsecret.mp4", f"{media}//..//outside/secret.mp4", f"{media}/./../outside/secret.mp4", secret,
                 f"{media}/link.mp4", f"{media}/folder/secret.mp4", f"{media}/loop", f"{media}/pipe", f"{media}/pipe-link",
                 f"{outside}/pipe", f"{media}/directory.mp4", f"{media}/", media, f"{media}/zero.mp4", "/dev/zero", "/dev/stdin",
                 "/proc/self/environ", "/proc/self/mem", "/proc/self/fd/0", "/proc/self/root" + secret, f"{media}/{up}etc/passwd",
                 f"{media}/clip.mp4%00.png", f"{media}/clip.mp4\0", f"{media}/%00", f"{media}-other/clip.mp4", "clip.mp4", "",
                 f"localhost{secret}", f"{media}/" + "a" * 5000, f"{media}/" + "a/" * 3000, "/" + "../" * 20_000 + secret]
        opened = threading.Event()

        def wait_for_reader():
            descriptor = os.open(os.path.join(outside, "pipe"), os.O_WRONLY)
            opened.set()
            os.close(descriptor)
        writer = threading.Thread(target=wait_for_reader, daemon=True)
        writer.start()
        self.expect("names that lead out of --media", [self.server.question("file://" + name) for name in names], {400, 404})
        self.says("files outside that were opened", 1, "a pipe was" if opened.is_set() else "none", not opened.is_set())
        os.close(os.open(os.path.join(outside, "pipe"), os.O_RDONLY | os.O_NONBLOCK))
        self.expect("names inside", [self.server.question(f"file://{media}/{name}") for name in ("clip.mp4", "./folder/../clip.mp4")], {200, 404})
        self.race(secret)

    def race(self, secret):
        """A file that is, in turns, a clip inside and a link to a file outside that is none: 422 would tell that it was read."""
        place, spare = os.path.join(self.server.media, "turns"), os.path.join(self.server.media, "spare")
        text = os.path.join(os.path.dirname(secret), "text")
        with open(text, "w") as file:
            file.write("no clip")
        stop = threading.Event()

        def turn():
            while not stop.is_set():
                os.link(self.clip, spare)
                os.rename(spare, place)
                if os.path.exists(spare):
                    os.unlink(spare)
                os.symlink(text, spare)
                os.rename(spare, place)
        turning = threading.Thread(target=turn)
        turning.start()
        while not os.path.lexists(place):
            time.sleep(0.001)
        request = self.server.question("file://" + place, max_tokens=1)
        self.expect("a file that becomes a link meanwhile", [request] * (10 if self.short else 200), {200, 404})
        stop.set()
        turning.join()

    def keys(self):
        wrong = ["", "k", KEY[:-1], KEY + "x", KEY[:-1] + "f", KEY.upper(), " " + KEY[1:], "x" * 10_000, KEY + "\t" + KEY, "Bearer " + KEY]
        requests = [self.server.head("GET", "/v1/models", key=key) for key in wrong]
        requests += [self.server.head("GET", f"/v1/models?api_key={KEY}", key="x"), self.server.head("GET", "//v1//models", key="x"),
                     self.server.head("GET", "/%76%31/models", key="x"), self.server.head("GET", "/metrics", key="x"),
                     self.server.head("GET", "/v1/files", f"X-Api-Key: {KEY}", key="x"), self.server.head("GET", "/v1/elsewhere", key="x")]
        self.expect("wrong keys", requests, {401})

    def uploads(self):
        with open(self.clip, "rb") as file:
            content = file.read()
        names = [b"../../../etc/zebra", b"/etc/zebra.mp4", b"..\\..\\zebra", b"a\0b", b"\x1b[31mzebra", b"zebra\rX: y", b".", b"..", b"",
                 "‮zebra".encode(), b"zebra " * 2000, b"same.mp4", b"same.mp4", b"\xff\xfe", b"%2e%2e%2fzebra", b"a\x7fb"]
        found, wrong, statuses = [], [], {}
        for name in names + [b"z" * 1_000_000]:
            status, body = self.server.form(content, name)
            statuses[status] = statuses.get(status, 0) + 1
            if status == 200:
                object = json.loads(body)
                found.append(object["id"])
                if re.search(r"[/\\]", object["filename"]) or not re.fullmatch(r"file-[0-9A-Za-z]+", object["id"]):
                    wrong.append(object)
            elif status != 400:
                wrong.append(status)
        shown = ", ".join(f"{count} × {status}" for status, count in statuses.items())
        # What the decoder's pictures are called is the server's own.
        files = [name for _, _, names in os.walk(self.server.temporary) for name in names if not name.startswith("slowfast-")]
        files += [name for name in os.listdir(self.server.media) if "zebra" in name]
        fine = not wrong and len(set(found)) == len(found) > 8 and not files
        self.says("names of uploads", len(names) + 1, f"{shown}; files with names of the client's: {len(files)} {wrong or ''}", fine)
        if not self.short:
            self.sheets(found[0])
        for id in found:
            self.server.exchange(self.server.head("DELETE", f"/v1/files/{id}"))

    def sheets(self, id):
        """Many ask for the pictures of an upload at once, which is work that no question pays for."""
        count = 200
        connections = [self.server.connect(timeout=120) for _ in range(count)]
        for connection in connections:
            connection.sendall(self.server.head("GET", f"/v1/files/{id}/frames?num_frames=144"))
        self.says("pictures of an upload, asked for at once", count, *self.answered())
        for connection in connections:
            connection.close()

    def crowd(self, seconds):
        """Requests of all kinds from eight sides."""
        server, end, counts, lock = self.server, time.time() + seconds, {}, threading.Lock()
        with open(self.clip, "rb") as file:
            data = "data:video/mp4;base64," + base64.b64encode(file.read()).decode()
        kinds = [server.head("GET", "/health"), server.head("GET", "/v1/models"), server.head("GET", "/metrics"), server.head("GET", "/"),
                 server.head("GET", "/v1/models", key="x"), server.head("PUT", "/v1/files"), server.question("file://" + self.clip),
                 server.question(data), server.question("file:///etc/passwd"), server.head("GET", "/v1/files")]

        def run(number):
            while time.time() < end:
                number += 1
                try:
                    status = server.exchange(kinds[number % len(kinds)])[0]
                except OSError as error:
                    status = type(error).__name__
                with lock:
                    counts[status] = counts.get(status, 0) + 1
        threads = [threading.Thread(target=run, args=[index]) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shown = ", ".join(f"{count} × {status}" for status, count in sorted(counts.items(), key=str))
        self.says("requests of all kinds, from eight sides", sum(counts.values()), shown, set(counts) <= {200, 401, 404, 405, 429})

    # Afterwards

    def rest(self, before):
        for _ in range(60):
            after = self.server.state()
            if after[1] <= before[1] + 4 and after[2] <= before[2] + 64:
                break
            time.sleep(1)
        shown = "; ".join(f"{name} {old:,} -> {new:,}" for name, old, new in zip(("resident bytes", "descriptors", "threads"), before, after))
        fine = after[0] < before[0] + 300e6 and after[1] <= before[1] + 4 and after[2] <= before[2] + 64
        self.says("what is left of it", 1, shown, fine)
        self.says("a client afterwards", 1, *self.answered())
        log = open(self.server.log, "rb").read()
        words = [SECRET, KEY, "zebra", "same.mp4", "shapes", "secret.mp4", "clip.mp4", "passwd", "\x1b"]
        told = [word for word in words if word.encode() in log]
        self.says("the log", f"{log.count(10)} lines", f"holds {told}" if told else "no question, name or key", not told)

    def run(self):
        self.client()
        self.crowd(2)
        before = self.server.state()
        # The server is this process's child: of the descriptors each has its own.
        most = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
        self.drip(50 if self.short else 200)
        self.unread(10)
        self.silent(min(most, 1000 if self.short else 2000))
        if not self.short:
            self.silent(most)
        self.heads()
        self.bodies()
        self.keys()
        self.names()
        self.uploads()
        if not self.short:
            self.endless()
            self.crowd(15)
        self.stop_dripping()
        self.stop_unread(before[1])
        self.rest(before)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(os.path.abspath(arguments.program), folder)
        try:
            attack = Attack(server, arguments.short)
            attack.run()
            server.process.send_signal(signal.SIGTERM)
            status = server.process.wait(60)
            attack.says("its end", 1, f"status {status}", status == 0)
        finally:
            server.process.kill()
            server.process.wait()
    sys.exit(1 if attack.failures else 0)


if __name__ == "__main__":
    main()
