"""Distances between two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor

from scorefield.errors import InputError


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance of the Gaussians that have the mean and covariance of two sets of features.

        d² = |m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^½)

    Covariances are unbiased (divided by N - 1). With fewer rows than columns they are singular, and the
    distance is still defined, but far too large for a small difference.

    Arguments:
        a: features, one row a sample, shape (N, D).
        b: features, shape (M, D).

    Raises:
        InputError: for fewer than 2 rows, or features of unlike widths.

    Reference: Heusel et al. 2017, GANs trained by a two time-scale update rule, eq. 6. arXiv:1706.08500

    Examples:
        >>> a = torch.tensor([[-1.0], [1.0]])
        >>> frechet_distance(a, a + 3)
        9.0
    """
    for one in (a, b):
        if one.ndim != 2 or len(one) < 2:
            raise InputError(
                f"a Fréchet distance needs at least 2 rows of features, got shape {tuple(one.shape)}"
            )
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"features must be of equal width, got {a.shape[1]} and {b.shape[1]} numbers"
        )
    a, b = a.double(), b.double()
    cov_a, cov_b = (torch.cov(x.T).reshape(x.shape[1], x.shape[1]) for x in (a, b))
    return frechet_from_moments(a.mean(0), cov_a, b.mean(0), cov_b)


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
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0)
    apart = (mean_a - mean_b).square().sum()
    return float(apart + cov_a.trace() + cov_b.trace() - 2 * product.sqrt().sum())
