"""Makes the files that contestants need, each once: models of ours, GGUF files, the tower in the formats of others."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

from checkpoint_layout import config, tensors, write_shards
from contestants import Setup
from full_size_checkpoint import random_values
from onevision_layout import OnevisionShape

HERE = Path(__file__).resolve().parent
# Few tokens are enough: a model may have more rows than its tokenizer has tokens.
TOKENIZER = HERE.parent.parent / "Tests" / "Golden" / "clip"


class PreparationError(Exception):
    """What failed, in one line."""


def run(command: list[str], what: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
        raise PreparationError(f"{what}: {lines[-1]}")


def python(script: str, *arguments: object, what: str) -> None:
    run([sys.executable, str(HERE / script), *map(str, arguments)], what)


def checkpoint(setup: Setup) -> Path:
    """Random weights with the published names, in this size's shape."""
    folder, shape = setup.folder / f"checkpoint-{setup.size.key}", setup.size.shape
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    onevision = isinstance(shape, OnevisionShape)
    named = list(shape.tensors() if onevision else tensors(shape))
    total = 2 * sum(math.prod(size) for _, size in named)
    free = shutil.disk_usage(folder).free
    if free < 2 * total:
        raise PreparationError(f"{folder}: the checkpoint and the models need {2 * total / 1e9:.0f} GB, {free / 1e9:.0f} GB are free")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(TOKENIZER / name, folder / name)
    special = {token["content"]: token["id"] for token in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]}
    write_shards(folder, named, random_values(0, shape.layers, total))
    ends = special["<|endoftext|>"], special["<|im_end|>"]
    text = json.dumps(shape.config(*ends) if onevision else config(shape, *ends), indent=2)
    (folder / "config.json").write_text(text + "\n")  # the last file: what has one is whole
    return folder


def our_model(setup: Setup, bits: int) -> None:
    path = setup.model(bits)
    if not path.exists():
        run([str(setup.slowfast), "convert", str(checkpoint(setup)), str(path), "--bits", str(bits)], f"converting to {bits} bits")


def gguf(setup: Setup, kind: str) -> None:
    if not setup.gguf(kind).exists():
        python("gguf_model.py", setup.gguf(kind), "--size", setup.size_name, "--type", kind, what=f"writing {setup.gguf(kind)}")


def llama_state(setup: Setup) -> None:
    """The cache of made-up tokens after which tokens are generated."""
    path = setup.llama_state
    if not path.exists():
        gguf(setup, "Q4_0")
        python(
            "worker_llama.py", setup.gguf("Q4_0"), "--size", setup.size_name, "--threads", setup.threads, "--context", setup.size.context,
            "--state", path, "--fill", what=f"writing {path}")


def tower(setup: Setup, whom: str) -> None:
    if not all(path.exists() for path in setup.tower_paths(whom)):
        python("tower_files.py", setup.folder, "--size", setup.size_name, "--for", whom, what=f"the tower for {whom}")


def prepare(setup: Setup, need: str) -> None:
    """`need` is one of a contestant's `needs`."""
    setup.folder.mkdir(parents=True, exist_ok=True)
    kind, _, which = need.partition(":")
    if kind == "model":
        our_model(setup, int(which))
    elif kind == "gguf":
        gguf(setup, which)
    elif kind == "tower":
        tower(setup, which)
    elif kind == "state":
        llama_state(setup)
    elif kind == "package":
        run([sys.executable, "-c", f"import {which}"], f"package {which}")
    else:
        raise ValueError(need)


def forget_checkpoint(setup: Setup) -> None:
    """Gives its disk space back: only the conversions read it."""
    folder = setup.folder / f"checkpoint-{setup.size.key}"
    if folder.exists():
        shutil.rmtree(folder)
