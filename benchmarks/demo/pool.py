#!/usr/bin/env python3
"""Draws training clips ahead of time into shards of 1000: frames as the model will see them, and their scenes.

    pool.py DIR --shards 12 [--first 0] [--side 64]

Shard i depends on the seed and i alone, so several processes, or several machines, may each draw some.
"""

from __future__ import annotations

import argparse
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from draw import digit_split, draw, sampled_times, shrink
from world import FRAMES, Scene, sample_scene

NATIVE = 128  # the side that clips are drawn and encoded at


def draw_shard(folder: Path, index: int, side: int, clips: int, seed: int) -> int:
    rng = np.random.default_rng([seed, index])
    digits = digit_split(test=False)
    scenes = [sample_scene(rng, digits) for _ in range(clips)]
    frames = np.empty((clips, FRAMES, side, side, 3), np.uint8)
    for n, scene in enumerate(scenes):
        frames[n] = shrink(draw(scene, NATIVE, sampled_times()), side, rng if rng.random() < 0.8 else None)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{index:04}.pickle").write_bytes(pickle.dumps(scenes))
    np.save(folder / f"{index:04}.part.npy", frames)
    os.replace(folder / f"{index:04}.part.npy", folder / f"{index:04}.npy")
    return index


def shards(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("????.npy"))


def load_shard(folder: Path, index: int) -> tuple[np.ndarray, list[Scene]]:
    """Frames [clips, 16, side, side, 3] u8, mapped, and their scenes; only for files that `draw_shard` wrote."""
    scenes = pickle.loads((folder / f"{index:04}.pickle").read_bytes())
    return np.load(folder / f"{index:04}.npy", mmap_mode="r"), scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--clips", type=int, default=1000, help="clips a shard")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    missing = [i for i in range(options.first, options.first + options.shards) if not (options.dir / f"{i:04}.npy").exists()]
    with ProcessPoolExecutor(options.workers) as workers:
        draw = partial(draw_shard, options.dir, side=options.side, clips=options.clips, seed=options.seed)
        for index in workers.map(draw, missing):
            print(f"shard {index}", flush=True)


if __name__ == "__main__":
    main()
