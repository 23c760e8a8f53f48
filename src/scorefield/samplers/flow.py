"""One-step solvers of the probability flow: Euler in time, and EDM's Heun with churn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.schedule import Schedule
from scorefield.errors import InputError
from scorefield.samplers.base import Denoise, OneStep, Sampler, Step
from scorefield.samplers.grids import Grid, Karras, UniformTime
from scorefield.samplers.linear import combined, levels
from scorefield.samplers.noise import Noise


@dataclass(frozen=True)
class Euler(OneStep):
    """Euler's method in time for the probability-flow ODE.

        x_s = x_t + (s - t) v,   v = α' x̂₀ + σ' ε̂

    On the straight path of flow matching this is the step of rectified flow.

    Arguments:
        grid: the times to visit.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 13; Liu et al. 2023,
        Rectified Flow, section 2.1. arXiv:2011.13456, arXiv:2209.03003
    """

    grid: Grid = UniformTime()
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def step(
        self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> Tensor:
        (alpha, sigma), (alpha_rate, sigma_rate) = levels(schedule, t), schedule.rates(t)
        step, growth = float(s - t), float(sigma_rate) / sigma
        return combined([1 + step * growth, step * (float(alpha_rate) - growth * alpha)], [x, x0])


def heun_step(
    denoise: Denoise, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor
) -> Tensor:
    """A step from t to s by the trapezoidal rule for dx = x̂₀ dα + ε̂ dσ, with one evaluation at s.

        x_s = x_t + (α_s - α_t) (x̂₀ + x̂₀')/2 + (σ_s - σ_t) (ε̂ + ε̂')/2

    Arguments:
        denoise: called as ``denoise(x, t)``, gives E[x₀ | x_t].
        schedule: the path.
        x: the state x_t, shape (B, ...).
        x0: the estimate of x₀ there, shape (B, ...).
        t: the time of x, shape ().
        s: the time wanted, shape ().
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(schedule, t), levels(schedule, s)
    shrunk = sigma_s / sigma_t
    guess = combined([shrunk, alpha_s - shrunk * alpha_t], [x, x0])
    x0_s = denoise(guess, s)
    data, to, fro = (alpha_s - alpha_t) / 2, (shrunk - 1) / 2, (1 - 1 / shrunk) / 2
    numbers = [1 + to, data - to * alpha_t, fro, data - fro * alpha_s]
    return combined(numbers, [x, x0, guess, x0_s])


@dataclass(frozen=True)
class Heun(Sampler):
    """EDM's second-order sampler with optional churn, on any schedule.

        x_s = x_t + (α_s - α_t) (x̂₀ + x̂₀')/2 + (σ_s - σ_t) (ε̂ + ε̂')/2

    where the primes are taken at the Euler guess of x_s: the trapezoidal rule for dx = x̂₀ dα + ε̂ dσ.
    On a variance-exploding path it is Algorithm 2 of EDM, evaluation for evaluation: 2n - 1 for n steps.
    Churn first raises the noise level σ/α by γ = min(churn/n, √2 - 1) where it lies within
    [churn_min, churn_max], but not beyond the path's end at t = 1, and not at the last time.

    Arguments:
        grid: the times to visit.
        churn: S_churn, the amount of fresh noise; 0 is deterministic.
        churn_min: S_tmin, the lowest noise level σ/α that is churned.
        churn_max: S_tmax, the highest; no limit if not given.
        churn_noise: S_noise, the standard deviation of the fresh noise.

    Reference: Karras et al. 2022, Algorithm 2. arXiv:2206.00364
    """

    grid: Grid = Karras()
    churn: float = 0.0
    churn_min: float = 0.0
    churn_max: float | None = None
    churn_noise: float = 1.0
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for name in ("churn", "churn_min", "churn_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                value = getattr(self, name)
                raise InputError(f"{name} must be at least 0 and finite, got {value}")
        if self.churn_max is not None and not self.churn_max >= self.churn_min:
            raise InputError(
                f"churn_max must be at least churn_min, {self.churn_min:g}, got {self.churn_max}"
            )

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    @property
    def evaluations_per_step(self) -> int:
        return 2

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        for at, s in pairwise(times):
            x, t = self._churned(schedule, x, at, len(times), noise)
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            x = heun_step(denoise, schedule, x, x0, t, s)
        yield Step(times[-1], x, denoise(x, times[-1]))

    def _churned(
        self, schedule: Schedule, x: Tensor, t: Tensor, steps: int, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        alpha, sigma = schedule(t)
        level = sigma / alpha
        gamma = min(self.churn / steps, math.sqrt(2) - 1)
        highest = math.inf if self.churn_max is None else self.churn_max
        if gamma == 0 or not self.churn_min <= float(level) <= highest or alpha == 0:
            return x, t
        # The path ends at t = 1: noise is raised up to there, not beyond.
        higher = schedule.time(schedule.log_snr(t) - 2 * math.log1p(gamma))
        alpha_up, sigma_up = schedule(higher)
        fresh = torch.sqrt(((sigma_up / alpha_up) ** 2 - level**2).clamp(min=0))
        x = expand(1 / alpha, x) * x + expand(self.churn_noise * fresh, x) * noise(x)
        return expand(alpha_up, x) * x, higher
