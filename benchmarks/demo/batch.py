"""Many questions about one clip in one sequence: they share the prompt's beginning and the fast tokens, see nothing of each
other, and each counts its positions as if it stood alone. So a row costs a third of asking one by one, with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model import causal
from questions import Item
from tokenizer import Prompts

IMAGE = -200


@dataclass
class Row:
    ids: list[int]  # IMAGE where a fast token stands
    positions: list[int]
    groups: list[int]  # 0: shared; n: of the n-th question
    targets: list[int]  # the token that follows, −1 where nothing is learned
    answered: list[bool]  # token of an answer, which the published inference does not let see the slow tokens


def row(prompts: Prompts, fast: int, items: list[Item]) -> Row:
    shared = [*prompts.before, *([IMAGE] * fast)]
    start = len(shared)
    out = Row(list(shared), list(range(start)), [0] * start, [-1] * start, [False] * start)
    for n, item in enumerate(items, 1):
        asked, answer = prompts.question(item.question), prompts.answer(item.answer)
        ids = asked + answer[:-1]
        out.ids += ids
        out.positions += range(start, start + len(ids))
        out.groups += [n] * len(ids)
        out.targets += [-1] * (len(asked) - 1) + answer
        out.answered += [False] * len(asked) + [True] * (len(answer) - 1)
    return out


@dataclass
class Batch:
    ids: Tensor  # [B, L]
    positions: Tensor
    targets: Tensor  # [B, L], −1: none
    groups: Tensor  # [B, L], −1: padding
    answered: Tensor

    @property
    def mask(self) -> Tensor:
        """[B, 1, L, L]: what comes earlier, if shared or of the same question."""
        same = (self.groups[:, :, None] == self.groups[:, None, :]) | (self.groups[:, None, :] == 0)
        return (same & causal(self.groups.shape[1], self.groups.device)[0])[:, None]

    def to(self, device: str) -> "Batch":
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def collate(rows: list[Row]) -> Batch:
    length = max(len(one.ids) for one in rows)

    def padded(name: str, value) -> Tensor:
        return torch.from_numpy(np.array([[*getattr(one, name), *([value] * (length - len(one.ids)))] for one in rows]))

    return Batch(padded("ids", 0), padded("positions", 0), padded("targets", -1), padded("groups", -1), padded("answered", False))


def embed(model, batch: Batch, fast: Tensor) -> Tensor:
    """Embeddings [B, L, D] with the fast tokens [B, F, D] in their places."""
    image = batch.ids == IMAGE
    x = model.model.embed_tokens(batch.ids.clamp(min=0))
    return x.masked_scatter(image[..., None], fast.to(x.dtype))


def answers(model, batch: Batch, features: Tensor, slow_attention: str = "all") -> tuple[Tensor, Tensor]:
    """Logits [n, V] and targets [n] of all answer positions. `slow_attention`: "all" as trained, "prompt" as the published
    inference does it, "none": the slow tokens are removed."""
    _, slow, fast = model.pool(features)
    cross = (batch.ids != IMAGE).float()
    if slow_attention == "prompt":
        cross = cross * ~batch.answered
    final = model(embed(model, batch, fast), batch.positions, batch.mask, None if slow_attention == "none" else slow, cross)
    wanted = batch.targets >= 0
    return model.lm_head(final[wanted]), batch.targets[wanted]
