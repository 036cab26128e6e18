"""ConvNeXt, the vision tower, in PyTorch. Parameters are named as in the published checkpoints."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of [n, C, H, W]."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@lru_cache(maxsize=8)
def _taps(side: int) -> Tensor:
    """For every input and output position of a side × side map the tap of a padded 7×7 kernel; 49 where there is none."""
    at = torch.arange(side * side)
    dy = (at // side)[:, None] - (at // side)[None] + 3
    dx = (at % side)[:, None] - (at % side)[None] + 3
    inside = (dy >= 0) & (dy < 7) & (dx >= 0) & (dx < 7)
    return torch.where(inside, dy * 7 + dx, 49)


def depthwise(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """`conv(x)`. While training on small maps as one dense product a channel: its gradient is 3 to 7 times faster on a CPU."""
    clips, channels, side, width = x.shape
    if not torch.is_grad_enabled() or side != width or side > 4 or x.is_cuda:
        return conv(x)
    taps = F.pad(conv.weight.flatten(1), (0, 1))[:, _taps(side).flatten()].view(channels, side * side, side * side)
    y = torch.bmm(x.permute(1, 0, 2, 3).reshape(channels, clips, -1), taps)
    return y.view(channels, clips, side, side).permute(1, 0, 2, 3) + conv.bias[:, None, None]


class Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))  # the layer scale; few blocks need no small start
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-5)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(channels, 4 * channels), "fc2": nn.Linear(4 * channels, channels)})

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(depthwise(x, self.conv_dw).permute(0, 2, 3, 1))
        y = self.mlp["fc2"](F.gelu(self.mlp["fc1"](y))) * self.weight
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self, depths: list[int], widths: list[int], head_classes: int = 0):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0]))
        self.stages = nn.ModuleList()
        for i, (depth, width) in enumerate(zip(depths, widths)):
            stage = nn.Module()
            if i > 0:
                stage.downsample = nn.Sequential(ChannelNorm(widths[i - 1]), nn.Conv2d(widths[i - 1], width, 2, 2))
            stage.blocks = nn.Sequential(*[Block(width) for _ in range(depth)])
            self.stages.append(stage)
        if head_classes:  # in published checkpoints; not used
            self.head = nn.ModuleDict({"norm": nn.LayerNorm(widths[-1]), "fc": nn.Linear(widths[-1], head_classes)})

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [n, 3, S, S] → features [n, (S/32)², C], row by row."""
        return self.maps(pixels)[-1]

    def maps(self, pixels: Tensor) -> list[Tensor]:
        """The features after every stage, [n, positions, C]; the last ones are the tower's output."""
        x, after = self.stem(pixels.contiguous(memory_format=torch.channels_last)), []
        for stage in self.stages:
            if hasattr(stage, "downsample"):
                x = stage.downsample(x)
            x = stage.blocks(x)
            after.append(x.flatten(2).transpose(1, 2))
        return after
