#!/usr/bin/env python3
"""`python3 -m lmms_eval` where torch is a build for the CPU and torchvision PyPI's, whose operators then do not load: it asks for the names
of two of them all the same, which nothing here calls."""
import runpy
import sys

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    names = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

sys.argv[0] = "lmms_eval"
runpy.run_module("lmms_eval", run_name="__main__")
