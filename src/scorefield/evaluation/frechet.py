"""The Fréchet distance of two sets of features, what chance does to it, and what more samples would."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.evaluation.distances import finite_rows, two_sets
from scorefield.evaluation.estimates import Estimate, Interval

PARTS = (
    1,
    2,
    4,
    8,
)  # into how many parts samples are cut to see how the distance falls with their count


class Gaussian(NamedTuple):
    """The Gaussian that stands for a set of features.

    Arguments:
        mean: shape (D,).
        covariance: unbiased, shape (D, D).
    """

    mean: Tensor
    covariance: Tensor


def gaussian_of(features: Tensor) -> Gaussian:
    """Mean and unbiased covariance of features, float64.

    Arguments:
        features: one row a sample, shape (N, D).

    Raises:
        InputError: for fewer than 2 rows, or numbers that are not finite.
    """
    return _gaussian(finite_rows(features))


def _gaussian(features: Tensor, count: Tensor | None = None) -> Gaussian:
    """Moments of features, of which each is there as often as its count (N,), int64, says."""
    width = features.shape[1]
    weight = torch.ones(len(features)).long() if count is None else count
    mean = weight.double() @ features / weight.sum()
    return Gaussian(mean, torch.cov(features.T, fweights=count).reshape(width, width))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance of the Gaussians that have the mean and covariance of two sets of features.

        d² = |m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^½)

    Covariances are unbiased (divided by N - 1). With fewer rows than columns they are singular, and the
    distance is still defined, but far too large for a small difference.

    Arguments:
        a: features, one row a sample, shape (N, D).
        b: features, shape (M, D).

    Raises:
        InputError: for fewer than 2 rows, features of unlike widths, or numbers that are not finite.

    Reference: Heusel et al. 2017, GANs trained by a two time-scale update rule, eq. 6. arXiv:1706.08500

    Examples:
        >>> a = torch.tensor([[-1.0], [1.0]])
        >>> frechet_distance(a, a + 3)
        9.0
    """
    a, b = two_sets(a, b)
    return frechet_from_moments(*gaussian_of(a), *gaussian_of(b))


def frechet_from_moments(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians, from their moments.

        tr (C_a C_b)^½ = Σ √eig(C_a^½ C_b C_a^½)

    The symmetric form has real eigenvalues whatever the rounding, singular covariances included.

    Arguments:
        mean_a: mean of the first, shape (D,).
        cov_a: its covariance, shape (D, D).
        mean_b: mean of the second, shape (D,).
        cov_b: its covariance, shape (D, D).

    Reference: Dowson & Landau 1982, The Fréchet distance between multivariate normal distributions, eq. 4.
    """
    return _distance(Gaussian(mean_a, cov_a), _root(cov_a), Gaussian(mean_b, cov_b))


def _root(covariance: Tensor) -> Tensor:
    """C^½, symmetric."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _distance(a: Gaussian, root: Tensor, b: Gaussian) -> float:
    """The squared distance of two Gaussians, given the first one's C^½."""
    product = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0)
    apart = (a.mean - b.mean).square().sum()
    return float(apart + a.covariance.trace() + b.covariance.trace() - 2 * product.sqrt().sum())


def frechet_interval(
    samples: Tensor,
    reference: Gaussian,
    generator: torch.Generator,
    *,
    level: float = 0.95,
    resamples: int = 200,
) -> Interval:
    """Where the Fréchet distance lies when other sets of as many samples are drawn: a bootstrap interval.

        [max(d² + q_low - m, 0),  d² + q_high - m]
        m_b = Σ n_i x_i / N,      C_b = Σ n_i (x_i - m_b)(x_i - m_b)ᵀ / (N - 1)

    A resample is a set of counts n_i, multinomial, and its moments are weighted sums over the features that
    are there; q and m are the quantiles and the mean of its distance d²(m_b, C_b). Resampling adds to the
    distance's bias, so their spread is used and not their place: the interval is for the mean distance of
    sets of N samples, which has the bias of N samples in it (see `frechet_infinity`). The reference is
    taken as it is. Where d² is little more than that bias, the interval is up to √3 times too wide.

    Arguments:
        samples: features, shape (N, D).
        reference: the reference's moments.
        generator: draws the resamples.
        level: how often the interval is to hold that mean.
        resamples: how many.

    Raises:
        InputError: for too few samples, a level outside (0, 1), or fewer than 2 resamples.

    Reference: Efron & Tibshirani 1993, An Introduction to the Bootstrap, sections 6.2 and 10.2.
    """
    if not 0 < level < 1 or resamples < 2:
        raise InputError(
            f"a bootstrap needs a level between 0 and 1 and at least 2 resamples, "
            f"got {level:g} and {resamples}"
        )
    samples, root = _against(samples, reference, 2), _root(reference.covariance)
    found = _distance(reference, root, _gaussian(samples))
    values = torch.empty(resamples, dtype=torch.float64)
    for place in range(resamples):
        drawn = torch.randint(len(samples), (len(samples),), generator=generator)
        count = torch.bincount(drawn, minlength=len(samples))
        there = count > 0
        values[place] = _distance(reference, root, _gaussian(samples[there], count[there]))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = (found + values.quantile(ends) - values.mean()).tolist()
    return Interval(max(low, 0.0), high)  # no distance is negative


def frechet_infinity(samples: Tensor, reference: Gaussian, generator: torch.Generator) -> Estimate:
    """The Fréchet distance that endless samples would have, from how it falls with their count: FID∞.

        E d²_n = d²_∞ + c/n + O(1/n²)

    The shuffled samples are cut into 1, 2, 4 and 8 parts, the distances of the parts averaged, and a line
    through the four averages against 1/n read at 1/n = 0. The published method draws a subset for each n;
    parts use every sample at every n, so that the chance in the samples' own mean and covariance is the
    same at all of them and is not magnified by the line. The standard error is that of the mean over the 8
    parts: where the distance is near 0, it is too large (by 2.5 times for 10,000 samples of 128 features).
    It does not tell of the 1/n² term, which shows when a part has few rows for its D columns, nor of the
    reference's own finite count. The estimate can be below 0.

    Arguments:
        samples: features, shape (N, D), N at least 16; trust it for N well above 8 D.
        reference: the reference's moments.
        generator: shuffles the samples.

    Raises:
        InputError: for fewer than 16 samples.

    Reference: Chong & Forsyth 2020, Effectively Unbiased FID and Inception Score and Where to Find Them,
        section 3.1. arXiv:1911.07023
    """
    samples, root = _against(samples, reference, 2 * PARTS[-1]), _root(reference.covariance)
    shuffled = samples[torch.randperm(len(samples), generator=generator)]
    means = []
    for parts in PARTS:
        values = [_distance(reference, root, _gaussian(x)) for x in shuffled.tensor_split(parts)]
        means.append(sum(values) / parts)
    error = statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(statistics.linear_regression(PARTS, means).intercept, error, len(values) - 1)


def _against(samples: Tensor, reference: Gaussian, least: int) -> Tensor:
    """Samples in float64, after checking that they can be compared with the reference."""
    two_sets(samples, reference.mean[None], 1)
    return finite_rows(samples, least)
