"""What both trainings share: a state that survives being cut off, a log, and the learning rate's course."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, Subset


class Muon(torch.optim.Optimizer):
    """Momentum made orthogonal by five Newton-Schulz steps. PyTorch's own always works in bfloat16, which a CPU without such
    instructions does 20 times slower; here `work` says in which type. Steps have the root mean square 0.2, as AdamW's do."""

    def __init__(self, matrices: list, lr: float, weight_decay: float, work: torch.dtype, momentum: float = 0.95):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.work = work

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                moving = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                moving.lerp_(weight.grad, 1 - group["momentum"])
                update = orthogonal(weight.grad.lerp(moving, group["momentum"]).to(self.work)).to(weight.dtype)
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(update, alpha=-0.2 * group["lr"] * max(weight.shape) ** 0.5)


def orthogonal(x: torch.Tensor) -> torch.Tensor:
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


class Optimizers:
    """Muon for the matrices inside, AdamW for the rest: embeddings, read-outs, convolutions, norms, biases, gates."""

    def __init__(self, matrices: list, rest: list, rate: float, fast: list | None = None, work: torch.dtype = torch.float32):
        self.muon = Muon(matrices, rate, 0.02, work) if matrices else None
        groups = [{"params": rest, "scale": 1.0}]
        if fast:
            groups.append({"params": fast, "scale": 10.0, "weight_decay": 0.0})
        self.adam = torch.optim.AdamW(groups, lr=rate, weight_decay=0.01, betas=(0.9, 0.98))
        self.both = [one for one in (self.muon, self.adam) if one]
        self.parameters = [*matrices, *rest, *(fast or [])]

    def step(self, rate: float) -> None:
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.both:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("scale", 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> dict:
        return {str(n): optimizer.state_dict() for n, optimizer in enumerate(self.both)}

    def load_state_dict(self, state: dict) -> None:
        for n, optimizer in enumerate(self.both):
            optimizer.load_state_dict(state[str(n)])


class Run:
    """A training in a folder: `state.pt` (everything to go on from) and `log.jsonl` (one line a report)."""

    def __init__(self, folder: Path, every_seconds: float = 120):
        self.folder, self.every, self.saved = folder, every_seconds, time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, device: str = "cpu") -> dict | None:
        path = self.folder / "state.pt"
        return torch.load(path, map_location=device, weights_only=True) if path.exists() else None

    def save(self, state: dict, force: bool = False) -> None:
        if not force and time.monotonic() - self.saved < self.every:
            return
        torch.save(state, self.folder / "state.part")
        os.replace(self.folder / "state.part", self.folder / "state.pt")
        self.saved = time.monotonic()

    def log(self, **numbers) -> None:
        line = {name: round(value, 5) if isinstance(value, float) else value for name, value in numbers.items()}
        with open(self.folder / "log.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        print(line, flush=True)


def loader(batches: Dataset, first: int, workers: int) -> DataLoader:
    """The batches of an epoch from the `first` on, in order, prepared by so many processes (0: this one)."""
    rest = Subset(batches, range(first, len(batches)))
    return DataLoader(rest, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)


def course(step: int, steps: int, warm: int = 100, last: float = 0.3) -> float:
    """The learning rate's factor: linear warm-up, level, and a linear fall over the last part. The level part lets a run
    that was cut off, or wants more time, go on with another `steps`."""
    return min((step + 1) / warm, 1.0, max((steps - step) / (last * steps), 0.01))
