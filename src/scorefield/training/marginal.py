"""The law of a single number of the training data, measured once before training."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.marginal import Marginal
from scorefield.data.base import Data
from scorefield.errors import InputError
from scorefield.models.likelihoods import levels_of
from scorefield.training.moments import measured_blocks

CELLS = 256  # of a histogram at most; more levels are counted together
FLOOR = 1e-4  # of the numbers, spread evenly over all levels: none is impossible


def measured_marginal(marginal: Marginal, data: Data) -> Marginal:
    """A law with its pieces measured, or as it is if it is known or has none.

    Every level is a cell of its own at first, as wide as levels lie apart. Then the two neighbours are
    joined that lose the least information, Σ m log(m/width), until so many are left as are wanted.

    Arguments:
        marginal: how many pieces.
        data: the data.

    Raises:
        InputError: for data without levels.
    """
    if marginal.pieces == 0 or marginal.known:
        return marginal
    shares, ends = _shares(data)
    cells = zip(shares.tolist(), pairwise(ends.tolist()), strict=True)
    pieces = [_Piece(low, high, mass) for mass, (low, high) in cells]
    while len(pieces) > marginal.pieces:
        losses = [a.lost(b) for a, b in pairwise(pieces)]
        k = min(range(len(losses)), key=losses.__getitem__)
        pieces[k : k + 2] = [pieces[k].joined(pieces[k + 1])]
    edges = (pieces[0].low, *(piece.high for piece in pieces))
    return replace(marginal, edges=edges, masses=tuple(piece.mass for piece in pieces))


@dataclass(frozen=True)
class _Piece:
    """A stretch of the axis and its share of the numbers."""

    low: float
    high: float
    mass: float

    @property
    def information(self) -> float:
        return self.mass * math.log(self.mass / (self.high - self.low))

    def joined(self, other: _Piece) -> _Piece:
        return _Piece(self.low, other.high, self.mass + other.mass)

    def lost(self, other: _Piece) -> float:
        return self.information + other.information - self.joined(other).information


def _shares(data: Data) -> tuple[Tensor, Tensor]:
    """The share of each cell among all numbers, and where the cells begin and end."""
    levels = levels_of(data.spec)
    if levels is None:
        raise InputError("marginal.pieces needs data with levels, got real numbers; 0 would do")
    cells = min(levels.number, CELLS)
    count = torch.zeros(cells, dtype=torch.float64)
    for x, _ in measured_blocks(data):
        level = ((x.flatten() - levels.low) / levels.spacing).round().long()
        level = level.clamp(0, levels.number - 1)
        count += torch.bincount(level * cells // levels.number, minlength=cells)
    shares = (1 - FLOOR) * count / count.sum() + FLOOR / cells
    # The first level of each cell: cells * level // number passes to the next there.
    first = (torch.arange(cells + 1) * levels.number + cells - 1) // cells
    return shares, levels.low + (first.double() - 0.5) * levels.spacing
