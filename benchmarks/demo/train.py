#!/usr/bin/env python3
"""Third stage: projector and decoder learn to answer, on the tower's stored features. Run it again to go on after a cut.

    train.py POOL WORK [--steps 4000] [--batch 12] [--device cuda]

Every prompt and response token cross-attends, as the published model was trained. The last shard is kept for validation.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from batch import answers, collate, row
from pool import load_shard
from questions import OPEN, questions
from resume import Optimizers, Run, course
from settings import FAST, build
from tokenizer import Prompts, write


def feature_shards(pool: Path) -> list[int]:
    return sorted(int(path.name[:4]) for path in pool.glob("????.features.npy"))


def clips(pool: Path, index: int) -> tuple[np.ndarray, list]:
    return np.load(pool / f"{index:04}.features.npy", mmap_mode="r"), load_shard(pool, index)[1]


def batches(pool: Path, epoch: int, size: int, prompts: Prompts, held: int):
    """(batch, features [B, 16, n, C], items) over all shards but the held one, with other questions every epoch."""
    rng = np.random.default_rng([epoch, 5])
    for index in rng.permutation([i for i in feature_shards(pool) if i != held]):
        stored, scenes = clips(pool, int(index))
        order = rng.permutation(len(scenes))
        for at in range(0, len(order) - size + 1, size):
            chosen = order[at : at + size]
            items = [questions(scenes[i], rng) for i in chosen]
            yield collate([row(prompts, FAST, asked) for asked in items]), torch.from_numpy(stored[np.sort(chosen)]).float()[
                torch.from_numpy(np.argsort(np.argsort(chosen)))], items


@torch.no_grad()
def validate(model, pool: Path, index: int, prompts: Prompts, device: str, count: int = 96, slow: str = "all") -> dict[str, float]:
    """Exact match by kind on the first clips of a shard: an answer is right if each of its tokens is the likeliest."""
    rng = np.random.default_rng(9)
    stored, scenes = clips(pool, index)
    right, asked = defaultdict(int), defaultdict(int)
    for at in range(0, min(count, len(scenes)), 16):
        items = [questions(scene, rng) for scene in scenes[at : at + 16]]
        batch = collate([row(prompts, FAST, one) for one in items]).to(device)
        logits, targets = answers(model, batch, torch.from_numpy(stored[at : at + 16]).float().to(device), slow)
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


def optimizer_of(model, rate: float) -> Optimizers:
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
    return Optimizers(matrices, rest, rate, gates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("work", type=Path, help="holds tower.pt; gets state.pt, log.jsonl and the tokenizer")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--report", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    tokenizer = options.work / "tokenizer"
    if not (tokenizer / "tokenizer.json").exists():
        write(tokenizer)
    prompts = Prompts(Tokenizer.from_file(str(tokenizer / "tokenizer.json")))
    model = build()
    model.tower.load_state_dict(torch.load(options.work / "tower.pt", weights_only=True))
    model.to(options.device)
    optimizer = optimizer_of(model, options.rate)
    run, step, epoch, skip = Run(options.work / "decoder"), 0, 0, 0
    if state := run.load(options.device):
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, epoch, skip = state["step"], state["epoch"], state["within"]
    held, losses, first, started = feature_shards(options.pool)[-1], [], step, time.monotonic()

    def state(within: int) -> dict:
        return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "epoch": epoch, "within": within}

    within = skip
    while step < options.steps:
        for within, (batch, features, _) in enumerate(batches(options.pool, epoch, options.batch, prompts, held), 1):
            if within <= skip:
                continue
            logits, targets = answers(model, batch.to(options.device), features.to(options.device))
            loss = F.cross_entropy(logits, targets)
            loss.backward()
            optimizer.step(options.rate * course(step, options.steps))
            losses.append(loss.item())
            step += 1
            if step % options.report == 0:
                scores = validate(model, options.pool, held, prompts, options.device)
                rate = (step - first) * options.batch / (time.monotonic() - started)
                run.log(step=step, loss=float(np.mean(losses)), clips_s=rate, **scores)
                losses.clear()
            run.save(state(within))
            if step >= options.steps:
                break
        else:
            epoch, within = epoch + 1, 0
        skip = 0
    run.save(state(within), force=True)
    torch.save(model.state_dict(), options.work / "model.pt")


if __name__ == "__main__":
    main()
