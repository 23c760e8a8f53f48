"""Exponential integrators: the flow with its linear part exact, in x̂₀, in ε̂ and in v̂.

With λ = log α/σ and u = σ/α the flow is, in its three forms,

    x_s = (σ_s/σ_t) x_t + α_s ∫ e^{λ-λ_s} x̂₀ dλ,   x_s = (α_s/α_t) x_t + α_s ∫ ε̂ du,   d(x/n) = v̂ dφ

A multistep method puts the polynomial through the last values under the integral.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError
from scorefield.samplers.grids import Grid, UniformLogSNR
from scorefield.samplers.linear import Mean, combined, half_log_snr, levels, moved
from scorefield.samplers.multistep import (
    Multistep,
    NoisePrediction,
    even_weights,
    exponential_weights,
)
from scorefield.samplers.noise import Noise


def _check_order(order: int) -> None:
    if order not in (1, 2, 3):
        raise InputError(f"order must be 1, 2 or 3, got {order}")


def data_step(
    schedule: Schedule,
    x: Tensor,
    mean: Mean,
    t: Tensor,
    s: Tensor,
    eta: float,
    z: Tensor | None,
) -> Tensor:
    """A step from t to s given the mean of x̂₀ between them, weighted by e^{(1+η)λ}.

        x_s = (σ_s/σ_t) e^{-ηh} x_t + α_s (1 - e^{-(1+η)h}) x̂₀ + σ_s √(1 - e^{-2ηh}) z,   h = λ_s - λ_t

    Arguments:
        schedule: the path.
        x: the state x_t, shape (B, ...).
        mean: the mean of x̂₀.
        t: the time of x, shape ().
        s: the time wanted, shape ().
        eta: η; 0 for the ODE.
        z: standard normal noise, shape (B, ...); none for the ODE.
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(schedule, t), levels(schedule, s)
    # e^{-h}, h = λ_s - λ_t, as a ratio: it is 0, and all stays finite, where no signal is left.
    decay = alpha_t * sigma_s / (alpha_s * sigma_t)
    shrink = decay**eta
    keep, add = sigma_s / sigma_t * shrink, alpha_s * (1 - decay * shrink)
    return moved(keep, x, add, mean, sigma_s * math.sqrt(1 - shrink**2), z)


@dataclass(frozen=True)
class DataPrediction(Multistep):
    """The multistep method that DPM-Solver++ and its SDE form share."""

    grid: Grid = UniformLogSNR()
    order: int = 2

    def __post_init__(self) -> None:
        _check_order(self.order)

    @property
    @abstractmethod
    def noise_level(self) -> float:
        """η: 0 for the ODE, 1 for the SDE."""

    @property
    def memory(self) -> int:
        return self.order

    def value(self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        return x0

    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        nodes = [half_log_snr(schedule, t) for t in times]
        return exponential_weights(nodes, half_log_snr(schedule, s), 1 + self.noise_level)

    def advance(
        self,
        schedule: Schedule,
        x: Tensor,
        x0: Tensor,
        mean: Mean,
        t: Tensor,
        s: Tensor,
        noise: Noise,
    ) -> Tensor:
        eta = self.noise_level
        return data_step(schedule, x, mean, t, s, eta, noise(x) if eta > 0 else None)


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

    with P̄ the mean of the polynomial P of `DPMSolverPP` weighted by e^{(1+η)λ}. The law converges with
    order 1 or 2 as ``order`` says, and with order 2 for 3: a polynomial through noisy estimates of x₀
    does not know when within a step the noise came.

    Arguments:
        grid: the times to visit.
        order: 1, 2 or 3 estimates of x₀ in the polynomial; the order of the method without noise.
        eta: η, how much fresh noise; above 0.

    Reference: Lu et al. 2022, DPM-Solver++, eq. 18, for orders 1 and 2; Crowson 2023, k-diffusion,
        sample_dpmpp_3m_sde, for order 3. arXiv:2211.01095, https://github.com/crowsonkb/k-diffusion
    """

    eta: float = 1.0
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.eta < math.inf:
            raise InputError(
                f"eta must be above 0 and finite, got {self.eta}; use DPMSolverPP for 0"
            )

    @property
    def noise_level(self) -> float:
        return self.eta


@dataclass(frozen=True)
class DPMSolver(NoisePrediction):
    """DPM-Solver in its multistep form, which predicts noise.

        x_s = (α_s/α_t) x_t - σ_s ∫ e^{λ_s-λ} P(λ) dλ,   λ = log α/σ from λ_t to λ_s

    with P the polynomial through the last ``order`` estimates of ε. `DPMSolverPP` is the same in x̂₀,
    and steadier at few steps; the first steps use what there is, as there.

    Arguments:
        grid: the times to visit.
        order: 1 (which is DDIM), 2 or 3.

    Reference: Lu et al. 2022, DPM-Solver, eq. 3.4 and Theorem 3.2; DPM-Solver++, App. B, for the
        multistep form. arXiv:2206.00927, arXiv:2211.01095
    """

    grid: Grid = UniformLogSNR()
    order: int = 2
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_order(self.order)

    @property
    def memory(self) -> int:
        return self.order

    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        nodes = [half_log_snr(schedule, t) for t in times]
        return exponential_weights(nodes, half_log_snr(schedule, s), -1)


@dataclass(frozen=True)
class VExponential(Multistep):
    """The exponential integrator in v̂: exact in one step for white data of the given spread.

        x_s/n_s = x_t/n_t + ∫ P(φ) dφ,   v̂ = cos φ ε̂ - sin φ x̂₀/c,   tan φ = σ/(cα),   n = √(c²α² + σ²)

    with P the polynomial through the last ``order`` values of v̂. Data N(0, c² I) have v̂ = 0 and never
    move in x/n, so that the linear part is theirs. Nothing is infinite where no signal is left (φ = π/2).

    Arguments:
        grid: the times to visit.
        order: 1, 2 or 3 values of v̂ in the polynomial.
        sigma_data: c, the standard deviation of the data; above 0.

    Reference: Salimans & Ho 2022, Progressive Distillation, App. D, for v and φ with c = 1; Karras et
        al. 2022, Table 1, whose F is -v̂. arXiv:2202.00512, arXiv:2206.00364
    """

    grid: Grid = UniformLogSNR()
    order: int = 2
    sigma_data: float = 1.0
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check_order(self.order)
        if not 0 < self.sigma_data < math.inf:
            raise InputError(f"sigma_data must be above 0, got {self.sigma_data}")

    @property
    def memory(self) -> int:
        return self.order

    def _turned(self, schedule: Schedule, t: Tensor) -> tuple[float, float]:
        """n and φ."""
        alpha, sigma = levels(schedule, t)
        return math.hypot(self.sigma_data * alpha, sigma), math.atan2(
            sigma, self.sigma_data * alpha
        )

    def value(self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        (alpha, sigma), (_, angle) = levels(schedule, t), self._turned(schedule, t)
        cosine, sine = math.cos(angle) / sigma, math.sin(angle) / self.sigma_data
        return combined([cosine, -cosine * alpha - sine], [x, x0])

    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        nodes = [self._turned(schedule, t)[1] for t in times]
        return even_weights(nodes, nodes[0], self._turned(schedule, s)[1])

    def advance(
        self,
        schedule: Schedule,
        x: Tensor,
        x0: Tensor,
        mean: Mean,
        t: Tensor,
        s: Tensor,
        noise: Noise,
    ) -> Tensor:
        (norm_t, angle_t), (norm_s, angle_s) = (self._turned(schedule, at) for at in (t, s))
        return moved(norm_s / norm_t, x, norm_s * (angle_s - angle_t), mean)
