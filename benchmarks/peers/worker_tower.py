#!/usr/bin/env python3
"""The vision tower on one random picture, by PyTorch, OpenVINO or ONNX Runtime.

    worker_tower.py --size SIZE --by torch --type bf16|f32
    worker_tower.py --size SIZE --by openvino --file FILE.xml [--type bf16|f32]
    worker_tower.py --size SIZE --by onnxruntime --file FILE.onnx
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable

import numpy as np

from measurement import report, time_runs
from sizes import SIZES, Size, tower_products


def torch_run(size: Size, kind: str, threads: int) -> tuple[Callable[[], object], str]:
    import torch

    from tower_files import tower

    torch.set_num_threads(threads)
    model, pixels = tower(size)
    chosen = {"bf16": torch.bfloat16, "f32": torch.float32}[kind]
    model = model.to(chosen, memory_format=torch.channels_last)
    pixels = pixels.to(chosen)

    def run() -> None:
        with torch.inference_mode():
            model(pixels)

    return run, f"torch {torch.__version__}"


def openvino_run(file: Path, kind: str | None, pixels: np.ndarray, threads: int) -> tuple[Callable[[], object], str]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if kind:
        settings["INFERENCE_PRECISION_HINT"] = kind
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer([pixels]), f"openvino {openvino.__version__.split('-')[0]}"


def onnxruntime_run(file: Path, pixels: np.ndarray, threads: int) -> tuple[Callable[[], object], str]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pixels": pixels}), f"onnxruntime {onnxruntime.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--by", choices=("torch", "openvino", "onnxruntime"), required=True)
    parser.add_argument("--type", choices=("bf16", "f32"))
    parser.add_argument("--file", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    size = SIZES[options.size]
    side = size.input_size
    pixels = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
    if options.by == "torch":
        run, note = torch_run(size, options.type, options.threads)
    elif options.by == "openvino":
        run, note = openvino_run(options.file, options.type, pixels, options.threads)
    else:
        run, note = onnxruntime_run(options.file, pixels, options.threads)
    report(time_runs(run, options.repeats), 1, tower_products(size), note=note)


if __name__ == "__main__":
    main()
