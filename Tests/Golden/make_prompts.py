"""Writes conversations as the published templates do: Tests/TokenizerTests/Data/prompts.json.

    python make_prompts.py

needs transformers. The templates are those of the small checkpoints beside this file, which are the published ones.
"""
import json
import os

from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
IMAGE, VIDEO = {"type": "image"}, {"type": "video"}


def text(words):
    return {"type": "text", "text": words}


CONVERSATIONS = [
    [{"role": "user", "content": [VIDEO, text("What happens?")]}],
    [{"role": "user", "content": [IMAGE, text("What is it?")]}],
    [{"role": "user", "content": [text("Look: "), VIDEO, text("What happens?")]}],
    [{"role": "user", "content": [text("What is it? "), IMAGE]}],
    [{"role": "user", "content": [text("One: "), IMAGE, text(" two: "), IMAGE, text(" which is larger?")]}],
    [{"role": "user", "content": [text("First this."), text("Then that."), VIDEO, text("Say it."), text("Be brief.")]}],
    [{"role": "user", "content": [text("Hello")]}, {"role": "assistant", "content": [text("Yes?")]},
     {"role": "user", "content": [text("Here "), VIDEO, text(" what is it?")]}],
    [{"role": "system", "content": [text("Be brief.")]}, {"role": "user", "content": [IMAGE, IMAGE, text("Compare.")]},
     {"role": "assistant", "content": [text("No.")]}, {"role": "user", "content": [text("And "), IMAGE]}],
]

found = []
for name in ("smolvlm", "onevision-hf"):
    template = json.load(open(os.path.join(HERE, name, "chat_template.json")))["chat_template"]
    prompts, _ = render_jinja_template(CONVERSATIONS, chat_template=template, add_generation_prompt=True)
    found += [{"template": name, "messages": messages, "prompt": prompt} for messages, prompt in zip(CONVERSATIONS, prompts)]
with open(os.path.join(HERE, "../TokenizerTests/Data/prompts.json"), "w") as file:
    json.dump(found, file, indent=1)
    file.write("\n")
