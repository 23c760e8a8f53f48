"""Adams-Bashforth methods for dx/α = ε̂ du, u = σ/α: DEIS, LMS and iPNDM.

They differ in the variable of the polynomial through past ε̂: time, u itself, or none (constant weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError
from scorefield.samplers.grids import Grid, UniformLogSNR
from scorefield.samplers.linear import half_log_snr, noise_to_signal
from scorefield.samplers.multistep import NoisePrediction, even_weights, finite_nodes, mean_weights

# Newest first; each row is the mean over the next of equal steps of the polynomial through the last.
ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


@dataclass(frozen=True)
class UpToFour(NoisePrediction):
    """A polynomial through the last ``order`` estimates of ε, up to four."""

    grid: Grid = UniformLogSNR()
    order: int = 4
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3, 4):
            raise InputError(f"order must be 1 to 4, got {self.order}")

    @property
    def memory(self) -> int:
        return self.order


@dataclass(frozen=True)
class DEIS(UpToFour):
    """The diffusion exponential integrator sampler with polynomials in time, tAB-DEIS.

        x_s = (α_s/α_t) x_t + α_s ∫ P(τ) u'(τ) dτ from t to s,   u = σ/α

    with P the polynomial in time through the last ``order`` estimates of ε, of degree r = order - 1 in
    the paper's count. The first steps use what there is. On the `DDPM` chain, whose path has a kink at
    each knot, the order is 2 at most.

    Arguments:
        grid: the times to visit.
        order: 1 (which is DDIM) to 4.

    Reference: Zhang & Chen 2023, Fast Sampling of Diffusion Models with Exponential Integrator, eq. 14 and
        eq. 15. arXiv:2204.13902
    """

    order: int = 3

    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        # Over λ, for u' is all but singular in time at the data's end of most paths; du ∝ e^{-λ} dλ.
        if len(times) == 1:
            return [1.0]
        start, end = half_log_snr(schedule, times[0]), half_log_snr(schedule, s)
        nodes = [float(t) for t in times]
        return mean_weights(
            nodes, start, end, lambda v: torch.exp(end - v), lambda v: schedule.time(2 * v)
        )


@dataclass(frozen=True)
class LMS(UpToFour):
    """The linear multistep method in the noise level, as known from k-diffusion.

        x_s = (α_s/α_t) x_t + α_s ∫ P(u) du,   u = σ/α

    with P the polynomial in u through the last ``order`` estimates of ε, integrated exactly. The first
    steps use what there is.

    Arguments:
        grid: the times to visit.
        order: 1 (which is DDIM) to 4.

    Reference: Crowson 2022, k-diffusion, sample_lms; Hairer, Nørsett & Wanner 1993, Solving Ordinary
        Differential Equations I, section III.5, for variable steps.
        https://github.com/crowsonkb/k-diffusion
    """

    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        nodes = finite_nodes([noise_to_signal(schedule, t) for t in times])
        return even_weights(nodes, nodes[0], noise_to_signal(schedule, s))


@dataclass(frozen=True)
class IPNDM(NoisePrediction):
    """The improved pseudo numerical method: DDIM's step with constant Adams-Bashforth weights.

        x_s = (α_s/α_t) x_t + (σ_s - α_s σ_t/α_t) ε̄,   ε̄ = (55 ε̂₀ - 59 ε̂₁ + 37 ε̂₂ - 9 ε̂₃)/24

    of the last four estimates, or (23, -16, 5)/12, (3, -1)/2 and 1 of fewer; the first steps use what
    there is. The weights are those of equal steps of σ/α, as `Karras(rho=1)` takes them: there the order
    is ``estimates``. On other grids it is 2 at most, with a small error none the less.

    Arguments:
        grid: the times to visit.
        estimates: how many estimates of ε to use; 1 (which is DDIM) to 4.

    Reference: Liu et al. 2022, Pseudo Numerical Methods for Diffusion Models, eq. 12; Zhang & Chen 2023,
        App. H.2, for iPNDM. arXiv:2202.09778, arXiv:2204.13902
    """

    grid: Grid = UniformLogSNR()
    estimates: int = 4
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.estimates not in (1, 2, 3, 4):
            raise InputError(f"estimates must be 1 to 4, got {self.estimates}")

    @property
    def order(self) -> int:
        """On any grid; on equal steps of σ/α it is ``estimates``."""
        return min(self.estimates, 2)

    @property
    def memory(self) -> int:
        return self.estimates

    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        return list(ADAMS_BASHFORTH[len(times) - 1])
