#!/usr/bin/env python3
"""The vision tower with random weights, written for OpenVINO and ONNX Runtime.

    tower_files.py DIR --size SIZE --for openvino|onnxruntime

OpenVINO: tower-KEY.xml (its compiler chooses f32 or bf16) and, by nncf, tower-KEY-int8.xml. ONNX Runtime: tower-KEY.onnx, and quantized
dynamically and statically. Calibrated on one random picture: how fast the graph is does not depend on its scales.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from sizes import SIZES, SiglipShape, Size

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "demo"))

from tower import ConvNeXt  # noqa: E402


class SiglipLayer(nn.Module):
    heads = 16

    def __init__(self, shape: SiglipShape):
        super().__init__()
        width = shape.width
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, shape.inner), nn.Linear(shape.inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        q, k, v = (part(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh"))


class Siglip(nn.Module):
    """Pictures `[1, 3, side, side]` → the last layer's output `[1, tokens, width]`."""

    def __init__(self, shape: SiglipShape):
        super().__init__()
        self.patches = nn.Conv2d(3, shape.width, shape.patch, shape.patch)
        self.positions = nn.Parameter(torch.empty(1, shape.tokens, shape.width))
        self.layers = nn.ModuleList(SiglipLayer(shape) for _ in range(shape.layers))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2) + self.positions
        for layer in self.layers:
            x = layer(x)
        return x


@torch.no_grad()
def tower(size: Size) -> tuple[nn.Module, torch.Tensor]:
    """The network and a picture for it."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Siglip(size.siglip) if size.siglip else ConvNeXt(size.shape.depths, size.shape.widths)
    model = model.to_empty(device="cpu").eval()
    some = torch.randn(1 << 20)
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if parameter.dim() > 1:
            fan_in = parameter[0].numel()
            # Of no two layers the same, or one would stand for all of them in a file and in caches.
            values = some.roll(7919 * number).repeat(-(-parameter.numel() // some.numel()))
            parameter.copy_(values[:parameter.numel()].view_as(parameter) / fan_in**0.5)
        else:  # norms have a gain of one, layer scales of a fifth, all biases are zero
            parameter.fill_(0.0 if name.endswith("bias") else 0.2 if name.split(".")[-2].isdigit() and "blocks" in name else 1.0)
    return model, torch.randn(1, 3, size.input_size, size.input_size)


def whole(path: Path, files: list[Path]) -> None:
    """Gives partial files their names, the one that is looked for last."""
    for file in sorted(files, key=lambda file: file.suffix == path.suffix):
        os.replace(file, path.with_suffix(file.suffix))


@torch.no_grad()
def for_openvino(folder: Path, size: Size) -> None:
    import nncf
    import openvino

    path, quantized = openvino_paths(folder, size)
    model, pixels = tower(size)
    converted = openvino.convert_model(model, example_input=pixels, input=[list(pixels.shape)])
    temporary = folder / "partial.xml"
    if not path.exists():
        openvino.save_model(converted, temporary)
        whole(path, [temporary, temporary.with_suffix(".bin")])
    if not quantized.exists():
        nncf.set_log_level("WARNING")
        settings = nncf.AdvancedQuantizationParameters(disable_bias_correction=True)
        made = nncf.quantize(
            converted, nncf.Dataset([pixels.numpy()]), subset_size=1, advanced_parameters=settings)
        openvino.save_model(made, temporary)
        whole(quantized, [temporary, temporary.with_suffix(".bin")])


def openvino_paths(folder: Path, size: Size) -> tuple[Path, Path]:
    return folder / f"tower-{size.tower_key}.xml", folder / f"tower-{size.tower_key}-int8.xml"


def onnx_paths(folder: Path, size: Size) -> tuple[Path, Path, Path]:
    stem = f"tower-{size.tower_key}"
    return folder / f"{stem}.onnx", folder / f"{stem}-dynamic.onnx", folder / f"{stem}-static.onnx"


@torch.no_grad()
def for_onnxruntime(folder: Path, size: Size) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

    path, dynamic, static = onnx_paths(folder, size)
    model, pixels = tower(size)
    if not path.exists():
        torch.onnx.export(model, (pixels,), path, input_names=["pixels"], output_names=["features"], opset_version=20, dynamo=True,
                          external_data=True, verbose=False)
    del model
    products = ["MatMul", "Gemm"]
    external = {"use_external_data_format": True}
    if not dynamic.exists():
        quantize_dynamic(path, dynamic, op_types_to_quantize=products, per_channel=True, weight_type=QuantType.QInt8, **external)

    class Picture(CalibrationDataReader):
        left = [{"pixels": pixels.numpy()}]

        def get_next(self):
            return self.left.pop() if self.left else None

    if not static.exists():
        quantize_static(
            path, static, Picture(), quant_format=QuantFormat.QDQ, op_types_to_quantize=products + ["Conv"], per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, **external)
    onnx.checker.check_model(str(static))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--for", choices=("openvino", "onnxruntime"), required=True, dest="whom")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    {"openvino": for_openvino, "onnxruntime": for_onnxruntime}[options.whom](options.dir, SIZES[options.size])


if __name__ == "__main__":
    main()
