"""Steps through the posterior q(x_s | x_t, x₀): DDIM and DDPM's ancestral sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.schedule import Schedule
from scorefield.errors import InputError
from scorefield.samplers.base import OneStep, posterior_step
from scorefield.samplers.grids import Grid, UniformTime
from scorefield.samplers.noise import Noise


@dataclass(frozen=True)
class DDIM(OneStep):
    """Denoising diffusion implicit models: from the deterministic flow (η = 0) to DDPM (η = 1).

        x_s = α_s x̂₀ + √(σ_s² - ς²) ε̂ + ς z,   ς = η (σ_s/σ_t) √(σ_t² - (α_t/α_s)² σ_s²)

    With η = 0 it is Euler's method for dx = x̂₀ dα + ε̂ dσ, and DPM-Solver-1.

    Arguments:
        grid: the times to visit.
        eta: η, how much fresh noise; at least 0.

    Reference: Song et al. 2021, Denoising Diffusion Implicit Models, eq. 12 and eq. 16.
        arXiv:2010.02502
    """

    grid: Grid = UniformTime()
    eta: float = 0.0
    order: ClassVar[int] = 1

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def __post_init__(self) -> None:
        if not 0 <= self.eta < math.inf:
            raise InputError(f"eta must be at least 0 and finite, got {self.eta}")

    def step(
        self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> Tensor:
        return posterior_step(schedule, x, x0, t, s, self.eta, noise)


@dataclass(frozen=True)
class Ancestral(OneStep):
    """DDPM's ancestral sampling, with either of its two published variances.

        x_s = q-mean(x_t, x̂₀) + ς z,   ς² = β̃ = (σ_s²/σ_t²) β_ts  or  ς² = β_ts,
        β_ts = σ_t² - (α_t/α_s)² σ_s²

    The small variance equals DDIM(eta=1) and is right for data that are a point, the large one for
    data that are white noise.

    Arguments:
        grid: the times to visit; `Knots` for the published chain.
        variance: 'small' for β̃, 'large' for β_ts.

    Reference: Ho et al. 2020, Algorithm 2, eq. 7 and section 3.2. arXiv:2006.11239
    """

    grid: Grid = UniformTime()
    variance: Literal["small", "large"] = "small"
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.variance not in ("small", "large"):
            raise InputError(f"variance must be 'small' or 'large', got '{self.variance}'")

    def step(
        self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> Tensor:
        if self.variance == "small":
            return posterior_step(schedule, x, x0, t, s, 1.0, noise)
        return _large_variance_step(schedule, x, x0, t, s, noise)


def _large_variance_step(
    schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
) -> Tensor:
    (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
    between = (sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2).clamp(min=0)
    # Ho et al. eq. 7 in α, σ: the mean weighs x_t by (α_t/α_s) σ_s²/σ_t² and x₀ by α_s β_ts/σ_t².
    mean = expand(alpha_t / alpha_s * sigma_s**2 / sigma_t**2, x) * x
    mean = mean + expand(alpha_s * between / sigma_t**2, x) * x0
    return mean + expand(torch.sqrt(between), x) * noise(x)
