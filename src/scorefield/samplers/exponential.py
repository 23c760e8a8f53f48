"""Exponential integrators in data prediction: DPM-Solver++ as an ODE and as an SDE.

With λ = log α/σ the flow is x_s = (σ_s/σ_t) x_t + α_s ∫ e^{λ-λ_s} x̂₀ dλ. A multistep method puts the
polynomial through the last estimates of x₀ under the integral and integrates it exactly.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.schedules import Schedule
from scorefield.errors import InputError
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.grids import Grid, UniformLogSNR
from scorefield.samplers.noise import Noise


@dataclass(frozen=True)
class DataPrediction(Sampler):
    """The multistep method that DPM-Solver++ and its SDE form share."""

    grid: Grid = UniformLogSNR()
    order: int = 2

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise InputError(f"order must be 1, 2 or 3, got {self.order}")

    @property
    @abstractmethod
    def noise_level(self) -> float:
        """η: 0 for the ODE, 1 for the SDE."""

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        past: list[tuple[Tensor, Tensor]] = []  # (log-SNR/2, x̂₀), newest first
        for t, s in pairwise(times):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            past = [(schedule.log_snr(t) / 2, x0), *past][: self.order]
            x = self._step(schedule, x, t, s, past, noise)
        yield Step(times[-1], x, denoise(x, times[-1]))

    def _step(
        self,
        schedule: Schedule,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        past: list[tuple[Tensor, Tensor]],
        noise: Noise,
    ) -> Tensor:
        (alpha_t, sigma_t), (alpha_s, sigma_s) = schedule(t), schedule(s)
        eta = self.noise_level
        # e^{-h}, h = λ_s - λ_t, as a ratio: it is 0, and all stays finite, where no signal is left.
        decay = alpha_t * sigma_s / (alpha_s * sigma_t)
        shrink = decay**eta
        x0 = _extrapolated(past, schedule.log_snr(s) / 2, 1 + eta)
        x = (
            expand(sigma_s / sigma_t * shrink, x) * x
            + expand(alpha_s * (1 - decay * shrink), x) * x0
        )
        if eta == 0:
            return x
        return x + expand(sigma_s * torch.sqrt(1 - shrink**2), x) * noise(x)


def _extrapolated(past: list[tuple[Tensor, Tensor]], end: Tensor, rate: float) -> Tensor:
    """The mean of the polynomial through past x̂₀, weighted by e^{rate λ}, from the newest to ``end``."""
    (start, newest), older = past[0], [(v, x0) for v, x0 in past[1:] if torch.isfinite(v)]
    if not older:
        return newest
    h = rate * (end - start)
    moment_1 = 1 / -torch.expm1(-h) - 1 / h  # ∫ u e^{h(u-1)} du / ∫ e^{h(u-1)} du over [0, 1]
    slope = (newest - older[0][1]) / expand((start - older[0][0]) / (end - start), newest)
    if len(older) == 1:
        # The midpoint rule of the 2M methods: exact to the same order, and steadier at few steps.
        return newest + slope / 2
    moment_2 = 1 / -torch.expm1(-h) - 2 * moment_1 / h
    r0 = (start - older[0][0]) / (end - start)
    r1 = (older[0][0] - older[1][0]) / (end - start)
    slope_before = (older[0][1] - older[1][1]) / expand(r1, newest)
    bend = (slope - slope_before) / expand(r0 + r1, newest)  # half the second derivative
    # newest + u slope + u (u + r0) bend is the polynomial in Newton's form
    return (
        newest
        + expand(moment_1, newest) * (slope + expand(r0, newest) * bend)
        + expand(moment_2, newest) * bend
    )


@dataclass(frozen=True)
class DPMSolverPP(DataPrediction):
    """DPM-Solver++ multistep: the standard for 10 to 30 evaluations.

        x_s = (σ_s/σ_t) x_t + α_s ∫ e^{λ-λ_s} P(λ) dλ,   λ = log α/σ from λ_t to λ_s

    with P the polynomial through the last ``order`` estimates of x₀. The first steps use what there
    is: order 3 shows from a start where x̂₀ hardly changes, as at pure noise.

    Arguments:
        grid: the times to visit.
        order: 1 (which is DDIM), 2 or 3.

    Reference: Lu et al. 2022, DPM-Solver++, Algorithm 2 and eq. 8. arXiv:2211.01095
    """

    stochastic: ClassVar[bool] = False

    @property
    def noise_level(self) -> float:
        return 0.0


@dataclass(frozen=True)
class SDEDPMSolverPP(DataPrediction):
    """DPM-Solver++ for the reverse SDE: fresh noise corrects earlier errors.

        x_s = (σ_s/σ_t) e^{-ηh} x_t + α_s (1 - e^{-(1+η)h}) P̄ + σ_s √(1 - e^{-2ηh}) z,   h = λ_s - λ_t

    with P̄ the mean of the polynomial P of `DPMSolverPP` weighted by e^{(1+η)λ}. ``order`` is that of
    the deterministic part; the law converges with order 1 at least.

    Arguments:
        grid: the times to visit.
        order: 1, 2 or 3 estimates of x₀ in the polynomial.
        eta: η, how much fresh noise; above 0.

    Reference: Lu et al. 2022, DPM-Solver++, eq. 18, for orders 1 and 2. arXiv:2211.01095
    """

    eta: float = 1.0
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.eta > 0:
            raise InputError(f"eta must be above 0, got {self.eta}; use DPMSolverPP for 0")

    @property
    def noise_level(self) -> float:
        return self.eta
