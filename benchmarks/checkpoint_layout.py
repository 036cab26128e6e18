"""The HuggingFace layout of a slow-fast video language model: config, tensor names and shapes, safetensors.

Needs numpy alone. Used by `full_size_checkpoint.py` (random weights) and by the demonstration model's training.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

TOWER = "model.vision_tower.vision_tower."


@dataclass(frozen=True)
class SiglipShape:
    """A SigLIP tower, by default base-patch16-256."""

    name: str = "google/siglip-base-patch16-256"
    width: int = 768
    inner: int = 3072
    layers: int = 12
    tokens: int = 256
    patch: int = 16

    @property
    def input_size(self) -> int:
        """Pixels of a side: what the name ends with, which whole patches need not fill."""
        return int(self.name.rsplit("-", 1)[1])

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        tower, width, inner = TOWER + "vision_model.", self.width, self.inner
        yield tower + "embeddings.patch_embedding.weight", (width, 3, self.patch, self.patch)
        yield tower + "embeddings.patch_embedding.bias", (width,)
        yield tower + "embeddings.position_embedding.weight", (self.tokens, width)
        for layer in range(self.layers):
            at = f"{tower}encoder.layers.{layer}."
            for name in ("q", "k", "v", "out"):
                yield f"{at}self_attn.{name}_proj.weight", (width, width)
                yield f"{at}self_attn.{name}_proj.bias", (width,)
            for name, size in (("fc1", (inner, width)), ("fc2", (width, inner))):
                yield f"{at}mlp.{name}.weight", size
                yield f"{at}mlp.{name}.bias", (size[0],)
            for name in ("layer_norm1", "layer_norm2"):
                yield f"{at}{name}.weight", (width,)
                yield f"{at}{name}.bias", (width,)
        yield tower + "post_layernorm.weight", (width,)
        yield tower + "post_layernorm.bias", (width,)


@dataclass(frozen=True)
class Shape:
    """All numbers that decide the tensors' shapes and the number of visual tokens."""

    depths: tuple[int, ...] = (3, 4, 30, 3)
    widths: tuple[int, ...] = (384, 768, 1536, 3072)
    head_classes: int = 1000  # of the unused classification head that published checkpoints carry; 0: none
    input_size: int = 576
    vocabulary: int = 152064
    hidden: int = 3584
    intermediate: int = 18944
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    cross_every: int = 8
    positions: int = 32768
    pooling: int = 2
    fast: dict[str, int] = field(default_factory=lambda: fast_tokens(1, 4))
    siglip: SiglipShape | None = None  # in place of ConvNeXt

    tied = False  # the head is a tensor of its own

    @property
    def tower_width(self) -> int:
        return self.siglip.width if self.siglip else self.widths[-1]

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads


def fast_tokens(sampling: int, temporal: int, spatial: int = 1, least: int = 16) -> dict[str, int]:
    return {
        "min_fast_frames": least,
        "fast_token_spatial_stride": spatial,
        "fast_token_temporal_stride": temporal,
        "fast_token_temporal_sampling_stride": sampling,
    }


def config(shape: Shape, end_of_text: int, end_of_turn: int) -> dict:
    """`config.json` with every key that decides something, named as in the published checkpoints."""
    return {
        "architectures": ["LlavaQwenSlowFastForCausalLM"],
        "model_type": "llava_qwen_slow_fast",
        "torch_dtype": "bfloat16",
        "transformers_version": "4.45.1",
        "attention_dropout": 0.0,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_turn,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "image_aspect_ratio": "pad",
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.positions,
        "max_window_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": shape.vocabulary,
        "mm_hidden_size": shape.tower_width,
        "mm_patch_merge_type": "flat",
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_video_pooling_stride": shape.pooling,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": shape.siglip.name if shape.siglip else "convnext-576",
        "use_mm_proj": True,
        "cross_attn_every_n_layers": shape.cross_every,
        "cross_attn_gating_type": "whole-dynamic-tanh-warmup",
        "cross_attn_implementation": "text-only-vanilla-flashattn",
        "cross_attn_max_layer_depth": shape.layers,
        "cross_attn_min_layer_depth": 0,
        "tile_image_input": False,
        "tokenizer_model_max_length": shape.positions,
        "tokenizer_padding_side": "right",
        **shape.fast,
        **({} if shape.input_size == 576 else {"input_image_size": shape.input_size}),
    }


def tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor's name and shape in the order of the published model's state dictionary."""
    hidden, middle, size = shape.hidden, shape.intermediate, shape.head_size
    kv = shape.kv_heads * size
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        hybrid = layer % shape.cross_every == 0
        if hybrid:
            yield at + "self_attn.cross_attn_warm_up_gate", (1,)
        for name, rows in (("q", hidden), ("k", kv), ("v", kv)):
            yield at + f"self_attn.{name}_proj.weight", (rows, hidden)
            yield at + f"self_attn.{name}_proj.bias", (rows,)
        yield at + "self_attn.o_proj.weight", (hidden, hidden)
        if hybrid:
            yield at + "self_attn.cross_attn_kv_proj.weight", (2 * kv, hidden)
            yield at + "self_attn.cross_attn_kv_proj.bias", (2 * kv,)
            yield at + "self_attn.cross_attn_gate_proj.0.weight", (1, hidden)
            yield at + "self_attn.cross_attn_gate_proj.0.bias", (1,)
        yield at + "mlp.gate_proj.weight", (middle, hidden)
        yield at + "mlp.up_proj.weight", (middle, hidden)
        yield at + "mlp.down_proj.weight", (hidden, middle)
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    yield from shape.siglip.tensors() if shape.siglip else tower_tensors(shape)
    yield "model.mm_projector.0.weight", (hidden, shape.tower_width)
    yield "model.mm_projector.0.bias", (hidden,)
    yield "model.mm_projector.2.weight", (hidden, hidden)
    yield "model.mm_projector.2.bias", (hidden,)
    yield "lm_head.weight", (shape.vocabulary, hidden)


def tower_tensors(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    def pair(name: str, *size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield TOWER + name + ".weight", size
        yield TOWER + name + ".bias", size[:1]

    yield from pair("stem.0", shape.widths[0], 3, 4, 4)
    yield from pair("stem.1", shape.widths[0])
    for stage, (depth, width) in enumerate(zip(shape.depths, shape.widths)):
        if stage > 0:
            before = shape.widths[stage - 1]
            yield from pair(f"stages.{stage}.downsample.0", before)
            yield from pair(f"stages.{stage}.downsample.1", width, before, 2, 2)
        for block in range(depth):
            at = f"stages.{stage}.blocks.{block}."
            yield TOWER + at + "weight", (width,)  # the layer scale
            yield from pair(at + "conv_dw", width, 1, 7, 7)
            yield from pair(at + "norm", width)
            yield from pair(at + "mlp.fc1", 4 * width, width)
            yield from pair(at + "mlp.fc2", width, 4 * width)
    if shape.head_classes:
        yield from pair("head.norm", shape.widths[-1])
        yield from pair("head.fc", shape.head_classes, shape.widths[-1])


def bf16(values: np.ndarray) -> np.ndarray:
    """Finite float32 values to bfloat16 bit patterns (uint16), rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype("<u2")


def write_shards(
    folder: Path,
    named: list[tuple[str, tuple[int, ...]]],
    values: Callable[[str, tuple[int, ...]], Iterator[np.ndarray]],
    largest: float = 5e9,
) -> list[Path]:
    """Writes bf16 tensors into shards of at most `largest` bytes, filled in the given order, with their index.

    `values` yields a tensor's bfloat16 bit patterns piece by piece, so that no tensor need be whole in memory.
    """
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    filled = 0
    for name, size in named:
        length = 2 * math.prod(size)
        if filled and filled + length > largest:
            shards.append([])
            filled = 0
        shards[-1].append((name, size))
        filled += length
    paths, where, total = [], {}, 0
    for number, shard in enumerate(shards, 1):
        one = len(shards) == 1
        path = folder / ("model.safetensors" if one else f"model-{number:05}-of-{len(shards):05}.safetensors")
        total += write_safetensors(path, shard, values)
        where.update({name: path.name for name, _ in shard})
        paths.append(path)
    if len(paths) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    return paths


def write_safetensors(path: Path, named: list[tuple[str, tuple[int, ...]]], values) -> int:
    """One safetensors file of bf16 tensors, sorted by name as the format's own writer does; returns the tensors' bytes."""
    header: dict = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, size in sorted(named):
        end = offset + 2 * math.prod(size)
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, size in sorted(named):
            before = file.tell()
            for piece in values(name, size):
                file.write(piece.astype("<u2", copy=False).data)
            if file.tell() - before != 2 * math.prod(size):
                raise ValueError(f"{path}: {name} got {file.tell() - before} bytes, expected {2 * math.prod(size)}")
    return offset
