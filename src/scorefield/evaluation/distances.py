"""Distances between many samples, in blocks of bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.errors import InputError

ENTRIES = 2**22  # numbers in a block of distances: 32 MB of float64


class Neighbours(NamedTuple):
    """The nearest rows of another set.

    Arguments:
        distance: Euclidean distances, increasing, shape (N, k), float64.
        row: which rows they are, shape (N, k), int64.
    """

    distance: Tensor
    row: Tensor


def two_sets(samples: Tensor, reference: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    """Two sets of features in float64, after checking that they can be compared.

    Arguments:
        samples: one row a sample, shape (N, D).
        reference: shape (M, D).
        least: how many rows each must have.

    Raises:
        InputError: for too few rows, unlike widths, or numbers that are not finite.
    """
    if samples.ndim == reference.ndim == 2 and samples.shape[1] != reference.shape[1]:
        raise InputError(
            f"features must be of equal width, got {samples.shape[1]} and {reference.shape[1]} numbers"
        )
    return finite_rows(samples, least), finite_rows(reference, least)


def around_the_origin(samples: Tensor, reference: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    """The same, both moved by the reference's mean, to where squared distances round least.

    Arguments:
        samples: one row a sample, shape (N, D).
        reference: shape (M, D).
        least: how many rows each must have.

    Raises:
        InputError: as `two_sets`.
    """
    samples, reference = two_sets(samples, reference, least)
    centre = reference.mean(0)
    return samples - centre, reference - centre


def finite_rows(features: Tensor, least: int = 2) -> Tensor:
    """A set of features in float64, after checking that it can be measured.

    Arguments:
        features: one row a sample, shape (N, D).
        least: how many rows it must have.

    Raises:
        InputError: for too few rows, or numbers that are not finite.
    """
    if features.ndim != 2 or len(features) < least or features.shape[1] == 0:
        raise InputError(
            f"this needs at least {least} rows of features, got shape {tuple(features.shape)}"
        )
    features = features.double()
    if not bool(torch.isfinite(features).all()):
        raise InputError("features must be finite numbers, got NaN or infinity")
    return features


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows, so that each by all columns stays within `ENTRIES` numbers.

    Arguments:
        rows: how many rows there are.
        columns: how many numbers belong to each.
    """
    size = max(1, ENTRIES // max(1, columns))
    return (slice(first, min(first + size, rows)) for first in range(0, rows, size))


def squared_distances(x: Tensor, to: Tensor) -> Tensor:
    """All |x - y|² = |x|² + |y|² - 2 x·y by one matrix product, shape (N, M).

    What rounding leaves is relative to |x|² and |y|², so sets far from the origin are to be centred before.

    Arguments:
        x: shape (N, D).
        to: shape (M, D).
    """
    squares = torch.addmm(to.square().sum(1), x, to.T, alpha=-2)
    return squares.add_(x.square().sum(1, keepdim=True)).clamp_(min=0)


def nearest(x: Tensor, to: Tensor, *, k: int = 1) -> Neighbours:
    """The k nearest rows of another set, by exhaustion, in blocks of bounded memory.

    Rows are searched for in the floating point type given (float32 for levels) and their distances
    then computed in float64 from the differences, so that a copy is at 0 exactly. Of rows at equal
    distance, to rounding, any is found.

    Arguments:
        x: what is looked at, features or images, shape (N, ...).
        to: where neighbours are looked for, shape (M, ...).
        k: how many.

    Raises:
        InputError: for samples of unlike shapes, or fewer rows than k.
    """
    if x.shape[1:] != to.shape[1:]:
        raise InputError(
            f"samples must be of equal shape, got {tuple(x.shape[1:])} and {tuple(to.shape[1:])}"
        )
    if not 1 <= k <= len(to):
        raise InputError(f"k must lie in 1 to {len(to)}, the number of rows, got {k}")
    found = [_nearest_of_block(x[part].flatten(1), to.flatten(1), k) for part in _parts(x, to)]
    if not found:
        none = torch.empty(0, k)
        return Neighbours(none.double(), none.long())
    return Neighbours(torch.cat([f.distance for f in found]), torch.cat([f.row for f in found]))


def _parts(x: Tensor, to: Tensor) -> Iterator[slice]:
    """Rows to be looked at together: few enough for their distances and for themselves."""
    return row_blocks(len(x), max(min(len(to), 4096), x[:1].numel()))


def _nearest_of_block(x: Tensor, to: Tensor, k: int) -> Neighbours:
    """The same for rows that are few; the other set is gone through in blocks."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, to.dtype), torch.float32)
    centre = to[:4096].to(dtype).mean(0)
    moved = x.to(dtype) - centre
    squares = torch.empty(len(x), 0, dtype=dtype)
    index = torch.empty(len(x), 0, dtype=torch.int64)
    for part in row_blocks(len(to), max(len(x), to[:1].numel())):
        new = squared_distances(moved, to[part].to(dtype) - centre)
        least = new.topk(min(k, new.shape[1]), largest=False)
        both = torch.cat([squares, least.values], 1)
        squares, kept = both.topk(min(k, both.shape[1]), largest=False)
        index = torch.cat([index, least.indices + part.start], 1).gather(1, kept)
    return _exact(x.double(), to, index)


def _exact(x: Tensor, to: Tensor, index: Tensor) -> Neighbours:
    """Neighbours with distances from the differences, in increasing order; one neighbour at a time."""
    columns = [(x - to[column].double()).norm(dim=1) for column in index.T]
    distance, order = torch.stack(columns, 1).sort(dim=1)
    return Neighbours(distance, index.gather(1, order))
