#!/usr/bin/env python3
"""`python3 -m lmms_eval`, the package as it is, where two things around it are not: torch for the CPU beside PyPI's torchvision, and with
LMMS_EVAL_KEEP_FRAMES set, frames that it sends twice."""
import os
import runpy
import sys

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:
    # Its operators do not load beside another build of torch, and it asks for the names of two all the same. Nothing here calls them.
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    names = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        names.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

if os.environ.get("LMMS_EVAL_KEEP_FRAMES"):
    # It remembers encoded frames by the addresses of pictures that are gone by then: the next frame may get the address, and is sent as the one before.
    from lmms_eval.protocol import ChatMessages

    encode_image = ChatMessages.encode_image

    def encode_kept_image(self, image, cache=None, *options):
        if cache is not None:
            cache["kept", id(image)] = image
        return encode_image(self, image, cache, *options)

    ChatMessages.encode_image = encode_kept_image

sys.argv[0] = "lmms_eval"
runpy.run_module("lmms_eval", run_name="__main__")
