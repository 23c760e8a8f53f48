"""How often values occur, channel by channel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.data.base import Data
from scorefield.data.blocks import blocks

NUMBERS = 2**22  # counted, about, at most
CHANNELS = 12  # that are counted, at most
BINS = 256  # at most


@dataclass(frozen=True)
class Histogram:
    """How often values occur, channel by channel (column by column, for vectors).

    Arguments:
        edges: of the bins, as stored, shape (B + 1,).
        counts: shape (C, B); the first 12 channels at most.
        samples: how many samples were counted, evenly spaced by number.
    """

    edges: Tensor
    counts: Tensor
    samples: int


def histogram(data: Data, low: float, high: float) -> Histogram:
    """A histogram of stored values: a bin a level where levels are few, else 256.

    Arguments:
        data: what to count.
        low: the lowest stored value.
        high: the highest.
    """
    spec, count = data.spec, len(data)
    bins = BINS
    if spec.levels is not None:
        bins, low, high = min(BINS, spec.levels), -0.5, spec.levels - 0.5
    elif not low < high:
        low, high = low - 0.5, high + 0.5
    every = max(1, -(-count * math.prod(spec.shape) // NUMBERS))
    index = torch.arange(0, count, every)
    counts = torch.zeros(min(spec.shape[0], CHANNELS), bins)
    for part in blocks(index, spec):
        stored = data.stored(part).float().reshape(len(part), spec.shape[0], -1)
        for channel in range(len(counts)):
            counts[channel] += torch.histc(stored[:, channel], bins, low, high)
    return Histogram(torch.linspace(low, high, bins + 1), counts, len(index))
