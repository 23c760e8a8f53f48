"""The probability flow in coordinates in which it is one and the same on every schedule.

With α = r cos θ and σ = r sin θ, the state w = x/r turns from data (θ = 0) to noise (θ = ½π):

    w = cos θ x₀ + sin θ ε,   dw/dlog θ = θ (-sin θ x̂₀ + cos θ ε̂) = θ (cos θ w - x̂₀)/sin θ

A schedule decides only where the flow starts and ends. log θ is finite where α is 0, and at low noise,
where θ ≈ σ/α and features of every size are to be resolved, it is the logarithm of the noise level: at
equal tolerance, steps in log θ left errors up to a hundred times smaller than steps in θ.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.schedule import Schedule


def log_angle(schedule: Schedule, t: Tensor | float) -> Tensor:
    """log θ = log arctan σ/α of a time, float64.

    Arguments:
        schedule: the path.
        t: the time, shape () or (B,).
    """
    alpha, sigma = schedule(t)
    return torch.log(torch.atan2(sigma, alpha))


def time_at(schedule: Schedule, log_theta: Tensor) -> Tensor:
    """The time of log θ, the inverse of `log_angle`, held to t_min and 1.

    Arguments:
        schedule: the path.
        log_theta: the coordinate, float64.
    """
    # rounding may lead past the right angle, where the tangent changes its sign
    theta = torch.exp(log_theta).clamp(max=math.pi / 2)
    return schedule.time(-2 * torch.log(torch.tan(theta))).clamp(schedule.t_min, 1)


def radius(schedule: Schedule, t: Tensor | float) -> Tensor:
    """r = √(α² + σ²) of a time, float64.

    Arguments:
        schedule: the path.
        t: the time, shape () or (B,).
    """
    alpha, sigma = schedule(t)
    return torch.hypot(alpha, sigma)


def angular_slope(w: Tensor, x0: Tensor, log_theta: Tensor) -> Tensor:
    """dw/dlog θ = θ (cos θ w - x̂₀)/sin θ of the probability flow.

    Arguments:
        w: the state x/r, shape (B, ...).
        x0: the estimate of x₀ there, shape (B, ...).
        log_theta: the coordinate, shape () or (B,).

    Reference: Lu & Song 2024, Simplifying, Stabilizing & Scaling Continuous-Time Consistency Models,
        section 3, for w and θ with σ_data = 1. arXiv:2410.11081
    """
    theta = torch.exp(log_theta)
    return expand(theta / torch.sin(theta), w) * (expand(torch.cos(theta), w) * w - x0)
