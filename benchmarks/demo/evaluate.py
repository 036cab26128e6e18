#!/usr/bin/env python3
"""Asks the model every question of an evaluation set: evaluate.py CHECKPOINT EVAL_DIR [--out FOLDER] [--generate] [--device cuda]

Exact match, greedy, by kind: as trained (`all`), as the published inference does it (`prompt`: only the prompt sees the slow
tokens), with the slow tokens removed (`none`), and what text alone can reach: the likeliest answer to the same question over
many scenes. An answer counts as right if each of its tokens, and the end, is the likeliest one: what greedy decoding would write.
`--generate` also writes every answer, as generated, to answers.jsonl.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from batch import answers, collate, row
from draw import digit_split
from model import SlowFast, load
from questions import CLOSED, DETAIL, Item, questions
from tokenizer import Prompts
from video import sampled
from world import FRAMES, sample_scene

MODES = ("all", "prompt", "none")


def split_options(question: str, answer: str) -> tuple[str, str, dict[str, str]]:
    """A multiple-choice question without its options, the answer in words, and the options by letter."""
    options = dict(re.findall(r"([A-D])\. (.+?)(?= [A-D]\. |$)", question))
    if not options:
        return question, answer, {}
    return question.split(" A. ")[0], options[answer], options


class TextOnly:
    """The best that the question's words allow: the most frequent answer to them over many scenes."""

    def __init__(self, scenes: int = 3000):
        rng, digits = np.random.default_rng(31), digit_split(test=False)
        self.seen: dict[str, Counter] = defaultdict(Counter)
        for _ in range(scenes):
            for item in questions(sample_scene(rng, digits), rng, CLOSED):
                asked, said, _ = split_options(item.question, item.answer)
                self.seen[asked][said] += 1
                self.seen[item.kind][said] += 1

    def answer(self, item: Item) -> str:
        asked, _, options = split_options(item.question, item.answer)
        counts = self.seen.get(asked) or self.seen[item.kind]
        if options:
            return max(options, key=lambda letter: counts[options[letter]])
        return counts.most_common(1)[0][0]


@torch.no_grad()
def score(model: SlowFast, prompts: Prompts, features: torch.Tensor, items: list[Item], mode: str) -> tuple[list[bool], float, int]:
    """Which items are right, and the summed loss and number of the descriptions' tokens."""
    fast = model.pool(features)[2].shape[1]
    batch = collate([row(prompts, fast, items)]).to(str(features.device))
    logits, targets = answers(model, batch, features, mode)
    group = batch.groups[batch.targets >= 0]
    good = logits.argmax(-1) == targets
    open_ones = torch.tensor([False] + [item.kind == "describe" for item in items], device=group.device)[group]
    loss = F.cross_entropy(logits[open_ones], targets[open_ones], reduction="sum").item() if open_ones.any() else 0.0
    return [bool(good[group == n].all()) for n in range(1, len(items) + 1)], loss, int(open_ones.sum())


def generated(model: SlowFast, prompts: Prompts, features: torch.Tensor, items: list[Item], good: list[bool], mode: str) -> list[str]:
    """Greedy answers. Where each token of the true one is the likeliest, it is what greedy decoding writes."""
    wrong = [n for n, right in enumerate(good) if not right]
    said = write_answers(model, prompts, features, [items[n] for n in wrong], mode) if wrong else []
    return [item.answer if n not in wrong else said[wrong.index(n)] for n, item in enumerate(items)]


@torch.no_grad()
def write_answers(model: SlowFast, prompts: Prompts, features: torch.Tensor, items: list[Item], mode: str, most: int = 120) -> list[str]:
    """Greedy answers, a token at a time."""
    fast = model.pool(features)[2].shape[1]
    said: list[list[int]] = [[] for _ in items]
    going = set(range(len(items)))
    for _ in range(most):
        asked = [row_so_far(prompts, fast, items[n].question, said[n]) for n in sorted(going)]
        batch = collate(asked).to(str(features.device))
        logits, _ = answers(model, batch, features.expand(len(asked), -1, -1, -1), mode)
        for n, token in zip(sorted(going), logits.argmax(-1).tolist()):
            if token == prompts.end:
                going.discard(n)
            else:
                said[n].append(token)
        if not going:
            break
    return [prompts.tokenizer.decode(ids) for ids in said]


def row_so_far(prompts: Prompts, fast: int, question: str, said: list[int]):
    one = row(prompts, fast, [Item("", question, "")])
    one.ids += said
    one.positions += range(len(one.positions), len(one.ids))
    one.groups += [1] * len(said)
    one.answered += [True] * len(said)
    one.targets = [-1] * (len(one.ids) - 1) + [0]
    return one


def read(folder: Path) -> dict[str, list[Item]]:
    asked: dict[str, list[Item]] = defaultdict(list)
    for line in (folder / "eval.jsonl").read_text().splitlines():
        one = json.loads(line)
        asked[one["video"]].append(Item(one["kind"], one["question"], one["answer"]))
    return asked


def share(values: list[tuple[str, bool]], rounds: int = 2000) -> str:
    """The share of right ones, with its 95 % interval by clip: questions about one clip are not independent of each other."""
    by_clip: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for clip, value in values:
        by_clip[clip][0] += value
        by_clip[clip][1] += 1
    counts = np.array(list(by_clip.values()))
    drawn = counts[np.random.default_rng(0).integers(0, len(counts), (rounds, len(counts)))].sum(1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    total = counts.sum(0)
    return f"{100 * total[0] / total[1]:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def table(right: dict[str, dict[str, list[tuple[str, bool]]]], perplexity: dict[str, float]) -> str:
    lines = ["| questions | n | text alone | all | prompt | no slow tokens |", "| --- | --- | --- | --- | --- | --- |"]

    def line(name: str, kinds: tuple[str, ...]) -> str:
        cells = []
        for column in ("text", *MODES):
            values = [value for kind in kinds for value in right[column][kind]]
            cells.append(share(values) if values else "")
        return f"| {name} | {len(values)} | {' | '.join(cells)} |"

    kinds = tuple(kind for kind in CLOSED if right["all"][kind])
    lines += [line(kind, (kind,)) for kind in kinds]
    lines += [line("**all closed**", kinds), line("**detail**", tuple(kind for kind in DETAIL if kind in kinds))]
    cells = " | ".join(f"{perplexity[mode]:.3f}" for mode in MODES)
    return "\n".join([*lines, f"| describe: perplexity a token | {len(right['all']['describe'])} | | {cells} |"]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("eval", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--clips", type=int, help="only the first")
    parser.add_argument("--generate", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load(options.checkpoint).to(options.device)
    prompts = Prompts(Tokenizer.from_file(str(options.checkpoint / "tokenizer.json")))
    text_only = TextOnly()
    right = {column: defaultdict(list) for column in ("text", *MODES)}
    loss, tokens, written = defaultdict(float), defaultdict(int), []
    for video, items in list(read(options.eval).items())[: options.clips]:
        frames = sampled(options.eval / video, FRAMES, model.config["input_image_size"]).to(options.device)
        with torch.no_grad():
            features = model.tower(model.pixels(frames))[None]
        good = {}
        for mode in MODES:
            good[mode], lost, count = score(model, prompts, features, items, mode)
            loss[mode] += lost
            tokens[mode] += count
            for item, value in zip(items, good[mode]):
                right[mode][item.kind].append((video, value))
        for item in items:
            right["text"][item.kind].append((video, item.kind in CLOSED and text_only.answer(item) == item.answer))
        if options.generate:
            said = {mode: generated(model, prompts, features, items, good[mode], mode) for mode in ("all", "prompt")}
            for n, item in enumerate(items):
                written.append({"video": video, "question": item.question, "answer": item.answer, "kind": item.kind,
                                **{mode: said[mode][n] for mode in said}})
    text = table(right, {mode: math.exp(loss[mode] / max(tokens[mode], 1)) for mode in MODES})
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "table.md").write_text(text)
        if written:
            (options.out / "answers.jsonl").write_text("".join(json.dumps(one) + "\n" for one in written))


if __name__ == "__main__":
    main()
