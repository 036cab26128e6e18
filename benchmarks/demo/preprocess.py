"""Frames as the model sees them."""

from __future__ import annotations

import torch
from PIL import Image


def preprocess(frame: torch.Tensor, side: int) -> torch.Tensor:
    """A frame [H, W, 3] u8 → [side, side, 3] u8: shorter side to `side`, bicubic, centre crop."""
    height, width = frame.shape[:2]
    short = min(height, width)
    size = (int(side * width / short), int(side * height / short))
    image = Image.fromarray(frame.numpy()).resize(size, Image.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    cropped = image.crop((left, top, left + side, top + side))
    return torch.frombuffer(bytearray(cropped.tobytes()), dtype=torch.uint8).view(side, side, 3)
