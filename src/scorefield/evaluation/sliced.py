"""The sliced Wasserstein distance: what is seen of two sets from many directions."""

from __future__ import annotations

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.evaluation.distances import row_blocks, two_sets


def sliced_wasserstein(
    samples: Tensor,
    reference: Tensor,
    generator: torch.Generator,
    *,
    projections: int = 128,
    order: int = 2,
) -> float:
    """The Wasserstein distance of two sets in one dimension, averaged over directions.

        SW_p = ( E_θ ∫₀¹ |F_θ⁻¹(u) - G_θ⁻¹(u)|^p du )^{1/p}

    F_θ and G_θ are the distributions of θ·x, with θ uniform on the unit sphere. The integral is exact for
    any two counts. Like every Wasserstein distance of samples it is biased upward, by an amount that falls
    with the counts, so it is to be read beside the figure of two sets of data of the same counts and, since
    the directions are drawn, with the same seed.

    Arguments:
        samples: vectors, shape (N, D).
        reference: vectors, shape (M, D).
        generator: draws the directions.
        projections: how many directions.
        order: p, at least 1.

    Raises:
        InputError: for no projections, an order below 1, or vectors that cannot be compared.

    Reference: Bonneel et al. 2015, Sliced and Radon Wasserstein Barycenters of Measures.
        doi:10.1007/s10851-014-0506-3
    """
    if projections < 1 or order < 1:
        raise InputError(
            f"at least 1 projection and an order of at least 1 are needed, got {projections} and {order}"
        )
    samples, reference = two_sets(samples, reference, 1)
    shape = projections, samples.shape[1]
    directions = torch.randn(shape, generator=generator, dtype=torch.float64)
    directions /= directions.norm(dim=1, keepdim=True)
    first, second, length = _quantiles(len(samples), len(reference))
    total = torch.zeros((), dtype=torch.float64)
    for part in row_blocks(projections, len(first)):
        x = (directions[part] @ samples.T).sort().values[:, first]
        y = (directions[part] @ reference.T).sort().values[:, second]
        total += (((x - y).abs() ** order) @ length).sum()
    return float((total / projections) ** (1 / order))


def _quantiles(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where the quantiles of n and of m sorted numbers are both constant: their places, and the lengths.

    Levels are whole numbers in units of 1/(nm), so that none is missed or doubled by rounding.
    """
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).sort().values
    length = torch.diff(ends, prepend=ends.new_zeros(1)).double() / (n * m)
    return (ends - 1) // m, (ends - 1) // n, length
