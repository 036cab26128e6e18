#!/usr/bin/env python3
"""Second stage: the trained tower's features of every clip of the pool, once, so that the decoder's training need not pay
for the tower: features.py POOL WORK [--device cuda]. Writes NNNN.features.npy, [clips, 16, positions, C] f16, beside each shard.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from model import DEVIATION, MEAN
from pool import load_shard, shards
from tower import ConvNeXt
from train_tower import DEPTHS, WIDTHS


@torch.no_grad()
def features(tower: ConvNeXt, frames: np.ndarray, device: str) -> np.ndarray:
    """Clips [n, 16, S, S, 3] u8 → [n, 16, positions, C] f16."""
    out = []
    for at in range(0, len(frames), 16):
        x = torch.from_numpy(np.array(frames[at : at + 16])).to(device)
        x = (x.flatten(0, 1).float() / 255 - MEAN.to(device)) / DEVIATION.to(device)
        got = tower(x.permute(0, 3, 1, 2))
        out.append(got.view(-1, frames.shape[1], *got.shape[1:]).half().cpu().numpy())
    return np.concatenate(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("work", type=Path, help="holds tower.pt")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tower = ConvNeXt(DEPTHS, WIDTHS).to(options.device, memory_format=torch.channels_last)
    tower.load_state_dict(torch.load(options.work / "tower.pt", map_location=options.device, weights_only=True))
    for index in shards(options.pool):
        path = options.pool / f"{index:04}.features.npy"
        if not path.exists():
            np.save(path.with_suffix(".part.npy"), features(tower, load_shard(options.pool, index)[0], options.device))
            os.replace(path.with_suffix(".part.npy"), path)
            print(f"shard {index}", flush=True)


if __name__ == "__main__":
    main()
