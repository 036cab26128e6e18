#!/usr/bin/env python3
"""Writes a GGUF file of Qwen2's shape with random quantized weights, block by block: no float model is made or needed.

    gguf_model.py OUT --size SIZE --type Q4_0|Q4_K_M|Q8_0

The types of the tensors are those that llama.cpp's own quantizer chooses, so a run costs exactly what one on a converted checkpoint
costs. Codes are random; scales are such that activations stay of order one.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Iterator

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, GGUFWriter, LlamaFileType

from sizes import SIZES, OnevisionShape, Shape

TYPES = {"Q4_0": LlamaFileType.MOSTLY_Q4_0, "Q4_K_M": LlamaFileType.MOSTLY_Q4_K_M, "Q8_0": LlamaFileType.MOSTLY_Q8_0}
PIECE = 1 << 23


def more_bits(layer: int, layers: int) -> bool:
    """The layers whose attn_v and ffn_down llama.cpp keeps in Q6_K with Q4_K_M."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def fitting(kind: Type, columns: int) -> Type:
    """What llama.cpp takes where whole blocks of a kind do not fill the columns."""
    others = {Type.Q4_K: Type.Q5_0, Type.Q6_K: Type.Q8_0}
    return others.get(kind, kind) if columns % GGML_QUANT_SIZES[kind][0] else kind


def tensors(shape: Shape | OnevisionShape, kind: str) -> Iterator[tuple[str, tuple[int, ...], Type]]:
    """Every tensor's name, rows and columns, and type."""
    for name, size, wanted in wanted_tensors(shape, kind):
        yield name, size, fitting(wanted, size[-1]) if len(size) == 2 else wanted


def wanted_tensors(shape: Shape | OnevisionShape, kind: str) -> Iterator[tuple[str, tuple[int, ...], Type]]:
    plain = {"Q4_0": Type.Q4_0, "Q4_K_M": Type.Q4_K, "Q8_0": Type.Q8_0}[kind]
    hidden, kv = shape.hidden, shape.kv_heads * shape.head_size
    head = plain if kind == "Q8_0" else Type.Q6_K
    yield "token_embd.weight", (shape.vocabulary, hidden), head if shape.tied else plain
    for layer in range(shape.layers):
        at = f"blk.{layer}."
        better = Type.Q6_K if kind == "Q4_K_M" and more_bits(layer, shape.layers) else plain
        yield at + "attn_norm.weight", (hidden,), Type.F32
        for name, rows, chosen in (("q", hidden, plain), ("k", kv, plain), ("v", kv, better)):
            yield at + f"attn_{name}.weight", (rows, hidden), chosen
            yield at + f"attn_{name}.bias", (rows,), Type.F32
        yield at + "attn_output.weight", (hidden, hidden), plain
        yield at + "ffn_norm.weight", (hidden,), Type.F32
        yield at + "ffn_gate.weight", (shape.intermediate, hidden), plain
        yield at + "ffn_up.weight", (shape.intermediate, hidden), plain
        yield at + "ffn_down.weight", (hidden, shape.intermediate), better
    yield "output_norm.weight", (hidden,), Type.F32
    if not shape.tied:
        yield "output.weight", (shape.vocabulary, hidden), head


def blocks(kind: Type, count: int, deviation: float, random: np.random.Generator) -> np.ndarray:
    """`count` blocks [count, bytes] of weights about zero with a given standard deviation."""
    size = GGML_QUANT_SIZES[kind][1]
    data = random.integers(0, 256, (count, size), np.uint8)

    def half(at: int, value: float) -> None:
        data[:, at:at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)

    if kind == Type.Q4_0:  # (code − 8) · d
        half(0, deviation / 4.6)
    elif kind == Type.Q5_0:  # (code − 16) · d
        half(0, deviation / 9.2)
    elif kind == Type.Q8_0:  # code · d
        half(0, deviation / 74)
    elif kind == Type.Q4_K:  # code · 32 · d − 32 · m, the 6-bit scales and minima all 32
        half(0, deviation / 4.6 / 32)
        half(2, deviation / 4.6 / 32 * 7.5)
        data[:, 4:12], data[:, 12:16] = 160, 0
    elif kind == Type.Q6_K:  # (code − 32) · 32 · d
        data[:, 192:208] = 32
        half(208, deviation / 18.5 / 32)
    else:
        raise ValueError(f"no random blocks of {kind.name}")
    return data


def tensor(name: str, size: tuple[int, ...], kind: Type, random: np.random.Generator) -> np.ndarray:
    """A tensor's bytes by row; blocks repeat after some megabytes."""
    if kind == Type.F32:
        return np.full(size, 0.0 if name.endswith("bias") else 1.0, np.float32)
    weights, size_of_block = GGML_QUANT_SIZES[kind]
    rows, columns = size
    count = rows * columns // weights
    some = blocks(kind, min(count, PIECE // size_of_block), 1 / math.sqrt(columns), random)
    return np.resize(some, (rows, columns // weights * size_of_block))


def described(path: Path, shape: Shape | OnevisionShape, kind: LlamaFileType, theta: float = 1e6, epsilon: float = 1e-6) -> GGUFWriter:
    """A writer of a file that tells llama.cpp these measures, and no tensors yet."""
    writer = GGUFWriter(path, "qwen2")
    writer.add_file_type(kind)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.positions)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_tokenizer_model("no_vocab")
    return writer


def write(path: Path, shape: Shape | OnevisionShape, kind: str) -> None:
    random = np.random.default_rng(0)
    named = list(tensors(shape, kind))
    for name, size, chosen in named:
        if size[-1] % GGML_QUANT_SIZES[chosen][0]:
            raise ValueError(f"{name}: {size[-1]} columns are not whole blocks of {chosen.name}")
    partial = path.with_suffix(".partial")
    writer = described(partial, shape, TYPES[kind])
    for name, size, chosen in named:
        if chosen == Type.F32:
            writer.add_tensor_info(name, size, np.dtype(np.float32), 4 * math.prod(size))
        else:
            weights, size_of_block = GGML_QUANT_SIZES[chosen]
            row = size[1] // weights * size_of_block
            writer.add_tensor_info(name, (size[0], row), np.dtype(np.uint8), size[0] * row, chosen)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, size, chosen in named:
        writer.write_tensor_data(tensor(name, size, chosen, random))
    writer.close()
    os.replace(partial, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--type", choices=TYPES, required=True)
    options = parser.parse_args()
    write(options.out, SIZES[options.size].shape, options.type)


if __name__ == "__main__":
    main()
