"""The variational bound of a chain of reverse steps, in nats.

The chain visits times 1 = t_n > … > t_1 = t_min. Its steps are normal laws with the mean that x̂₀ gives and
the variance that is right for white Gaussian data; so for such data the bound is not a bound but exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import Denoiser, check_finite
from scorefield.core.levels import Levels
from scorefield.core.schedule import Schedule, as_time
from scorefield.core.sde import transition
from scorefield.errors import InputError


class VariationalBound(NamedTuple):
    """A lower bound of the log-likelihood of data in nats; log_prob = -(prior + Σ steps + data).

    Arguments:
        log_prob: the bound of log p(x₀), or of log P(x₀) for levels, shape (B,).
        prior: KL of q(x at t = 1 | x₀) from the prior, shape (B,).
        steps: KL of each q(x_s | x_t, x₀) from the reverse step, shape (B, n - 1).
        data: -log p(x₀ | x at t_min), shape (B,).
    """

    log_prob: Tensor
    prior: Tensor
    steps: Tensor
    data: Tensor


def variational_bound(
    denoiser: Denoiser,
    x0: Tensor,
    times: Tensor,
    *,
    mean: Tensor | float = 0.0,
    variance: float = 1.0,
    levels: Levels | None = None,
    noise: Callable[[Tensor], Tensor] = torch.randn_like,
    **cond: Tensor | None,
) -> VariationalBound:
    """The evidence lower bound of data under the chain of reverse steps, by one draw at each time.

        log p(x₀) ≥ -KL(q(x_1 | x₀) ‖ p) - Σ KL(q(x_s | x_t, x₀) ‖ p(x_s | x_t)) + E log p(x₀ | x_tmin)

    With c the variance of the data and β_ts = σ_t² - (α_t/α_s)² σ_s², the steps and the ends are

        p(x_s | x_t) = N(q-mean(x_t, x̂₀), β_ts σ_s²/σ_t² + b² V),   b = α_s β_ts/σ_t²
        p(x₀ | x) = N(x̂₀, V),   V = c σ²/(α² c + σ²),   p = N(α m, α² c + σ²)

    On a variance-preserving path c = 1 is Ho et al.'s large variance and c → 0 the small one.

    Arguments:
        denoiser: the model.
        x0: data, shape (B, ...).
        times: decreasing from 1 to t_min, shape (n,), as a grid gives them.
        mean: m, a number or a tensor that broadcasts to a sample.
        variance: c; above 0.
        levels: the levels of the data: p(x₀ | x) is cut into cells, and gives a probability.
        noise: called with a state, gives standard normal noise of its shape.
        cond: conditions by name, such as ``label`` of shape (B,).

    Raises:
        InputError: for a variance that is not above 0, fewer than 1 time, times that do not decrease, or
            when the model's output is not finite.

    Reference: Sohl-Dickstein et al. 2015, eq. 14; Ho et al. 2020, eq. 5. arXiv:1503.03585, arXiv:2006.11239
    """
    if not variance > 0:
        raise InputError(f"variance must be above 0, got {variance}")
    times = as_time(times)
    if times.ndim != 1 or len(times) < 1:
        raise InputError(f"times must be a row of at least 1, got shape {tuple(times.shape)}")
    if not bool((times.diff() < 0).all()):
        raise InputError(f"times must decrease, got {times.tolist()}")
    schedule, kls, x0_hat = denoiser.schedule, [], x0
    with torch.no_grad():
        for t, s in pairwise([*times, None]):
            alpha, sigma = schedule(t)
            x = expand(alpha, x0) * x0 + expand(sigma, x0) * noise(x0)
            x0_hat = denoiser(x, t, **cond)
            check_finite(x0_hat, t)
            if s is not None:
                kls.append(_step(schedule, x0 - x0_hat, t, s, variance))
    (alpha, sigma), last = schedule(times[0]), schedule(times[-1])
    centre = torch.as_tensor(mean, dtype=torch.float64, device=x0.device)
    prior = _kl(
        expand(alpha, x0).double() * (x0 - centre), sigma**2, alpha**2 * variance + sigma**2
    )
    data = _data(x0, x0_hat, _left(*last, variance), levels)
    steps = torch.stack(kls, 1) if kls else prior.new_zeros(len(x0), 0)
    return VariationalBound(-(prior + steps.sum(1) + data), prior, steps, data)


def _left(alpha: Tensor, sigma: Tensor, variance: float) -> Tensor:
    """V, the variance of white data that is left when x_t is known."""
    return variance * sigma**2 / (alpha**2 * variance + sigma**2)


def _step(schedule: Schedule, wrong: Tensor, t: Tensor, s: Tensor, variance: float) -> Tensor:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    _, between = transition(schedule, s, t)
    weight = alpha_s * between / sigma_t**2
    small = between * sigma_s**2 / sigma_t**2
    wide = small + weight**2 * _left(alpha_t, sigma_t, variance)
    return _kl(expand(weight, wrong).double() * wrong, small, wide)


def _kl(offset: Tensor, narrow: Tensor, wide: Tensor) -> Tensor:
    """KL(N(offset, narrow I) ‖ N(0, wide I)) of each sample, float64, shape (B,)."""
    narrow, wide = narrow.to(offset.device), wide.to(offset.device)
    ratio = narrow / wide
    terms = offset.double() ** 2 / wide + ratio - 1 - torch.log(ratio)
    return 0.5 * terms.flatten(1).sum(1)


def _data(x0: Tensor, x0_hat: Tensor, left: Tensor, levels: Levels | None) -> Tensor:
    left = left.to(x0.device)
    if levels is not None:
        return -levels.log_prob(x0, x0_hat, torch.sqrt(left))
    terms = (x0 - x0_hat).double() ** 2 / left + torch.log(2 * math.pi * left)
    return 0.5 * terms.flatten(1).sum(1)
