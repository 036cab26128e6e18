#!/usr/bin/env python3
"""Writes the trained model as a checkpoint in the published layout, bf16: export.py WORK CHECKPOINT."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from settings import build, write_checkpoint


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    work, checkpoint = map(Path, sys.argv[1:])
    model = build()
    model.load_state_dict(torch.load(work / "model.pt", map_location="cpu", weights_only=True))
    write_checkpoint(model, work / "tokenizer", checkpoint)
    print(f"{checkpoint}: {sum(weight.numel() for weight in model.parameters()):,} parameters")


if __name__ == "__main__":
    main()
