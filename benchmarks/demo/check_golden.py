#!/usr/bin/env python3
"""Holds `model.py` against recorded tensors of the published implementation: check_golden.py GOLDEN_DIR…

Each directory is a checkpoint with `golden.safetensors`. Prints every stage's relative error; fails above 1e-4.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from model import SlowFast, causal, load
from preprocess import preprocess

LIMIT = 1e-4


@torch.no_grad()
def stages(model: SlowFast, frames: torch.Tensor, prompt: list[int]) -> dict[str, torch.Tensor]:
    side = model.config.get("input_image_size", 576)
    pixels = model.pixels(torch.stack([preprocess(frame, side) for frame in frames]))
    features = model.tower(pixels)
    projected, slow, fast = model.pool(features[None])
    hidden: list = []
    logits = decode(model, prompt, slow, fast, len(prompt), hidden)
    return {
        "pixel_values": pixels, "vision_features": features, "projected": projected[0], "slow_tokens": slow[0],
        "fast_tokens": fast[0], "hidden_states": torch.cat(hidden), "logits": logits}


@torch.no_grad()
def decode(model: SlowFast, ids: list[int], slow, fast, prompt: int, hidden=None, always: bool = True) -> torch.Tensor:
    """Logits [L, V] of token ids with −200 for the image; tokens from `prompt` on see the slow tokens only if `always`."""
    at = ids.index(-200)
    embed = model.model.embed_tokens
    x = torch.cat((embed(torch.tensor(ids[:at])), fast[0], embed(torch.tensor(ids[at + 1 :], dtype=torch.long))))[None]
    cross = torch.ones(1, x.shape[1])
    if not model.every_position:
        cross[:, at : at + fast.shape[1]] = 0
    if not always:
        cross[:, prompt - 1 + fast.shape[1] :] = 0
    final = model(x, torch.arange(x.shape[1])[None], causal(x.shape[1]), slow, cross, hidden)
    return model.lm_head(final)[0]


def generate(model: SlowFast, prompt: list[int], slow, fast, always: bool, count: int, stop: tuple[int, ...] = ()) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(decode(model, ids, slow, fast, len(prompt), None, always)[-1].argmax()))
        if ids[-1] in stop:
            break
    return ids[len(prompt) :]


def check(folder: Path) -> bool:
    model, golden = load(folder), load_file(folder / "golden.safetensors")
    prompt = golden["prompt_ids"].tolist()
    got = stages(model, golden["frames"], prompt)
    good = True
    for name, value in got.items():
        error = float((value - golden[name]).norm() / golden[name].norm())
        good &= error < LIMIT
        print(f"{folder.name:8} {name:16} {tuple(value.shape)!s:20} {error:.1e}{'' if error < LIMIT else '  WRONG'}")
    for name, always in (("generated_prompt_only", False), ("generated_always", True)):
        expected = golden[name].tolist()
        same = generate(model, prompt, got["slow_tokens"][None], got["fast_tokens"][None], always, len(expected)) == expected
        good &= same
        print(f"{folder.name:8} {name:37} {'equal' if same else 'DIFFERENT'}")
    return good


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    results = [check(Path(name)) for name in sys.argv[1:]]
    sys.exit(0 if all(results) else 1)
