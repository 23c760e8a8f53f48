"""What a step does with tensors: sums of a few of them, by weights that are plain numbers.

A step's weights depend on its times alone and are computed in Python's double precision. Arithmetic on
tensors of one number took longer than that on the state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from scorefield.core.schedule import Schedule


def combined(weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """Σ c_j F_j, a new tensor.

    Arguments:
        weights: c_j; one at least.
        values: F_j, shape (B, ...) each; as many.
    """
    out = weights[0] * values[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        out.add_(value, alpha=weight)
    return out


class Mean(NamedTuple):
    """F̄ = Σ c_j F_j, the mean that a step is to take, not yet summed.

    Arguments:
        weights: c_j, newest first; one at least.
        values: F_j, shape (B, ...) each; at least as many.
    """

    weights: Sequence[float]
    values: Sequence[Tensor]


def moved(
    keep: float, x: Tensor, add: float, mean: Mean, spread: float = 0.0, z: Tensor | None = None
) -> Tensor:
    """A step that is linear, in one sum: x_s = a x_t + b F̄ + c z, shape (B, ...).

    Arguments:
        keep: a.
        x: the state x_t, shape (B, ...).
        add: b.
        mean: F̄.
        spread: c.
        z: standard normal noise, shape (B, ...); none if there is no noise.
    """
    numbers = [keep, *(add * weight for weight in mean.weights)]
    tensors = [x, *mean.values[: len(mean.weights)]]
    if z is not None:
        numbers, tensors = [*numbers, spread], [*tensors, z]
    return combined(numbers, tensors)


def noise_at(schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """ε̂ = (x - α x̂₀)/σ, shape (B, ...), as `noise_from` has it, at a time of shape () and in one sum.

    One new tensor in place of three: half the time for a batch of images.
    """
    alpha, sigma = levels(schedule, t)
    return combined([1 / sigma, -alpha / sigma], [x, x0])


def levels(schedule: Schedule, t: Tensor) -> tuple[float, float]:
    """α and σ at a time of shape ()."""
    alpha, sigma = schedule(t)
    return float(alpha), float(sigma)


def half_log_snr(schedule: Schedule, t: Tensor) -> float:
    """λ = log α/σ at a time of shape (); -∞ where no signal is left."""
    return float(schedule.log_snr(t)) / 2


def noise_to_signal(schedule: Schedule, t: Tensor) -> float:
    """u = σ/α at a time of shape (); ∞ where no signal is left."""
    alpha, sigma = levels(schedule, t)
    return sigma / alpha if alpha > 0 else math.inf
