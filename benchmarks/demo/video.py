"""Clips as H.264 files, and back to the frames that the model sees. Needs PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace

from preprocess import preprocess

RATE = 15  # frames a second


def encode(frames: np.ndarray, path: Path, quality: int = 20) -> None:
    """Frames [n, H, W, 3] u8 → an MP4 file, BT.601 limited range and tagged so."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": str(quality), "preset": "medium", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace = ColorRange.MPEG, 6  # SMPTE 170M
        context.color_primaries = context.color_trc = 6
        for rgb in frames:
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            picture = picture.reformat(
                format="yuv420p", src_colorspace=Colorspace.ITU601, dst_colorspace=Colorspace.ITU601,
                src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def decode(path: Path) -> list[np.ndarray]:
    """All frames as RGB [H, W, 3] u8."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sampled(path: Path, count: int, side: int) -> torch.Tensor:
    """`count` frames spread over the clip as the model's preprocessing does, [count, side, side, 3] u8."""
    frames = decode(path)
    chosen = np.linspace(0, len(frames) - 1, count).astype(int)
    return torch.stack([preprocess(torch.from_numpy(frames[i]), side) for i in chosen])
