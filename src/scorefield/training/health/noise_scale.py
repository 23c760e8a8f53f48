"""The gradient noise scale: up to which batch more images in a step make a better step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

KEEP = 0.9  # of the averages at each check


def estimates(halves: Sequence[Sequence[Tensor]], rows: int) -> tuple[float, float]:
    """Unbiased estimates of ‖G‖² and tr Σ from the gradients of two halves of a batch.

        ‖G‖² ≈ (B ‖g_B‖² - b ‖g_b‖²) / (B - b),   tr Σ ≈ (‖g_b‖² - ‖g_B‖²) / (1/b - 1/B),   B = 2b

    G is the gradient of the true loss and Σ the covariance of the gradient of a single image;
    ‖g_b‖² is the mean over the halves, and g_B the mean of their gradients.

    Arguments:
        halves: the gradients of the mean loss of each half, a tensor for each parameter.
        rows: images in a half, b.

    Returns:
        Both numbers; either may come out below 0, since they are estimates.

    Reference: McCandlish et al. 2018, An Empirical Model of Large-Batch Training, app. A.1.
        arXiv:1812.06162
    """
    first, second = halves
    small = (_square(first) + _square(second)) / 2
    large = _square([(a + b) / 2 for a, b in zip(first, second, strict=True)])
    return 2 * large - small, 2 * rows * (small - large)


def _square(gradients: Sequence[Tensor]) -> float:
    return sum(float(g.square().sum()) for g in gradients)


def noise_scale(found: Iterable[Sequence[float]]) -> float | None:
    """The noise scale over checks, in images: a ratio of averages, as a single check tells little.

        B_simple = tr Σ / ‖G‖²

    Arguments:
        found: estimates of ‖G‖² and tr Σ at each check, oldest first; older ones count for less.

    Returns:
        None without a check, and while chance leaves no sign of a gradient.

    Reference: McCandlish et al. 2018, eq. 2.9 and app. A.1. arXiv:1812.06162
    """
    square = trace = 0.0
    for one, other in found:
        if math.isfinite(one) and math.isfinite(other):
            square = KEEP * square + (1 - KEEP) * one
            trace = KEEP * trace + (1 - KEEP) * other
    return trace / square if square > 0 and trace > 0 else None


def half_gradients(
    loss: Callable[[Tensor], Tensor], parameters: Sequence[Tensor], rows: int, part: int
) -> list[list[Tensor]]:
    """The gradients of the mean loss of rows 0 … b - 1 and of rows b … 2b - 1, a list for each half.

    Arguments:
        loss: of the numbers of some rows, the loss of each.
        parameters: what the gradients are with respect to; their own ``grad`` is left alone.
        rows: rows in a half, b.
        part: rows at once, to save memory.
    """
    found = []
    for half in torch.split(torch.arange(2 * rows), rows):
        total = [torch.zeros_like(p) for p in parameters]
        for some in torch.split(half, part):
            share = loss(some).sum() / rows
            gradients = torch.autograd.grad(share, parameters, allow_unused=True)
            total = [s if g is None else s + g for s, g in zip(total, gradients, strict=True)]
        found.append(total)
    return found
