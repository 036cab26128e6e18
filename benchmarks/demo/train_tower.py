#!/usr/bin/env python3
"""First stage: the vision tower learns on single frames to tell what is in them. Run it again to go on after a cut.

    train_tower.py POOL WORK [--steps 4000] [--device cuda]

Linear read-outs of the mean token: of each colour the shape (or none), size and place, and the digit. The decoder then
starts from tokens that say these things plainly. The stage before is asked what has its centre at each position, which
teaches shapes and digits many times sooner. Only the tower is kept (`tower.pt`).
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset

from model import DEVIATION, MEAN
from pool import load_shard, shards
from resume import Optimizers, Run, course, loader
from tower import ConvNeXt
from world import COLOURS, FRAMES, KINDS, SIZES, Scene

DEPTHS, WIDTHS = [1, 1, 2, 1], [32, 64, 128, 256]
PICKED = 5  # frames of each clip and epoch, those with digits first


def labels(scene: Scene, frame: int) -> np.ndarray:
    """[6 colours × (shape, size, x, y), digit, its x, y]: shape 0 is none, digit 0 is none; places from −0.5 to 0.5."""
    time, row = frame / (FRAMES - 1), np.zeros((len(COLOURS), 4), np.float32)
    for one in scene.objects:
        if one.shown(time):
            x, y = one.at(time)
            row[list(COLOURS).index(one.colour)] = (1 + KINDS.index(one.kind), SIZES.index(one.size), x - 0.5, y - 0.5)
    digit = next(((flash.digit + 1, flash.x - 0.5, flash.y - 0.5) for flash in scene.flashes if flash.shown(time)), (0, 0, 0))
    return np.append(row.ravel(), np.array(digit, np.float32))


def spots(kinds: torch.Tensor, places: torch.Tensor, side: int) -> torch.Tensor:
    """Kinds [n, m] (0: none) at places [n, m, 2] → the kind whose centre lies at each position [n, side²]."""
    cells = ((places + 0.5) * side).long().clamp(0, side - 1)
    at = cells[..., 1] * side + cells[..., 0]
    return torch.zeros(len(kinds), side * side, dtype=torch.long, device=kinds.device).scatter_reduce(1, at, kinds, "amax")


class Readout(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        colours, kinds = len(COLOURS), len(KINDS)
        self.shape, self.size, self.place = (nn.Linear(width, colours * each) for each in (1 + kinds, 2, 2))
        self.digit = nn.Linear(width, 11)
        self.object_at, self.digit_at = nn.Linear(inner, 1 + colours * kinds), nn.Linear(inner, 11)

    def forward(self, maps: list[torch.Tensor], target: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        objects, flash = target[:, :-3].view(len(target), len(COLOURS), 4), target[:, -3].long()
        kind, there = objects[..., 0].long(), objects[..., 0] > 0
        mean = maps[-1].mean(1)
        shape = self.shape(mean).view(*kind.shape, -1)
        size = self.size(mean).view(*kind.shape, 2)
        place = self.place(mean).view(*kind.shape, 2)
        digit = self.digit(mean)
        loss = F.cross_entropy(shape.flatten(0, 1), kind.flatten()) * 3 + F.cross_entropy(digit, flash)
        loss = loss + F.cross_entropy(size[there], objects[..., 1][there].long()) * 0.5
        loss = loss + (place - objects[..., 2:]).square().mean() * 20

        side = round(maps[-2].shape[1] ** 0.5)
        named = (kind + torch.arange(len(COLOURS), device=kind.device) * len(KINDS)) * there
        for logits, spot in (
            (self.object_at(maps[-2]), spots(named, objects[..., 2:], side)),
            (self.digit_at(maps[-2]), spots(flash[:, None], target[:, None, -2:], side)),
        ):
            rare = torch.ones(logits.shape[-1], device=logits.device)
            rare[0] = 0.1
            loss = loss + F.cross_entropy(logits.flatten(0, 1), spot.flatten(), rare)
        with torch.no_grad():
            right = {
                "shape": (shape.argmax(-1) == kind)[there].float().mean().item(),
                "size": (size.argmax(-1) == objects[..., 1])[there].float().mean().item(),
                "place": (place - objects[..., 2:])[there].abs().mean().item(),
                "digit": (digit.argmax(-1) == flash)[flash > 0].float().mean().item(),
                "digit_at": (logits.argmax(-1) == spot)[spot > 0].float().mean().item()}
        return loss, right


class Frames(Dataset):
    """The batches of one epoch: frames [size, S, S, 3] u8 and labels, shard by shard, all in random order. A batch follows
    from its epoch and number alone; shards that appear later join in the next epoch."""

    def __init__(self, pool: Path, epoch: int, size: int):
        self.pool, self.epoch, self.size = pool, epoch, size
        self.order = np.random.default_rng([epoch, 77]).permutation(shards(pool))
        self.each = len(load_shard(pool, int(self.order[0]))[1]) * PICKED // size
        self.shard = lru_cache(maxsize=2)(self._shard)

    def __len__(self) -> int:
        return len(self.order) * self.each

    def _shard(self, n: int):
        frames, scenes = load_shard(self.pool, int(self.order[n]))
        rng, picks = np.random.default_rng([self.epoch, 78, n]), []
        for clip, scene in enumerate(scenes):
            flashing = [flash.frame for flash in scene.flashes]
            others = rng.permutation([f for f in range(FRAMES) if f not in flashing])[: PICKED - len(flashing)]
            picks += [(clip, int(frame)) for frame in (*flashing, *others)]
        return frames, scenes, [picks[i] for i in rng.permutation(len(picks))]

    def __getitem__(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        frames, scenes, picks = self.shard(batch // self.each)
        at = batch % self.each * self.size
        chosen = picks[at : at + self.size]
        return (
            torch.from_numpy(np.stack([frames[clip, frame] for clip, frame in chosen])),
            torch.from_numpy(np.stack([labels(scenes[clip], frame) for clip, frame in chosen])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    tower = ConvNeXt(DEPTHS, WIDTHS).to(options.device, memory_format=torch.channels_last)
    readout = Readout(*WIDTHS[:-3:-1]).to(options.device)
    matrices = [weight for weight in tower.parameters() if weight.ndim == 2]
    rest = [weight for weight in tower.parameters() if weight.ndim != 2]
    optimizer = Optimizers(matrices, [*rest, *readout.parameters()], options.rate)
    run, step, epoch, started = Run(options.work / "tower"), 0, 0, time.monotonic()
    if state := run.load(options.device):
        tower.load_state_dict(state["tower"])
        readout.load_state_dict(state["readout"])
        optimizer.load_state_dict(state["optimizer"])
        step, epoch = state["step"], state["epoch"]
    first, mean, std = step, MEAN.to(options.device), DEVIATION.to(options.device)
    totals: dict[str, list[float]] = {}

    def state() -> dict:
        return {"tower": tower.state_dict(), "readout": readout.state_dict(), "optimizer": optimizer.state_dict(),
                "step": step, "epoch": epoch}

    while step < options.steps:
        epoch += 1
        for frames, target in loader(Frames(options.pool, epoch, options.batch), 0, options.workers):
            x = (frames.to(options.device).float() / 255 - mean) / std
            loss, right = readout(tower.maps(x.permute(0, 3, 1, 2)), target.to(options.device))
            loss.backward()
            optimizer.step(options.rate * course(step, options.steps))
            step += 1
            for name, value in {"loss": loss.item(), **right}.items():
                totals.setdefault(name, []).append(value)
            if step % 50 == 0:
                rate = (step - first) * options.batch / (time.monotonic() - started)
                run.log(step=step, frames_s=rate, **{name: float(np.nanmean(values)) for name, values in totals.items()})
                totals.clear()
            run.save(state())
            if step >= options.steps:
                break
    run.save(state(), force=True)
    torch.save(tower.state_dict(), options.work / "tower.pt")


if __name__ == "__main__":
    main()
