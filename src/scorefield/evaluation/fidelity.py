"""Whether samples lie where the data do, and whether they lie wherever the data do."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.evaluation.distances import (
    around_the_origin,
    nearest,
    row_blocks,
    squared_distances,
)

ROUNDING = 1e-12  # of the largest squared norm: what a squared distance may be off


class PrecisionRecall(NamedTuple):
    """How many samples look like data, and how much of the data is sampled.

    Arguments:
        precision: share of the samples within reach of the reference.
        recall: share of the reference within reach of the samples.
    """

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """How densely the data's neighbourhoods are sampled, and how many of them are.

    Arguments:
        density: samples in the balls of the reference, over their expected number; 1 for one law.
        coverage: share of the reference with a sample nearer than its k-th neighbour.
    """

    density: float
    coverage: float


def precision_recall(samples: Tensor, reference: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Precision and recall: shares of one set that lie in the estimated support of the other.

        precision = (1/N) Σ_j 1[∃ i: |y_j - x_i| ≤ r_k(x_i)],      recall: y and x change places

    The support is all balls around the points of a set, each of radius r_k, the distance to the k-th
    neighbour in that set. Both shares grow with the counts, and one outlier of the reference has a large
    ball: compare at equal counts only, and beside the figures of two sets of data.

    Arguments:
        samples: features y, shape (N, D).
        reference: features x, shape (M, D).
        k: which neighbour.

    Raises:
        InputError: for k below 1, k or fewer rows, or features that cannot be compared.

    Reference: Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative
        Models, eqs. 1 and 2. arXiv:1904.06991
    """
    samples, reference = _comparable(samples, reference, k)
    return PrecisionRecall(
        float(_inside(samples, reference, k)[0].gt(0).double().mean()),
        float(_inside(reference, samples, k)[0].gt(0).double().mean()),
    )


def density_coverage(samples: Tensor, reference: Tensor, *, k: int = 5) -> DensityCoverage:
    """Density and coverage, which an outlier of the data or of the samples moves little.

        density  = 1/(kN) Σ_j Σ_i 1[|y_j - x_i| ≤ r_k(x_i)]
        coverage = (1/M) Σ_i 1[∃ j: |y_j - x_i| ≤ r_k(x_i)]

    For two sets of M and N rows of one law, whatever it is, the density is 1 on average and the coverage
    1 - Π_{j<k} (M - 1 - j)/(M + N - 1 - j): for large equal counts 1 - 2⁻ᵏ, 0.969 at k = 5.

    Arguments:
        samples: features y, shape (N, D).
        reference: features x, shape (M, D).
        k: which neighbour within the reference gives the radius r_k.

    Raises:
        InputError: for k below 1, k or fewer rows, or features that cannot be compared.

    Reference: Naeem et al. 2020, Reliable Fidelity and Diversity Metrics for Generative Models,
        section 3.2. arXiv:2002.09797
    """
    samples, reference = _comparable(samples, reference, k)
    of_samples, of_reference = _inside(samples, reference, k)
    return DensityCoverage(
        float(of_samples.double().mean()) / k, float(of_reference.gt(0).double().mean())
    )


def _comparable(samples: Tensor, reference: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Both sets in float64, about the origin, after checking that they have a k-th neighbour."""
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    return around_the_origin(samples, reference, k + 1)


def _inside(y: Tensor, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """In how many balls around x each y lies (N,), and how many y lie in the ball of each x (M,).

    A ball is as much wider as a squared distance may be off by rounding, so that copies of repeated
    points are inside.
    """
    rounding = ROUNDING * float(torch.maximum(x.square().sum(1).max(), y.square().sum(1).max()))
    radii = nearest(x, x, k=k + 1).distance[:, -1].square() + rounding
    of_y, of_x = torch.zeros(len(y), dtype=torch.int64), torch.zeros(len(x), dtype=torch.int64)
    for part in row_blocks(len(y), len(x)):
        inside = squared_distances(y[part], x) <= radii
        of_y[part] = inside.sum(1)
        of_x += inside.sum(0)
    return of_y, of_x
