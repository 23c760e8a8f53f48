"""The largest distance between two samples, which σ_max is to be as large as."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.data.base import Data

LIMIT = 10_000  # samples that are compared with each other, at most
NUMBERS = 2**25  # held at once: 128 MB
ROWS = 1024


@dataclass(frozen=True)
class Distance:
    """The largest distance between two samples, in the model's units.

        max ‖x_i - x_j‖  ≤  max(largest found, r_1 + r_(k+1))

    The k samples furthest from the mean, at distances r_1 ≥ r_2 ≥ …, are compared with each other; a pair
    with another sample is at most r_1 + r_(k+1) apart.

    Arguments:
        value: the largest that was found.
        bound: what none exceeds.
        pair: the two samples.
        compared: k, how many samples were compared with each other.

    Reference: Song & Ermon 2020, Improved Techniques for Training Score-Based Generative Models,
        Technique 1. arXiv:2006.09011
    """

    value: float
    bound: float
    pair: tuple[int, int]
    compared: int

    @property
    def exact(self) -> bool:
        """Whether no pair can be further apart than the one that was found."""
        return self.value == self.bound


def largest_distance(data: Data, radius: Tensor, limit: int = LIMIT) -> Distance:
    """The largest distance between two samples, of all or of those furthest from the mean.

    Arguments:
        data: the samples; at least 2.
        radius: the distance of each from one point, such as the mean, shape (N,).
        limit: how many samples to compare; fewer where they are large.
    """
    compared = min(len(data), limit, max(2, NUMBERS // math.prod(data.spec.shape)))
    radii, order = radius.sort(descending=True)
    chosen = order[:compared]
    rows = torch.cat([data.batch(part)[0].flatten(1) for part in torch.split(chosen, 256)])
    rows -= rows.mean(0)
    first, second = (int(chosen[place]) for place in _furthest(rows))
    # float32 products find the pair; its distance is computed again
    a, b = (data.batch(torch.tensor([number]))[0].double() for number in (first, second))
    value = float((a - b).norm())
    others = float(radii[0] + radii[compared]) if compared < len(data) else 0.0
    return Distance(value, max(value, others), (min(first, second), max(first, second)), compared)


def _furthest(rows: Tensor) -> tuple[int, int]:
    """The two rows that are furthest apart."""
    square = rows.square().sum(1)
    best, pair = -1.0, (0, 1)
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        # ‖a - b‖² as ‖a‖² + ‖b‖² - 2a·b: one product a block
        gaps = square[start : start + ROWS, None] + square[start:] - 2 * block @ rows[start:].T
        highest, where = gaps.flatten().max(0)
        if float(highest) > best:
            row, column = divmod(int(where), gaps.shape[1])
            best, pair = float(highest), (start + row, start + column)
    return pair
