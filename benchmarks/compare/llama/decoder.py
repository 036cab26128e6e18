"""The Qwen2 decoder of a checkpoint as a GGUF file of floats."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Iterator

import numpy as np
import torch
from gguf import LlamaFileType
from safetensors import safe_open

import peers  # noqa: F401
from checkpoint_layout import Shape
from gguf_model import described

LAYER = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    **{f"self_attn.{name}_proj.{kind}": f"attn_{name}.{kind}" for name in "qkv" for kind in ("weight", "bias")},
    "self_attn.o_proj.weight": "attn_output.weight",
    **{f"mlp.{name}_proj.weight": f"ffn_{name}.weight" for name in ("gate", "up", "down")},
}


def names(layers: int, tied: bool) -> Iterator[tuple[str, str]]:
    """The checkpoint's name of every tensor that text goes through, and llama.cpp's."""
    yield "model.embed_tokens.weight", "token_embd.weight"
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            yield f"model.layers.{layer}.{ours}", f"blk.{layer}.{theirs}"
    yield "model.norm.weight", "output_norm.weight"
    if not tied:
        yield "lm_head.weight", "output.weight"


def convert(checkpoint: Path, out: Path) -> None:
    """Writes the decoder without its cross-attention, which text does not use, in float32: exactly what the checkpoint's bf16 says."""
    config = json.loads((checkpoint / "config.json").read_text())
    shape = Shape(
        vocabulary=config["vocab_size"], hidden=config["hidden_size"], intermediate=config["intermediate_size"],
        layers=config["num_hidden_layers"], heads=config["num_attention_heads"], kv_heads=config["num_key_value_heads"],
        positions=config["max_position_embeddings"])
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(checkpoint.glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}
    partial = out.with_suffix(".partial")
    writer = described(partial, shape, LlamaFileType.ALL_F32, config["rope_theta"], config["rms_norm_eps"])
    for ours, theirs in names(shape.layers, config["tie_word_embeddings"]):
        writer.add_tensor(theirs, tensors[ours].to(torch.float32).numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(partial, out)
