"""The order of the data: a pure function of the seed and the step, so that a run can resume anywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from scorefield.samplers.noise import stream

# What a stream of random numbers is for.
ORDER, NOISE, WEIGHTS, DROPOUT, AUGMENT, HEALTH, DEQUANTISE = range(7)


class ShuffledOrder:
    """Every epoch is a new permutation; batches run on across the ends of epochs.

    Arguments:
        size: number of samples in the data.
        batch: samples in a step.
        seed: the seed of the run.
    """

    def __init__(self, size: int, batch: int, seed: int) -> None:
        self.size, self.batch, self.seed = size, batch, seed
        self._epochs: dict[int, Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """Indices of the samples of a step, counted from 0, shape (batch,)."""
        positions = torch.arange(step * self.batch, (step + 1) * self.batch)
        parts = []
        for epoch in range(int(positions[0]) // self.size, int(positions[-1]) // self.size + 1):
            inside = positions[positions // self.size == epoch] - epoch * self.size
            parts.append(self._permutation(epoch)[inside])
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(stream(self.seed, ORDER, epoch))
            self._epochs = {k: v for k, v in self._epochs.items() if k == epoch - 1}
            self._epochs[epoch] = torch.randperm(self.size, generator=generator)
        return self._epochs[epoch]
