"""The projector learns on whitened features: see `Whitening`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Whitening:
    """A change of coordinates after which the tower's features have mean 0 and about unit variance in every direction.

    What colour a shape has makes 10,000 times the variance of where exactly it is, and a projector trained on the features as they are
    finds the first at once and the second hardly ever. In these coordinates it finds both. The model's form stays the same: `fold` puts the
    change into the projector's first layer.
    """

    def __init__(self, features: np.ndarray, least: float = 0.05):
        x = features.reshape(-1, features.shape[-1]).astype(np.float64)
        values, vectors = np.linalg.eigh(np.cov(x.T))
        scale = np.sqrt(values + least)
        self.mean = torch.from_numpy(x.mean(0)).float()
        self.matrix = torch.from_numpy(vectors / scale @ vectors.T).float()  # symmetric

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean.to(features.device)) @ self.matrix.to(features.device)

    @torch.no_grad()
    def fold(self, layer: nn.Linear) -> None:
        """`layer(self(x))` becomes `layer(x)`, with the same result."""
        mean, matrix = self.mean.to(layer.weight.device), self.matrix.to(layer.weight.device)
        layer.weight.copy_(layer.weight @ matrix)
        layer.bias -= layer.weight @ mean
