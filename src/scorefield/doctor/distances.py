"""The largest distance between two samples, which σ_max is to be as large as."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.data.base import Data

EXACT = 10_000  # samples up to which all pairs are compared
NUMBERS = 2**25  # held at once: 128 MB
ROWS = 1024


@dataclass(frozen=True)
class Distance:
    """The largest distance between two samples, in the model's units.

        max ‖x_i - x_j‖,   at most r_1 + r_2 for the two samples furthest from the mean

    Arguments:
        value: the largest that was found.
        bound: what none exceeds; the value itself where all pairs were compared.
        pair: the two samples.
        compared: how many samples were compared with each other: those furthest from the mean.
        count: how many there are.

    Reference: Song & Ermon 2020, Improved Techniques for Training Score-Based Generative Models,
        Technique 1. arXiv:2006.09011
    """

    value: float
    bound: float
    pair: tuple[int, int]
    compared: int
    count: int

    @property
    def exact(self) -> bool:
        """Whether all pairs were compared."""
        return self.compared == self.count


def largest_distance(data: Data, radius: Tensor, limit: int = EXACT) -> Distance:
    """The largest distance between two samples, of all or of those furthest from the mean.

    Arguments:
        data: the samples; at least 2.
        radius: the distance of each from one point, such as the mean, shape (N,).
        limit: how many samples to compare; fewer where they are large.
    """
    count = len(data)
    size = math.prod(data.spec.shape)
    compared = min(count, limit, max(2, NUMBERS // size))
    chosen = torch.argsort(radius, descending=True)[:compared]
    rows = torch.cat([data.batch(part)[0].flatten(1) for part in torch.split(chosen, 256)])
    rows -= rows.mean(0)
    square = rows.square().sum(1)
    best, pair = -1.0, (0, 1)
    for start in range(0, compared, ROWS):
        block = rows[start : start + ROWS]
        # |a - b|² less the |a|² and |b|² that are added: one product a block
        gaps = square[start : start + ROWS, None] + square[start:] - 2 * block @ rows[start:].T
        highest, where = gaps.flatten().max(0)
        if float(highest) > best:
            best = float(highest)
            pair = (start + int(where) // gaps.shape[1], start + int(where) % gaps.shape[1])
    # float32 products find the pair; its distance is computed again in float64
    a, b = (data.batch(chosen[i : i + 1])[0].double() for i in pair)
    value = float((a - b).norm())
    bound = value if compared == count else max(value, float(radius.topk(2).values.sum()))
    first, second = sorted(int(chosen[i]) for i in pair)
    return Distance(value, bound, (first, second), compared, count)
