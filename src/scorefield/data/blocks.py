"""How many samples to look at in order to measure data, and how many at a time."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.data.base import DataSpec

BLOCK = 4096  # samples in a block, of large ones fewer:
NUMBERS = 1 << 22  # in a block
ENOUGH = 20_000  # samples to measure on, of small ones more:
MANY = 1 << 28  # numbers to measure on


def blocks(indices: Tensor, spec: DataSpec) -> tuple[Tensor, ...]:
    """Indices in blocks whose samples take a bounded memory.

    Arguments:
        indices: which samples, shape (N,), int64.
        spec: the description of the data.
    """
    return torch.split(indices, max(1, min(BLOCK, NUMBERS // math.prod(spec.shape))))


def representatives(count: int, spec: DataSpec) -> Tensor:
    """Indices of the samples that data are measured on, in rising order, int64.

    All of them, up to 2²⁸ numbers or 20,000 samples, whichever is more; beyond that they are spread.

    Arguments:
        count: number of samples in the data.
        spec: the description of the data.
    """
    return spread(count, max(ENOUGH, MANY // math.prod(spec.shape)))


def spread(count: int, most: int) -> Tensor:
    """At most so many different numbers below a count, rising, int64: one of each of as many stretches.

    Its place in a stretch is random, always the same: classes may take turns in the data.

    Arguments:
        count: how many there are.
        most: how many are wanted.
    """
    if count <= most:
        return torch.arange(count)
    ends = torch.arange(most + 1) * count // most
    place = torch.rand(most, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ends[:-1] + (place * ends.diff()).long()
