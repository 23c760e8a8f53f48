"""Distances between two sets of samples by how like their rows are to each other, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.evaluation.distances import (
    around_the_origin,
    finite_rows,
    row_blocks,
    squared_distances,
    two_sets,
)
from scorefield.evaluation.estimates import Estimate, mean_of

Kernel = Callable[[Tensor, Tensor], Tensor]  # rows (N, D) and (M, D) -> how like they are, (N, M)


def kernel_distance(
    samples: Tensor, reference: Tensor, generator: torch.Generator, *, blocks: int = 10
) -> Estimate:
    """The squared maximum mean discrepancy of features under a cubic kernel: KID.

        MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),      k(x, y) = (x·y/D + 1)³

    Unbiased at every count, so that figures of unlike counts can be compared, and below 0 as often as
    above it when both sets have one law. Both sets are shuffled and cut into blocks of equal size, which
    share no row, so that the standard error of the mean over the blocks is an honest one; rows of the
    larger set that are left over are not used.

    Arguments:
        samples: features, shape (N, D).
        reference: features, shape (M, D).
        generator: shuffles both.
        blocks: how many, at least 2; ten blocks of 10,000 samples have the 1000 rows of the paper's.

    Raises:
        InputError: for fewer than 2 blocks, fewer than 2 rows a block, or features that cannot be compared.

    Reference: Bińkowski et al. 2018, Demystifying MMD GANs, eq. 4. arXiv:1801.01401
    """
    if blocks < 2:
        raise InputError(f"a standard error needs at least 2 blocks, got {blocks}")
    samples, reference = two_sets(samples, reference, 2 * blocks)
    size = min(len(samples), len(reference)) // blocks
    first, second = (
        x[torch.randperm(len(x), generator=generator)][: blocks * size].reshape(blocks, size, -1)
        for x in (samples, reference)
    )
    pairs = zip(first, second, strict=True)
    return mean_of(torch.tensor([_discrepancy(x, y, _cubic).value for x, y in pairs]).double())


def mmd(samples: Tensor, reference: Tensor, *, bandwidths: Sequence[float] = ()) -> Estimate:
    """The squared maximum mean discrepancy under Gaussian kernels, for vectors.

        MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),      k(x, y) = Σ_h exp(-|x - y|²/(2h²))

    Over all pairs of unlike rows: unbiased, so below 0 as often as above it when both sets have one law.

    Arguments:
        samples: vectors, shape (N, D).
        reference: vectors, shape (M, D).
        bandwidths: every h; none for one, the median distance of the reference, which does not move
            with the samples, so that figures of several models are of one kernel.

    Raises:
        InputError: for bandwidths that are not positive, or vectors that cannot be compared.

    Reference: Gretton et al. 2012, A Kernel Two-Sample Test, eq. 3, JMLR 13.
    """
    samples, reference = around_the_origin(samples, reference)
    widths = tuple(bandwidths) or (median_bandwidth(reference),)
    if not all(0 < h < math.inf for h in widths):
        raise InputError(f"bandwidths must be positive numbers, got {widths}")

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        squares = squared_distances(x, y)
        return sum((torch.exp(squares / (-2 * h**2)) for h in widths), torch.zeros(()))

    return _discrepancy(samples, reference, kernel)


def median_bandwidth(reference: Tensor, most: int = 2000) -> float:
    """The median of the distances between rows that differ, a bandwidth that fits the scale of the data.

    Arguments:
        reference: vectors, shape (M, D).
        most: of more rows, this many are used, evenly spaced.

    Raises:
        InputError: for fewer than 2 rows, or when all are equal.

    Reference: Gretton et al. 2012, A Kernel Two-Sample Test, section 8, JMLR 13.
    """
    rows = finite_rows(reference)
    rows = rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).round().long()]
    apart = torch.nn.functional.pdist(rows - rows.mean(0))
    if not bool((apart > 0).any()):
        raise InputError("all rows are equal, so that no distance between them is a bandwidth")
    return float(apart[apart > 0].median())


def energy_distance(samples: Tensor, reference: Tensor) -> Estimate:
    """The energy distance of vectors, which is 0 for equal laws only and has nothing to choose.

        ℰ = 2 E|x - y| - E|x - x'| - E|y - y'|

    Over all pairs of unlike rows: unbiased, so below 0 as often as above it when both sets have one law
    (the published statistic counts each row as a pair with itself, which adds E|x - x'|/N + E|y - y'|/M).

    Arguments:
        samples: vectors, shape (N, D).
        reference: vectors, shape (M, D).

    Raises:
        InputError: for vectors that cannot be compared.

    Reference: Székely & Rizzo 2013, Energy statistics: a class of statistics based on distances,
        proposition 1. doi:10.1016/j.jspi.2013.03.018
    """
    return _discrepancy(*around_the_origin(samples, reference), _minus_distance)


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _minus_distance(x: Tensor, y: Tensor) -> Tensor:
    return -squared_distances(x, y).sqrt()


def _discrepancy(x: Tensor, y: Tensor, kernel: Kernel) -> Estimate:
    """The unbiased MMD² under a kernel, with the standard error of its first-order (Hájek) projection.

    A row weighs in by h(x_i) = 2 [mean_j k(x_i, x_j) - mean_j k(x_i, y_j)], and the variance is
    var h(x)/N + var h(y)/M. Where both laws are one the rows' own weights vanish but for chance, and what
    is left of them is of the size of the next order.

    Reference: Hoeffding 1948, A class of statistics with asymptotically normal distribution, section 7.
    """
    xx, _ = _sums(x, x, kernel, own=True)
    yy, _ = _sums(y, y, kernel, own=True)
    xy, yx = _sums(x, y, kernel, own=False)
    n, m = len(x), len(y)
    of_x, of_y = xx / (n - 1) - xy / m, yy / (m - 1) - yx / n
    variance = 4 * (of_x.var() / n + of_y.var() / m)
    return Estimate(float(of_x.mean() + of_y.mean()), math.sqrt(float(variance)))


def _sums(x: Tensor, y: Tensor, kernel: Kernel, *, own: bool) -> tuple[Tensor, Tensor]:
    """The kernel summed over each row (N,) and each column (M,); ``own``: y is x, and i = j left out."""
    rows = torch.empty(len(x), dtype=torch.float64)
    columns = torch.zeros(len(y), dtype=torch.float64)
    for part in row_blocks(len(x), len(y)):
        values = kernel(x[part], y)
        if own:
            values[torch.arange(len(values)), torch.arange(len(y))[part]] = 0
        rows[part] = values.sum(1)
        columns += values.sum(0)
    return rows, columns
