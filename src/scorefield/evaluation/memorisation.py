"""Whether samples are copies of training data: distances to them, held to those of data not trained on."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.evaluation.distances import Neighbours

Verdict = Literal["copies", "none found", "cannot tell"]

VISIBLE = 0.05  # 'none found' is said where copies of this share would have been found


class Memorisation(NamedTuple):
    """A verdict on copies, with what it rests on.

    Arguments:
        verdict: 'copies': more samples are close to training data than chance allows; 'none found';
            'cannot tell': none found, and too few data to have found 5 % of copies.
        p: how often chance alone gives as many close samples, exact for any counts.
        threshold: how close is close: the low quantile of the held-out data.
        share: share of the samples that are closer.
        expected: that share when nothing is copied, on average.
        detectable: the least share of copies that is found more often than not.
    """

    verdict: Verdict
    p: float
    threshold: float
    share: float
    expected: float
    detectable: float


def relative_distance(neighbours: Neighbours) -> Tensor:
    """The distance of the nearest over the mean of the k nearest, shape (N,).

        d_1 / (1/k Σ_j d_j)

    Near 0 for a copy, near 1 for a sample among many alike. A blurred or plain image is near to much of
    the data without being a copy, and its distance alone says that it is one; this ratio does not. A copy
    of something that is in the training data k times has ratio 1, as its k neighbours are copies too.

    Arguments:
        neighbours: the k nearest, k at least 2.

    Raises:
        InputError: for k below 2.

    Reference: Carlini et al. 2023, Extracting Training Data from Diffusion Models, section 5.1.
        arXiv:2301.13188
    """
    distance = neighbours.distance
    if distance.shape[1] < 2:
        raise InputError(
            f"a relative distance needs at least 2 neighbours, got {distance.shape[1]}"
        )
    mean = distance.mean(1)
    return torch.where(mean > 0, distance[:, 0] / mean, 1.0)


def memorisation(
    samples: Tensor,
    held_out: Tensor,
    *,
    quantile: float = 0.01,
    level: float = 0.01,
    looked_at: float = 1.0,
) -> Memorisation:
    """Whether more samples are close to the training data than held-out data are.

        p = P(K ≥ k),      P(K = k) = C(k + r - 1, k) C(N - k + M - r, N - k) / C(N + M, N)

    Close is closer than the r-th closest of the M held-out data, r = quantile (M + 1) rounded down, at
    least 1. When samples and held-out data have one law, their N + M distances are in random order,
    whatever that law is, and the number k of close samples is negative hypergeometric. So p is exact
    (for distances without ties; with ties it is too large), however few held-out data there are.

    Arguments:
        samples: how far each sample is from the training data, shape (N,), by `nearest` or
            `relative_distance`.
        held_out: the same of data that were not trained on, shape (M,).
        quantile: which share of the held-out data is close.
        level: how small p must be for the verdict 'copies'; so rarely are copies found where none are.
        looked_at: share of the training data that distances are to; a copy of the rest is not close.

    Raises:
        InputError: for no samples, distances that are not finite, a quantile or level outside (0, 1), or a
            share outside (0, 1].

    Reference: Gumbel & von Schelling 1950, The distribution of the number of exceedances, Annals of
        Mathematical Statistics 21.
    """
    if not 0 < quantile < 1 or not 0 < level < 1:
        raise InputError(f"quantile and level must lie in 0 to 1, got {quantile:g} and {level:g}")
    if not 0 < looked_at <= 1:
        raise InputError(f"looked_at must be above 0 and at most 1, got {looked_at:g}")
    for distances in (samples, held_out):
        if distances.ndim != 1 or not bool(torch.isfinite(distances).all()):
            raise InputError("distances must be finite numbers in one row")
    if len(samples) == 0:
        raise InputError("a verdict on copies needs at least 1 sample, got 0")
    n, m = len(samples), len(held_out)
    if m == 0:
        return Memorisation("cannot tell", 1.0, 0.0, 0.0, 0.0, 1.0)
    rank = max(1, int(quantile * (m + 1)))
    threshold = float(held_out.double().sort().values[rank - 1])
    close, tail = int((samples.double() < threshold).sum()), _tail(n, m, rank)
    p, expected = float(tail[close]), rank / (m + 1)
    enough = int((tail > level).sum()) / n  # the least share of close samples that is too many
    detectable = (enough - expected) / (1 - expected) if enough <= 1 and threshold > 0 else 1.0
    detectable = min(1.0, detectable / looked_at)
    verdict = _verdict(p <= level, detectable)
    return Memorisation(verdict, p, threshold, close / n, expected, detectable)


def _verdict(found: bool, detectable: float) -> Verdict:
    if found:
        return "copies"
    return "none found" if detectable <= VISIBLE else "cannot tell"


def _tail(n: int, m: int, rank: int) -> Tensor:
    """P(K ≥ k) for k = 0 … n: the number of n that come before the rank-th of m in a random order."""
    k = torch.arange(n + 1, dtype=torch.float64)

    def log_choose(of: Tensor, some: Tensor) -> Tensor:
        return torch.lgamma(of + 1) - torch.lgamma(some + 1) - torch.lgamma(of - some + 1)

    total = torch.tensor([n + m, n], dtype=torch.float64)
    logs = log_choose(k + rank - 1, k) + log_choose(n - k + m - rank, n - k) - log_choose(*total)
    return logs.flip(0).logcumsumexp(0).flip(0).exp().clamp(max=1)
