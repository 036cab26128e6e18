#!/usr/bin/env python3
"""A stack of Qwen2 decoder layers and the head in PyTorch, random weights: a prompt, or one token after a filled cache.

    worker_decoder.py --size SIZE --type bf16|f32 --prompt 512
    worker_decoder.py --size SIZE --type bf16|f32 --context 1400
"""

from __future__ import annotations

import argparse
import math

import torch
import torch.nn.functional as F

from measurement import report, time_runs
from sizes import SIZES, Shape, prefill_products, step_products


def weight(rows: int, columns: int, kind: torch.dtype) -> torch.Tensor:
    """Random values that repeat: filling gigabytes takes no time."""
    some = torch.rand(1 << 20).sub_(0.5).mul_(3.46 / math.sqrt(columns)).to(kind)
    repeats = -(-rows * columns // some.numel())
    return some.repeat(repeats)[:rows * columns].view(rows, columns)


class Layer:
    def __init__(self, shape: Shape, kind: torch.dtype):
        self.heads, self.kv_heads, self.size = shape.heads, shape.kv_heads, shape.head_size
        hidden, kv = shape.hidden, shape.kv_heads * shape.head_size
        self.qkv, self.bias = weight(hidden + 2 * kv, hidden, kind), torch.zeros(hidden + 2 * kv, dtype=kind)
        self.out = weight(hidden, hidden, kind)
        self.gate, self.up = weight(shape.intermediate, hidden, kind), weight(shape.intermediate, hidden, kind)
        self.down = weight(hidden, shape.intermediate, kind)
        self.norms = torch.ones(2, hidden, dtype=kind)
        self.keys = self.values = torch.zeros(1, shape.kv_heads, 0, shape.head_size, dtype=kind)

    def __call__(self, x: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        tokens, hidden = x.shape
        y = F.linear(F.rms_norm(x, (hidden,), self.norms[0], 1e-6), self.qkv, self.bias)
        y = y.view(1, tokens, -1, self.size).transpose(1, 2)
        q, k, v = y.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        q, k = rotate(q, *rotation), rotate(k, *rotation)
        if self.keys.shape[2]:
            k, v = torch.cat((self.keys, k), 2), torch.cat((self.values, v), 2)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=tokens > 1, enable_gqa=True)
        x = x + F.linear(a.transpose(1, 2).reshape(tokens, hidden), self.out)
        y = F.rms_norm(x, (hidden,), self.norms[1], 1e-6)
        return x + F.linear(F.silu(F.linear(y, self.gate)) * F.linear(y, self.up), self.down)


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-b, a), -1) * sine


def rotation(shape: Shape, start: int, count: int, kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    frequencies = 1e6 ** (-torch.arange(0, shape.head_size, 2) / shape.head_size)
    angles = torch.outer(torch.arange(start, start + count), frequencies).repeat(1, 2)
    return angles.cos().to(kind), angles.sin().to(kind)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--type", choices=("bf16", "f32"), required=True)
    parser.add_argument("--prompt", type=int)
    parser.add_argument("--context", type=int)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = SIZES[options.size]
    shape, count = size.shape, min(size.torch_layers, size.shape.layers)
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[options.type]
    layers = [Layer(shape, kind) for _ in range(count)]
    head = weight(shape.vocabulary, shape.hidden, kind)
    tokens = options.prompt or 1
    x = torch.randn(tokens, shape.hidden).to(kind)
    turns = rotation(shape, options.context or 0, tokens, kind)
    if options.context:
        for layer in layers:
            layer.keys, layer.values = (torch.randn(1, shape.kv_heads, options.context, shape.head_size).to(kind) for _ in range(2))

    def run() -> None:
        y = x
        for layer in layers:
            y = layer(y, turns)
        F.linear(F.rms_norm(y[-1:], (shape.hidden,), layers[0].norms[0], 1e-6), head)

    note = f"torch {torch.__version__}, {count} layers"
    if options.prompt:
        report(time_runs(run, options.repeats), tokens, prefill_products(shape, tokens, count), note=note)
        return
    kv = shape.kv_heads * shape.head_size
    values = head.numel() + sum(t.numel() for layer in layers for t in (layer.qkv, layer.out, layer.gate, layer.up, layer.down))
    read = kind.itemsize * (values + 2 * count * kv * options.context)
    report(time_runs(run, size.generated), 1, step_products(shape, options.context, count), read, note=note)


if __name__ == "__main__":
    main()
