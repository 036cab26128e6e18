"""What the documentation says of the server, done: the programs of docs/python.md, the requests of Frigate and Home Assistant that
docs/home.md is about, and the packages' configuration file."""
import base64
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CLIP = os.path.join(ROOT, "benchmarks/demo/examples/clips/003.mp4")


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in words))


def home_requests(server, key):
    """Each of requests.json as its client sends it: answered within the client's deadline, with all frames seen, or refused as it is
    written there. Where it asks for a form, the answer has it."""
    import jsonschema

    with open(os.path.join(HERE, "requests.json")) as file:
        text = file.read()
    text = text.replace("{model}", "checkpoint")
    for number in range(1, 11):
        with open(os.path.join(HERE, f"frames/{number:02}.jpg"), "rb") as frame:
            text = text.replace("{frame %d}" % number, base64.b64encode(frame.read()).decode())
    for case in json.loads(text):
        request = urllib.request.Request(
            server.base + case.get("path", "/chat/completions"), json.dumps(case["body"]).encode(),
            {"Content-Type": "application/json", "Authorization": "Bearer " + key})
        start = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=case["deadline"]) as response:
                status, reply = response.status, json.load(response)
        except urllib.error.HTTPError as error:
            status, reply = error.code, json.load(error)
        check(time.monotonic() - start < case["deadline"], case["name"], "took too long")
        expected = case.get("error", {"status": 200})
        check(status == expected["status"], case["name"], case["source"], status, reply)
        if status != 200:
            check(reply["error"]["param"] == expected["param"] and reply["error"]["message"].endswith("."), case["name"], reply)
            continue
        answer = reply["choices"][0]["message"]["content"]
        check(isinstance(answer, str) and reply["choices"][0]["finish_reason"] in ("stop", "length"), case["name"], reply)
        check(reply["slowfast"]["frames"] == case.get("frames", 0), case["name"], "frames that were seen", reply["slowfast"])
        if "answer" in case:
            check(answer == case["answer"], case["name"], reply)
        if "response_format" in case["body"]:
            check(reply["choices"][0]["finish_reason"] == "stop", case["name"], reply)
            jsonschema.validate(json.loads(answer), case["body"]["response_format"]["json_schema"]["schema"])


def home_page(server):
    """What docs/home.md has Frigate and Home Assistant configured to: this server's paths, and a request that is answered."""
    import yaml

    yaml.SafeLoader.add_constructor("!secret", lambda loader, node: node.value)
    with open(os.path.join(ROOT, "docs/home.md")) as file:
        blocks = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", file.read(), re.S | re.M)]
    frigate, command, automation = blocks
    check(frigate["genai"]["slowfast"]["base_url"].endswith(":8080/v1"), frigate)
    look = command["rest_command"]["look"]
    data = automation["sequence"][0]["data"]
    payload = look["payload"].replace("/srv/clips/{{ clip }}", CLIP).replace("{{ question | tojson }}", json.dumps(data["question"]))
    check("{{" not in payload and look["method"] == "post", look)
    request = urllib.request.Request(
        server.origin + re.sub(r"^http://[^/]*", "", look["url"]), payload.encode(), {"Content-Type": look["content_type"]})
    with urllib.request.urlopen(request, timeout=look["timeout"]) as response:
        reply = json.load(response)
    # As the automation reads it.
    check(reply["choices"][0]["message"]["content"] in ("yes", "no"), reply)
    check(0 <= reply["slowfast"]["choices"][0]["probability"] <= 1 and reply["slowfast"]["choices"][0]["text"] == "yes", reply)


# What each program of the page prints: a pattern, in their order.
PRINTED = [
    r"", r"2 \d+ \{.*'prefill': .*\}\n", r"7\n", r"(?s)(\[.*\]\n)*A small red cross .*The digit 7 flashes\.\n\d+ tokens\n",
    r"-?\d+ (True|False)\n", r"(yes|no)\n((yes|no) [01]\.\d+\n){2}",
    r"messages\[0\]\.content\[0\]\.video_url This server fetches nothing: .*\n",
    r"2 \(stop token\)\n7 \(stop token\)\n", r"\{'(yes|no)': [01]\.\d+, '(yes|no)': [01]\.\d+\}\n", r"0 2\n1 7\n"]


def python_page(server, program):
    """The programs of docs/python.md, one after the other, print what they should."""
    with open(os.path.join(ROOT, "docs/python.md")) as file:
        blocks = re.findall(r"^```python\n(.*?)^```$", file.read(), re.S | re.M)
    check(len(blocks) == len(PRINTED), len(blocks), "programs")
    address = "http://127.0.0.1:8080/v1"
    check(address in blocks[0], "no address in", blocks[0])
    directory, path = os.getcwd(), os.environ["PATH"]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            os.chdir(scratch)
            os.mkdir("bin")
            os.symlink(os.path.abspath(os.path.join(directory, program)), "bin/slowfast")
            os.environ["PATH"] = os.path.join(scratch, "bin") + os.pathsep + path
            subprocess.run(["slowfast", "convert", os.path.join(ROOT, "benchmarks/demo/checkpoint"), "model.sfq"], check=True, capture_output=True)
            shutil.copy(CLIP, "clip.mp4")
            names = {"__name__": "page"}
            for block, pattern in zip(blocks, PRINTED):
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(block.replace(address, server.base), "docs/python.md", "exec"), names)  # noqa: S102
                check(re.fullmatch(pattern, printed.getvalue()), "printed", repr(printed.getvalue()), "by", block)
        finally:
            os.chdir(directory)
            os.environ["PATH"] = path


def packaged_configuration(program, serving):
    """The packages' serve.yaml is read, as it is and with all that it only suggests; `serving` makes a server with these options."""
    with open(os.path.join(ROOT, "packaging/serve.yaml")) as file:
        text = file.read()
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "serve.yaml")

        def write(text):
            text = text.replace("/var/cache/slowfast", os.path.join(scratch, "cache")).replace("/srv/clips, /srv/cameras", scratch)
            text = text.replace("/var/lib/slowfast/model.sfq", os.path.join(ROOT, "benchmarks/demo/checkpoint")).replace(": 8080", ": 0")
            # No camera is there, nor the rules beside the configuration.
            text = text.replace("rtsp://192.168.1.20", "rtsp://127.0.0.1:1").replace("/etc/slowfast/rules.yaml", rules)
            with open(path, "w") as file:
                file.write(text)

        rules = os.path.join(scratch, "rules.yaml")
        with open(rules, "w") as file:
            file.write("{question: Is anybody there?, choices: [yes, no], file: " + os.path.join(scratch, "events.jsonl") + "}\n")
        write(text)
        outcome = subprocess.run([program, "serve", "--config", path], capture_output=True, text=True, timeout=60)
        check(outcome.returncode == 1 and "serve.yaml: names no model" in outcome.stderr, outcome)
        suggested = re.sub(r"(?m)^#([a-z-]+: )", r"\1", text)
        check(suggested.count("\n#") < text.count("\n#"), "nothing is suggested")
        write(suggested)
        with serving(program, "--config", path) as server, urllib.request.urlopen(server.base + "/models") as response:
            check([model["id"] for model in json.load(response)["data"]] == ["my-model"], "the model's name")
