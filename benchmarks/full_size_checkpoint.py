#!/usr/bin/env python3
"""Writes a checkpoint with the published names, shapes, dtype and sharding, and seeded random weights (17 GB).

    full_size_checkpoint.py DIR --tokenizer QWEN2_DIR [--variant frame64-s1t4] [--seed 0] [--outliers N]
                            [--shape published|tower|slice|long|small|onevision-0.5b|onevision-7b|smolvlm2-256m|smolvlm2-500m]

The values are scaled so that activations stay of order one through the depth, as in a trained model: a run on this
checkpoint costs exactly what a run on the published one costs, and says nothing sensible. Each tensor's values follow
from the seed and its name alone: two runs write the same bytes. With outliers, N channels behind each norm are 64 times as
loud as the others, which is what makes trained models hard to quantize. Needs numpy; memory stays under 200 MB.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Iterator

import numpy as np

from checkpoint_layout import Shape, SiglipShape, bf16, config, fast_tokens, tensors, write_shards
from onevision_layout import ONEVISION_SHAPES
from smolvlm_layout import SMOLVLM_SHAPES

VARIANTS = {
    "frame64-s1t4": fast_tokens(1, 4),
    "frame96-s1t6": fast_tokens(1, 6),
    "frame128-s2t4": fast_tokens(2, 4),
}
SHAPES = {
    # The published one; its tower with few layers of the decoder; its widths with few layers, for kernels and profiles; the same with a small
    # tower, for clips of many frames; one for tests, a hundredth of the work.
    "published": Shape(),
    "tower": Shape(layers=4, cross_every=2),
    "slice": Shape(depths=(1, 1, 2, 1), layers=4, cross_every=2),
    "long": Shape(siglip=SiglipShape(), layers=4, cross_every=2),
    "small": Shape(
        depths=(1, 1, 3, 1), widths=(96, 192, 384, 768), input_size=288, hidden=512, intermediate=1408,
        layers=6, heads=8, kv_heads=2, cross_every=3),
}
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json")
PIECE = 1 << 22  # values made at a time


def scale(name: str, size: tuple[int, ...], layers: int) -> tuple[float, float]:
    """Mean and standard deviation of a tensor's values."""
    if name.endswith("cross_attn_warm_up_gate"):
        return 0.8, 0.1
    if name.endswith(".bias"):
        return 0.0, 0.02
    if len(size) == 1:
        layer_scale = ".blocks." in name and ".norm." not in name
        return (0.2, 0.05) if layer_scale else (1.0, 0.15)
    if name.endswith("embed_tokens.weight"):
        return 0.0, 0.3
    fan_in = math.prod(size[1:])
    is_last = name.endswith(("o_proj.weight", "down_proj.weight", "out_proj.weight")) or ".encoder." in name and ".fc2." in name
    damped = 1 / math.sqrt(2 * layers) if is_last else 1.0
    peaked = 3.0 if name == "lm_head.weight" else 1.0  # else all tokens were nearly equally likely
    return 0.0, peaked * damped / math.sqrt(fan_in)


def loud(name: str, size: tuple[int, ...], outliers: int, generator: np.random.SFC64) -> np.ndarray:
    """Which values of a norm's weight are louder."""
    is_norm = len(size) == 1 and name.endswith(("layernorm.weight", ".norm.weight"))
    return np.random.Generator(generator).choice(size[0], outliers, replace=False) if is_norm and outliers else np.empty(0, int)


def random_values(seed: int, layers: int, total: int, outliers: int = 0):
    """Normal values by way of a table of 65,536 quantiles: a random 16-bit number chooses one, five times faster than
    drawing and rounding each."""
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((i + 0.5) / 65536) for i in range(65536)])
    started = shown = time.monotonic()
    done = 0

    def values(name: str, size: tuple[int, ...]) -> Iterator[np.ndarray]:
        nonlocal done, shown
        generator = np.random.SFC64([seed, zlib.crc32(name.encode())])
        mean, deviation = scale(name, size, layers)
        table = bf16((mean + deviation * quantiles).astype(np.float32))
        left = math.prod(size)
        while left > 0:
            count = min(left, PIECE)
            found = table[generator.random_raw((count + 3) // 4).astype("<u8", copy=False).view("<u2")[:count]]
            found[loud(name, size, outliers, generator)] += 6 << 7  # six more in the exponent
            yield found
            left -= count
            done += 2 * count
            now = time.monotonic()
            if now - shown > 10 or done == total:
                shown = now
                print(f"{done / 1e9:.1f} of {total / 1e9:.1f} GB, {done / (now - started) / 1e6:.0f} MB/s", file=sys.stderr)

    return values


def variant_of(folder: Path) -> str:
    return next((name for name in VARIANTS if folder.name.endswith(name)), "frame64-s1t4")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="a directory with Qwen2's tokenizer files; of SmolVLM2, its own, as perplexity.py makes them")
    parser.add_argument("--shape", choices=SHAPES | ONEVISION_SHAPES | SMOLVLM_SHAPES, default="published")
    parser.add_argument("--variant", choices=VARIANTS, help="frames and fast tokens; default: as DIR's name ends, else frame64-s1t4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outliers", type=int, default=0, metavar="N")
    parser.add_argument("--layers", type=int, help="of the decoder, where they are to be fewer; LLaVA-OneVision alone")
    parser.add_argument("--shard-bytes", type=float, default=5e9)
    options = parser.parse_args()

    found = [options.tokenizer / name for name in TOKENIZER_FILES if (options.tokenizer / name).is_file()]
    names = {path.name for path in found}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        sys.exit(f"{options.tokenizer}: neither tokenizer.json nor vocab.json with merges.txt")
    special = {"end_of_text": 151643, "end_of_turn": 151645}
    if options.shape in ONEVISION_SHAPES:
        shape = ONEVISION_SHAPES[options.shape]
        shape = replace(shape, layers=options.layers or shape.layers)
        named, settings = list(shape.tensors()), shape.config(**special)
    elif options.shape in SMOLVLM_SHAPES:
        shape = SMOLVLM_SHAPES[options.shape]
        named, settings = list(shape.tensors()), shape.config()
        special = {"end_of_text": 0, "end_of_turn": 49279}
    else:
        shape = replace(SHAPES[options.shape], fast=VARIANTS[options.variant or variant_of(options.dir)])
        named, settings = list(tensors(shape)), config(shape, **special)
    total = 2 * sum(math.prod(size) for _, size in named)
    options.dir.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(options.dir).free
    if free < total:
        sys.exit(f"{options.dir}: needs {total / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")

    for path in found:
        shutil.copyfile(path, options.dir / path.name)
    generation = {
        "bos_token_id": special["end_of_text"],
        "pad_token_id": special["end_of_text"],
        "eos_token_id": [special["end_of_turn"], special["end_of_text"]],
        "do_sample": True,
        "temperature": 0.7,
        "top_p": 0.8,
        "top_k": 20,
        "repetition_penalty": 1.05,
        "transformers_version": "4.45.1",
    }
    for name, content in (("config.json", settings), ("generation_config.json", generation)):
        (options.dir / name).write_text(json.dumps(content, indent=2) + "\n")
    if options.shape in SMOLVLM_SHAPES:
        (options.dir / "preprocessor_config.json").write_text(json.dumps(shape.preprocessor(), indent=2) + "\n")
    started = time.monotonic()
    paths = write_shards(options.dir, named, random_values(options.seed, shape.layers, total), options.shard_bytes)
    print(f"{len(named)} tensors, {total // 2:,} parameters, {len(paths)} files, {time.monotonic() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
