"""Annealed Langevin dynamics: sampling by the score alone, one noise level after another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import noise_from
from scorefield.core.schedule import Schedule
from scorefield.errors import InputError, check_count
from scorefield.samplers.base import Denoise, Sampler, Step, posterior_step
from scorefield.samplers.grids import Grid, UniformLogSNR
from scorefield.samplers.noise import Noise


def langevin_step(
    schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, size: float, noise: Noise
) -> Tensor:
    """A step of Langevin dynamics towards the marginal at t.

        x + ½ δ ∇log p_t(x) + √δ z,   δ = size σ²

    Arguments:
        schedule: the path.
        x: the state, shape (B, ...).
        x0: the estimate of x₀ there, shape (B, ...).
        t: the time, shape ().
        size: δ/σ².
        noise: called with a state, gives standard normal noise of its shape.
    """
    _, sigma = schedule(t)
    # σ ∇log p = -ε̂
    x = x - expand(0.5 * size * sigma, x) * noise_from(schedule, x, x0, t)
    return x + expand(math.sqrt(size) * sigma, x) * noise(x)


@dataclass(frozen=True)
class AnnealedLangevin(Sampler):
    """Langevin dynamics at each noise level in turn, from the highest to the lowest.

        x ← (α_s/α_t) x,   then T times   x ← x + ½ δ ∇log p_s(x) + √δ z,   δ = step_size σ_s²

    The paper's levels are σ/α and its ε is step_size σ_L². Each step keeps x/α, as on the paper's
    variance-exploding path; where no signal is left it is DDIM's. The walk starts in law at its first
    level, which needs no Langevin steps, and ends with x̂₀ at its last. Finer grids do not remove the error
    of a finite step: at rest the variance is v/(1 - δ/4v), for v the exact one.

    Arguments:
        grid: the times to visit.
        langevin_steps: T at each level; at least 1; 100 in the paper, with 10 levels.
        step_size: δ/σ², the size of a Langevin step relative to the noise; above 0 and below 4.

    Reference: Song & Ermon 2019, Generative Modeling by Estimating Gradients of the Data Distribution,
        Algorithm 1. arXiv:1907.05600
    """

    grid: Grid = UniformLogSNR()
    langevin_steps: int = 10
    step_size: float = 0.2
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("langevin_steps", self.langevin_steps)
        if not 0 < self.step_size < 4:
            raise InputError(f"step_size must lie between 0 and 4, got {self.step_size}")

    @property
    def evaluations_per_step(self) -> int:
        return 1 + self.langevin_steps

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        for t, s in pairwise(times):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            (alpha_t, _), (alpha_s, _) = schedule(t), schedule(s)
            if alpha_t == 0:
                x = posterior_step(schedule, x, x0, t, s, 0.0, noise)
            else:
                x = expand(alpha_s / alpha_t, x) * x
            for _ in range(self.langevin_steps):
                x = langevin_step(schedule, x, denoise(x, s), s, self.step_size, noise)
        yield Step(times[-1], x, denoise(x, times[-1]))
