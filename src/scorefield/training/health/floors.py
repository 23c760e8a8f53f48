"""What the loss is held against: all that the training set tells, and all that its covariance tells."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.moments import Moments
from scorefield.core.parameterizations import Parameterization
from scorefield.core.schedule import Schedule
from scorefield.training.health.losses import Loss


def ideal_loss(
    train: Tensor, label: Tensor | None, schedule: Schedule, parameterization: Parameterization
) -> Loss:
    """The loss of the ideal denoiser of a finite training set, as a function to measure at some levels.

        x̂₀ = Σ_j softmax_j( -‖x - α x_j‖² / 2σ² ) x_j

    On its own samples it is the least there is; where labels are given, x_j are those of the same class.

    Arguments:
        train: the training set, shape (M, ...).
        label: the class of each, shape (M,); none for unconditional models.
        schedule: the path.
        parameterization: what the network's output means.

    Reference: Karras et al. 2022, Elucidating the Design Space, App. B.3, eq. 57. arXiv:2206.00364
    """
    known = train.double().flatten(1)

    def loss(x0: Tensor, t: Tensor, eps: Tensor, own: Tensor | None) -> Tensor:
        x0, eps = x0.double().flatten(1), eps.double().flatten(1)
        alpha, sigma = (expand(v, x0) for v in schedule(t))
        _, out = parameterization.inversion(schedule, t)
        error = torch.empty_like(x0)
        for rows, among in _candidates(own, label, known):
            a, s, x = alpha[rows], sigma[rows], x0[rows]
            error[rows] = _ideal(a * x + s * eps[rows], a, s, among) - x
        return (error / expand(out, x0)).square().mean(1)

    return loss


def _ideal(x: Tensor, alpha: Tensor, sigma: Tensor, known: Tensor) -> Tensor:
    # Without ‖x‖², which all have; in float64 what cancels here is below what counts.
    kernels = alpha * (x @ known.T) - alpha**2 / 2 * known.square().sum(1)
    return torch.softmax(kernels / sigma**2, dim=1) @ known


def _candidates(
    own: Tensor | None, label: Tensor | None, known: Tensor
) -> Iterator[tuple[Tensor | slice, Tensor]]:
    """Rows of one class and what they may have been made of; of rows without a class all."""
    if own is None or label is None:
        yield slice(None), known
        return
    for c in torch.unique(own).tolist():
        yield (own == c), (known if c < 0 else known[label == c])


def gaussian_loss(
    moments: Moments, schedule: Schedule, parameterization: Parameterization, t: Tensor
) -> tuple[float, ...]:
    """The loss of the best affine denoiser at each time: all that mean and covariance of the data tell.

        Σ_i λ_i σ² / (α² λ_i + σ²) / (D c_out²)

    Arguments:
        moments: of the data; λ_i are their variances along their basis, averaged over the rows that hold.
        schedule: the path.
        parameterization: what the network's output means.
        t: times, shape (L,).

    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.117.
    """
    which, counts = torch.unique(moments.row, return_counts=True)
    variances, share = moments.variances[which], counts.double() / counts.sum()
    _, out = parameterization.inversion(schedule, t)
    found = []
    for alpha, sigma, scale in zip(*schedule(t), out, strict=True):
        error = variances * sigma**2 / (alpha**2 * variances + sigma**2)
        found.append(float(share @ error.mean(1) / scale**2))
    return tuple(found)
