"""The demonstration model's shape, and how it is put together, saved and written as a checkpoint."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import torch
import torch.nn as nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from checkpoint_layout import Shape, bf16, config, fast_tokens, tensors, write_shards  # noqa: E402

from model import SlowFast  # noqa: E402
from tokenizer import VOCABULARY  # noqa: E402

# 16 frames of 2 × 2 positions: 64 slow tokens; four frames are averaged to one for the 16 fast ones.
SHAPE = Shape(
    depths=(1, 1, 2, 1), widths=(32, 64, 128, 256), head_classes=0, input_size=64, vocabulary=VOCABULARY, hidden=256,
    intermediate=512, layers=6, heads=4, kv_heads=2, cross_every=2, positions=4096, pooling=1,
    fast=fast_tokens(1, 4, 1, 4))
FAST = 16


def settings() -> dict:
    # Trained with answers that read the slow tokens too.
    return config(SHAPE, end_of_text=VOCABULARY - 3, end_of_turn=VOCABULARY - 1) | {"slow_attention": "all"}


def build() -> SlowFast:
    """The model with weights to begin from. Cross-attention starts closed: its warm-up gates are zero."""
    model = SlowFast(settings(), list(SHAPE.depths), list(SHAPE.widths))
    for name, weight in model.named_parameters():
        if "vision_tower" in name:
            continue
        if name.endswith("embed_tokens.weight"):
            nn.init.normal_(weight, std=0.3)
        elif weight.ndim == 2:
            damped = 1 / math.sqrt(2 * SHAPE.layers) if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
            nn.init.normal_(weight, std=damped / math.sqrt(weight.shape[1]))
        elif name.endswith(".bias"):
            nn.init.constant_(weight, 1.0 if "cross_attn_gate_proj" in name else 0.0)
    return model


def write_checkpoint(model: SlowFast, tokenizer: Path, folder: Path) -> None:
    """The model as a checkpoint in the published layout, bf16."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().float().cpu().numpy() for name, value in model.state_dict().items()}
    named = list(tensors(SHAPE))
    if {name: tuple(value.shape) for name, value in state.items()} != dict(named):
        raise ValueError("the model's tensors are not those of its shape")
    write_shards(folder, named, lambda name, size: iter([bf16(state[name].ravel())]))
    end_of_text, end_of_turn = VOCABULARY - 3, VOCABULARY - 1
    generation = {
        "bos_token_id": end_of_text, "pad_token_id": end_of_text, "eos_token_id": [end_of_turn, end_of_text],
        "do_sample": False, "transformers_version": "4.45.1"}
    for name, content in (("config.json", settings()), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, folder / name)


def round_weights(model: SlowFast) -> SlowFast:
    """The model with its weights as bf16 stores them."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.to(torch.bfloat16).float())
    return model
