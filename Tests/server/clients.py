#!/usr/bin/env python3
"""Real clients against a server of its own, and what pages.py holds: clients.py SLOWFAST, run by a Python that has openai, litellm,
schemathesis, playwright, jsonschema and PyYAML, on a machine that has chromium. Prints what it does, a line each, and ends with 1 where
something is not as it should be."""
import asyncio
import base64
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pages

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKPOINT = os.path.join(ROOT, "benchmarks/demo/checkpoint")
CLIP = os.path.join(ROOT, "benchmarks/demo/examples/clips/003.mp4")
KEY = "a key of the tests"
QUESTION, ANSWER = "How many shapes are there?", "2"


def check(condition, *words):
    if not condition:
        raise AssertionError(" ".join(str(word) for word in words))


class Server:
    """`slowfast serve` with these options, until the end of the block; it must then end by itself with status 0."""

    def __init__(self, program, *options, key=None):
        environment = {name: value for name, value in os.environ.items() if name != "SLOWFAST_API_KEY"}
        if key:
            environment["SLOWFAST_API_KEY"] = key
        self.process = subprocess.Popen(
            [program, "serve", *options], env=environment, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        check(found, "no address in", line)
        self.base = found.group()
        self.origin = self.base.removesuffix("/v1")
        # What the log says is not looked at, but must not fill the pipe.
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        if error is None:
            check(status == 0, "the server ended with", status)


def clip_message(question, clip=None):
    data = "data:video/mp4;base64," + base64.b64encode(open(CLIP, "rb").read()).decode()
    return {"role": "user", "content": [
        {"type": "video_url", "video_url": {"url": clip or data}}, {"type": "text", "text": question}]}


def openai_clients(server):
    import openai
    client = openai.OpenAI(base_url=server.base, api_key=KEY)
    check([model.id for model in client.models.list()] == ["checkpoint"], "models")
    reply = client.chat.completions.create(model="checkpoint", messages=[clip_message(QUESTION)])
    check(reply.choices[0].message.content == ANSWER and reply.choices[0].finish_reason == "stop", reply)
    check(reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens, reply.usage)
    reply = client.chat.completions.create(model="checkpoint", messages=[clip_message(QUESTION, "file://" + CLIP)])
    check(reply.choices[0].message.content == ANSWER and reply.usage.prompt_tokens_details.cached_tokens > 0, reply)

    file = client.files.create(file=open(CLIP, "rb"), purpose="vision")
    file = client.files.wait_for_processing(file.id, poll_interval=0.1)
    check(file.status == "processed" and file.bytes == os.path.getsize(CLIP), file)
    part = [{"type": "file", "file": {"file_id": file.id}}, {"type": "text", "text": QUESTION}]
    reply = client.chat.completions.create(model="checkpoint", messages=[{"role": "user", "content": part}])
    check(reply.choices[0].message.content == ANSWER, reply)
    check([other.id for other in client.files.list()] == [file.id], "files")
    check(client.files.delete(file.id).deleted, "deletion")

    talk = [clip_message(QUESTION, "file://" + CLIP), {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "And in colour?"}]
    check(client.chat.completions.create(model="checkpoint", messages=talk).choices[0].message.content, "a second turn")

    stream = client.chat.completions.create(
        model="checkpoint", messages=[clip_message("What happens in this video?")], stream=True, stream_options={"include_usage": True})
    text, usage = "", None
    for chunk in stream:
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
        usage = chunk.usage or usage
    check("digit 7 flashes" in text and usage.completion_tokens > 5, text, usage)

    for messages, kind, part in [
            ([clip_message(QUESTION, "https://example.org/a.mp4")], openai.BadRequestError, "messages[0].content[0].video_url"),
            ([clip_message(QUESTION, "data:video/mp4;base64,AAAAAAAA")], openai.UnprocessableEntityError, "messages[0].content[0].video_url"),
            ([clip_message(QUESTION, "file:///nowhere")], openai.NotFoundError, "messages[0].content[0].video_url")]:
        try:
            client.chat.completions.create(model="checkpoint", messages=messages)
            check(False, "no error about", part)
        except kind as error:
            check(error.param == part and error.body["message"].endswith("."), error.param, error.body)
    try:
        openai.OpenAI(base_url=server.base, api_key="another", max_retries=0).models.list()
        check(False, "no error about the key")
    except openai.AuthenticationError:
        pass

    import pydantic

    class Shapes(pydantic.BaseModel):
        count: int
        clear: bool

    parsed = client.chat.completions.parse(model="checkpoint", messages=[clip_message(QUESTION)], response_format=Shapes, temperature=0)
    check(isinstance(parsed.choices[0].message.parsed, Shapes), parsed)

    async def several():
        asynchronous = openai.AsyncOpenAI(base_url=server.base, api_key=KEY)
        replies = await asyncio.gather(*(
            asynchronous.chat.completions.create(model="checkpoint", messages=[clip_message(QUESTION)]) for _ in range(6)))
        check(all(reply.choices[0].message.content == ANSWER for reply in replies), replies)
        text = ""
        async for chunk in await asynchronous.chat.completions.create(model="checkpoint", messages=[clip_message(QUESTION)], stream=True):
            text += "".join(choice.delta.content or "" for choice in chunk.choices)
        check(text == ANSWER, text)
    asyncio.run(several())


def litellm_client(server):
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm
    litellm.telemetry = False
    reply = litellm.completion(
        model="openai/checkpoint", api_base=server.base, api_key=KEY, messages=[clip_message(QUESTION, "file://" + CLIP)])
    check(reply.choices[0].message.content == ANSWER, reply)
    chunks = litellm.completion(
        model="openai/checkpoint", api_base=server.base, api_key=KEY, messages=[clip_message(QUESTION, "file://" + CLIP)], stream=True)
    check("".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER, "litellm's stream")


def document(server):
    """What is sent by the document's schemas, right and wrong, is answered as the document says."""
    tool = os.path.join(os.path.dirname(sys.executable), "schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [tool, "--config-file", os.devnull, "run", server.origin + "/openapi.json", "-H", "Authorization: Bearer " + KEY,
             "--max-examples", "15", "--seed", "1", "--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all",
             "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"],
            capture_output=True, text=True, timeout=170, cwd=folder)
    check(done.returncode == 0, done.stdout[-6000:], done.stderr[-2000:])


def page(server, pictures=None):
    from playwright.sync_api import sync_playwright, expect
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1000, "height": 1100})
        problems = []
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.on("request", lambda request: problems.append(request.url) if not request.url.startswith((server.origin, "data:")) else None)
        view.goto(server.origin + "/")
        expect(view.locator("#model")).to_contain_text("16 frames")

        def ask(question):
            view.get_by_label("Question", exact=True).fill(question)
            view.get_by_label("Question", exact=True).press("Enter")

        # A clip, its frames, two questions that belong together.
        view.get_by_label("Drop a video").set_input_files(CLIP)
        expect(view.locator("#sheet")).to_have_attribute("alt", re.compile("^16 frames, at seconds 0.0, "), timeout=20000)
        expect(view.locator("#status")).to_have_text("The clip is ready for questions.", timeout=20000)
        ask(QUESTION)
        expect(view.locator("#talk .assistant")).to_have_text(ANSWER, timeout=20000)
        expect(view.locator("#send")).to_be_enabled()
        if pictures:
            view.screenshot(path=os.path.join(pictures, "server-light.png"))
        ask("Which colour appears last?")
        expect(view.locator("#talk .assistant").nth(1)).to_have_text(re.compile("[a-z]+"), timeout=20000)
        expect(view.locator("#talk .error")).to_have_count(0)
        # The program shown asks the same.
        view.locator("#request-part summary").click()
        check('"file_id": "file-' in view.locator("#curl").inner_text(), view.locator("#curl").inner_text())
        view.locator("#times-part summary").click()
        expect(view.locator("#times")).to_contain_text("prefill")

        # A long clip of work, stopped.
        view.locator("summary", has_text="Options").click()
        view.get_by_label("Frames", exact=True).fill("2000")
        view.get_by_label("Frames", exact=True).press("Tab")
        view.get_by_role("button", name="New").click()
        ask("What happens?")
        expect(view.locator("#stop")).to_be_enabled()
        view.get_by_role("button", name="Stop").click()
        expect(view.locator("#talk .assistant").last).to_have_text(re.compile(r"\(stopped\)$"))

        # What is no clip.
        view.get_by_role("button", name="Another clip").click()
        view.get_by_label("Drop a video").set_input_files(os.path.join(ROOT, "README.md"))
        expect(view.locator("#talk .error").first).to_contain_text("video", timeout=20000)

        # A phone, in the dark: nothing beside the screen; every control can be reached by keys and has a name.
        view.emulate_media(color_scheme="dark")
        view.set_viewport_size({"width": 360, "height": 740})
        check(view.evaluate("document.documentElement.scrollWidth") <= 360, "wider than a phone")
        nameless = view.evaluate(
            "[...document.querySelectorAll('input,textarea,button')].filter(e => !(e.labels && e.labels.length) && !e.textContent.trim()).map(e => e.id)")
        check(nameless == [], "controls without a name:", nameless)
        if pictures:
            view.screenshot(path=os.path.join(pictures, "server-dark-phone.png"))
        check(problems == [], problems)
        browser.close()


def timed(part, *arguments):
    start = time.monotonic()
    part(*arguments)
    print(f"[server] {part.__name__}: {time.monotonic() - start:.1f} s", flush=True)


def main():
    program = sys.argv[1]
    pictures = sys.argv[2] if len(sys.argv) > 2 else None
    options = [CHECKPOINT, "--port", "0", "--media", os.path.dirname(CLIP)]
    with Server(program, *options, key=KEY) as server:
        for part in (openai_clients, litellm_client, document):
            timed(part, server)
        timed(pages.home_requests, server, KEY)
    with Server(program, *options) as server:
        timed(page, server, pictures)
        timed(pages.python_page, server, program)
        timed(pages.home_page, server)
    timed(pages.packaged_configuration, program, Server)


if __name__ == "__main__":
    main()
