"""DPM-Solver's single-step methods: stages within a step in place of a memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError
from scorefield.samplers.base import Denoise, Sampler, Step, posterior_step
from scorefield.samplers.grids import Grid, UniformLogSNR
from scorefield.samplers.linear import Mean, half_log_snr, levels, noise_at
from scorefield.samplers.multistep import noise_step
from scorefield.samplers.noise import Noise
from scorefield.samplers.tabled import tabled


@dataclass(frozen=True)
class SingleStepDPMSolver(Sampler):
    """DPM-Solver as published first: one step of order 1, 2 or 3 from its own stages.

        order 2   x_s = (α_s/α_t) x_t - σ_s (e^h - 1) ε̂(u₁, λ_t + h/2)
        order 3   x_s = (α_s/α_t) x_t - σ_s (e^h - 1) ε̂ - (σ_s/r₂) ((e^h - 1)/h - 1) (ε̂(u₂) - ε̂)

    with h = λ_s - λ_t, the stages u₁, u₂ at r₁ = 1/3 and r₂ = 2/3 of h in order 3, and ``order``
    evaluations a step. A step from where no signal is left, with h = ∞, is DDIM's.

    Arguments:
        grid: the times to visit.
        order: 1 (which is DDIM), 2 or 3.

    Reference: Lu et al. 2022, DPM-Solver, Algorithms 1 and 2. arXiv:2206.00927
    """

    grid: Grid = UniformLogSNR()
    order: int = 2
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise InputError(f"order must be 1, 2 or 3, got {self.order}")

    @property
    def evaluations_per_step(self) -> int:
        return self.order

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        within = _stages(schedule, times, self.order)
        schedule = tabled(schedule, torch.cat([times, within.flatten()]))
        for (t, s), parts in zip(pairwise(times), within, strict=True):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            if self.order == 1 or schedule(t)[0] == 0:
                x = posterior_step(schedule, x, x0, t, s, 0.0, noise)
            else:
                eps = noise_at(schedule, x, x0, t)
                step = _second if self.order == 2 else _third
                x = step(denoise, schedule, x, eps, (t, *parts, s))
        yield Step(times[-1], x, denoise(x, times[-1]))


def _stages(schedule: Schedule, times: Tensor, order: int) -> Tensor:
    """The times that cut each step into equal parts in log-SNR, shape (n - 1, order - 1)."""
    log_snr = schedule.log_snr(times)[:, None]
    first, last = log_snr[:-1], log_snr[1:]
    first = torch.where(first.isfinite(), first, last)  # no stages from where no signal is left
    share = torch.arange(1, order, dtype=times.dtype, device=times.device) / order
    return schedule.time(first + share * (last - first))


def _second(
    denoise: Denoise, schedule: Schedule, x: Tensor, eps: Tensor, times: Sequence[Tensor]
) -> Tensor:
    t, middle, s = times
    guess = noise_step(schedule, x, Mean([1.0], [eps]), t, middle)
    eps = noise_at(schedule, guess, denoise(guess, middle), middle)
    return noise_step(schedule, x, Mean([1.0], [eps]), t, s)


def _third(
    denoise: Denoise, schedule: Schedule, x: Tensor, eps: Tensor, times: Sequence[Tensor]
) -> Tensor:
    t, near, far, s = times
    guess = noise_step(schedule, x, Mean([1.0], [eps]), t, near)
    change = noise_at(schedule, guess, denoise(guess, near), near) - eps
    guess = _bent(schedule, x, eps, 2.0 * change, t, far)
    change = noise_at(schedule, guess, denoise(guess, far), far) - eps
    return _bent(schedule, x, eps, 1.5 * change, t, s)


def _bent(
    schedule: Schedule, x: Tensor, eps: Tensor, change: Tensor, t: Tensor, s: Tensor
) -> Tensor:
    """A step with a noise that changes by ``change`` in proportion to λ on the way to s."""
    _, sigma = levels(schedule, s)
    h = half_log_snr(schedule, s) - half_log_snr(schedule, t)
    straight = noise_step(schedule, x, Mean([1.0], [eps]), t, s)
    return straight - sigma * (math.expm1(h) / h - 1) * change
