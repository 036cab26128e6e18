#!/usr/bin/env python3
"""Third stage: projector and decoder learn to answer, on the tower's stored features. Run it again to go on after a cut.

    train.py POOL WORK [--steps 4000] [--batch 12] [--device cuda]

Every prompt and response token cross-attends, as the published model was trained. The last shard is kept for validation.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch.utils.data import Dataset

from batch import Batch, answers, collate, row
from pool import load_shard
from questions import OPEN, questions
from resume import Optimizers, Run, course, loader
from settings import FAST, build
from tokenizer import Prompts, write
from whiten import Whitening


def feature_shards(pool: Path) -> list[int]:
    return sorted(int(path.name[:4]) for path in pool.glob("????.features.npy"))


def clips(pool: Path, index: int) -> tuple[np.ndarray, list]:
    return np.load(pool / f"{index:04}.features.npy", mmap_mode="r"), load_shard(pool, index)[1]


class Clips(Dataset):
    """The batches of one epoch: questions and features [B, 16, n, C], from all shards but the held one. A batch follows from
    its epoch and number (and `asked`) alone, so clips have other questions in every epoch. `asked`: how often each kind is."""

    def __init__(self, pool: Path, epoch: int, size: int, prompts: Prompts, held: int, asked: dict[str, float]):
        self.pool, self.epoch, self.size, self.prompts, self.asked = pool, epoch, size, prompts, asked
        self.order = np.random.default_rng([epoch, 5]).permutation([i for i in feature_shards(pool) if i != held])
        self.each = len(clips(pool, held)[1]) // size
        self.shard = lru_cache(maxsize=2)(self._shard)

    def __len__(self) -> int:
        return len(self.order) * self.each

    def _shard(self, n: int):
        stored, scenes = clips(self.pool, int(self.order[n]))
        return stored, scenes, np.random.default_rng([self.epoch, 6, n]).permutation(len(scenes))

    def __getitem__(self, batch: int) -> tuple[Batch, torch.Tensor]:
        stored, scenes, order = self.shard(batch // self.each)
        rng = np.random.default_rng([self.epoch, 7, batch])
        at = batch % self.each * self.size
        chosen = order[at : at + self.size]
        rows = [row(self.prompts, FAST, self._some(questions(scenes[i], rng), rng)) for i in chosen]
        return collate(rows), torch.from_numpy(stored[chosen])

    def _some(self, items: list, rng) -> list:
        return [item for item in items if rng.random() < self.asked.get(item.kind, 1.0)] or items[:1]


def whitening(pool: Path) -> Whitening:
    """From some clips of every shard; the same each time."""
    return Whitening(np.concatenate([clips(pool, index)[0][:100] for index in feature_shards(pool)]))


def how_often(scores: dict[str, float]) -> dict[str, float]:
    """How often each kind is asked: what the model answers already is asked less, which leaves the time for more clips."""
    return {kind: min(1.0, max(0.15, 3 * (1 - right))) for kind, right in scores.items()}


@torch.no_grad()
def validate(model, pool: Path, index: int, prompts: Prompts, whiten: Whitening, device: str, count: int = 96) -> dict[str, float]:
    """Exact match by kind on the first clips of a shard: an answer is right if each of its tokens is the likeliest."""
    rng = np.random.default_rng(9)
    stored, scenes = clips(pool, index)
    right, asked = defaultdict(int), defaultdict(int)
    for at in range(0, min(count, len(scenes)), 16):
        items = [questions(scene, rng) for scene in scenes[at : at + 16]]
        batch = collate([row(prompts, FAST, one) for one in items]).to(device)
        logits, targets = answers(model, batch, whiten(torch.from_numpy(stored[at : at + 16]).float().to(device)))
        good = (logits.argmax(-1) == targets).cpu()
        wanted = (batch.targets >= 0).nonzero().cpu()
        group = batch.groups.cpu()[wanted[:, 0], wanted[:, 1]]
        for clip, one in enumerate(items):
            for n, item in enumerate(one, 1):
                asked[item.kind] += 1
                right[item.kind] += bool(good[(wanted[:, 0] == clip) & (group == n)].all())
    closed = [kind for kind in asked if kind not in OPEN]
    result = {kind: right[kind] / asked[kind] for kind in sorted(asked)}
    return {"closed": sum(right[kind] for kind in closed) / sum(asked[kind] for kind in closed), **result}


def optimizer_of(model, rate: float, work: torch.dtype = torch.float32) -> Optimizers:
    matrices, rest, gates = [], [], []
    for name, weight in model.named_parameters():
        if "vision_tower" in name:
            weight.requires_grad_(False)
        elif name.endswith("warm_up_gate"):
            gates.append(weight)
        elif weight.ndim == 2 and min(weight.shape) > 1 and not name.startswith(("lm_head", "model.embed")):
            matrices.append(weight)
        else:
            rest.append(weight)
    return Optimizers(matrices, rest, rate, gates, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("work", type=Path, help="holds tower.pt; gets model.pt, decoder/ and the tokenizer")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--report", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare batches")
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16: half the time where the CPU has such instructions")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    tokenizer = options.work / "tokenizer"
    if not (tokenizer / "tokenizer.json").exists():
        write(tokenizer)
    prompts = Prompts(Tokenizer.from_file(str(tokenizer / "tokenizer.json")))
    model = build()
    model.tower.load_state_dict(torch.load(options.work / "tower.pt", map_location="cpu", weights_only=True))
    model.to(options.device)
    optimizer = optimizer_of(model, options.rate, torch.bfloat16 if options.bf16 else torch.float32)
    whiten = whitening(options.pool)
    run, step, epoch, skip = Run(options.work / "decoder"), 0, 0, 0
    asked: dict[str, float] = {}
    if state := run.load(options.device):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, epoch, skip = state["step"], state["epoch"], state["within"]
        asked = state["asked"]
    held, losses, first, started = feature_shards(options.pool)[-1], [], step, time.monotonic()

    def state(within: int) -> dict:
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "epoch": epoch, "within": within,
                "asked": asked}

    within = skip
    while step < options.steps:
        batches = Clips(options.pool, epoch, options.batch, prompts, held, asked)
        for within, (batch, features) in enumerate(loader(batches, skip, options.workers), skip + 1):
            with torch.autocast(options.device, torch.bfloat16, enabled=options.bf16):
                logits, targets = answers(model, batch.to(options.device), whiten(features.to(options.device).float()))
            loss = F.cross_entropy(logits.float(), targets)
            loss.backward()
            optimizer.step(options.rate * course(step, options.steps))
            losses.append(loss.item())
            step += 1
            if step % options.report == 0:
                scores = validate(model, options.pool, held, prompts, whiten, options.device)
                rate = (step - first) * options.batch / (time.monotonic() - started)
                asked.update(how_often(scores))
                run.log(step=step, loss=float(np.mean(losses)), clips_s=rate, **scores)
                losses.clear()
            run.save(state(within))
            if step >= options.steps:
                break
        else:
            epoch, within = epoch + 1, 0
        skip = 0
    run.save(state(within), force=True)
    whiten.fold(model.model.mm_projector[0])
    torch.save(model.state_dict(), options.work / "model.pt")


if __name__ == "__main__":
    main()
