"""The units of real numbers: what to subtract and to divide by, so that a model sees a spread of 1."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def units(blocks: Iterable[Tensor], *, each: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each number of real vectors, in blocks of bounded memory.

        center = E x,   scale = √E (x - center)²

    A number that is the same in all samples has scale 1.

    Arguments:
        blocks: samples (B, D) or (B, C, L), for which a channel is one number; at least one block.
        each: a scale for each number; else the root mean square of all scales, which keeps proportions.
    """
    # Sums about the first block's mean: of numbers far from 0 the squares would swallow the spread.
    shift = total = square = torch.zeros(0)
    count = 0
    for block in blocks:
        values = block.double().reshape(len(block), block.shape[1], -1).movedim(1, 0).flatten(1)
        if count == 0:
            shift = values.mean(1)
            total, square = torch.zeros_like(shift), torch.zeros_like(shift)
        away = values - shift[:, None]
        total += away.sum(1)
        square += away.square().sum(1)
        count += values.shape[1]
    mean = total / count
    variance = (square / count - mean**2).clamp(min=0)
    if not each:
        variance = variance.mean().expand_as(variance)
    center = (shift + mean).tolist()
    return tuple(map(_short, center)), tuple(_short(math.sqrt(v)) or 1.0 for v in variance.tolist())


def _short(value: float) -> float:
    return float(f"{value:.12g}")
