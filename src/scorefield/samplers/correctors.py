"""Predict, evaluate, correct with the same evaluation: UniPC for the ODE, SA-Solver for the SDE.

Both put a polynomial through estimates of x₀ under the integral of the data-prediction form, first
through past ones, then through the one at the predicted state too. The corrected state is where the
next step starts; it is not evaluated again, so a step costs one evaluation.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.exponential import data_step
from scorefield.samplers.grids import Grid, UniformLogSNR
from scorefield.samplers.linear import Mean, half_log_snr
from scorefield.samplers.multistep import finite_nodes, mean_weights
from scorefield.samplers.noise import Noise


@dataclass(frozen=True)
class FreeCorrection(Sampler):
    """What UniPC and SA-Solver share: the walk; they choose orders, weights and noise."""

    grid: Grid = UniformLogSNR()

    @property
    @abstractmethod
    def noise_level(self) -> float:
        """η of `data_step`: 0 for the ODE."""

    @abstractmethod
    def orders(self, index: int, steps: int) -> tuple[int, int]:
        """Estimates in the predictor of a step, and in its corrector (0 for none)."""

    @abstractmethod
    def weights(self, nodes: Sequence[float], start: float, end: float) -> list[float]:
        """The weights of estimates at λ = ``nodes`` in their mean from ``start`` to ``end``."""

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        eta = self.noise_level
        lams: list[float] = []
        values: list[Tensor] = []
        origin, before = x, times[0]  # where the last step started
        z: Tensor | None = None  # and its noise
        for i, (t, s) in enumerate(pairwise(times)):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            lams, values = [half_log_snr(schedule, t), *lams[:4]], [x0, *values[:4]]
            # Before α = 0 there is no λ and so no corrector of a step from there.
            nodes = finite_nodes(lams)
            count = self.orders(i - 1, len(times))[1] if len(nodes) > 1 else 0
            if count > 0:
                weights = self.weights(nodes[:count], nodes[1], nodes[0])
                x = data_step(schedule, origin, Mean(weights, values), before, t, eta, z)
            count = self.orders(i, len(times))[0]
            weights = self.weights(nodes[:count], nodes[0], half_log_snr(schedule, s))
            origin, before, z = x, t, noise(x) if eta > 0 else None
            x = data_step(schedule, x, Mean(weights, values), t, s, eta, z)
        yield Step(times[-1], x, denoise(x, times[-1]))


@dataclass(frozen=True)
class UniPC(FreeCorrection):
    """The unified predictor-corrector: one order more than its predictor at no further evaluation.

        predictor   x_s = (σ_s/σ_t) x_t + α_s (1 - e^{-h}) P̄,      P through the last p estimates of x₀
        corrector   the same with P through the estimate at the predicted state as well

    The paper's linear systems are solved by the mean P̄ of that polynomial weighted by e^λ; B(h) cancels
    there and is left where the paper puts a = ½, in means of two estimates:

        P̄ = x̂₀ + ½ (B(h)/(1 - e^{-h})) (x̂₀' - x̂₀)/r,   B₁ = h,   B₂ = 1 - e^{-h},   h = λ_s - λ_t

    The first steps use what there is. The last evaluation counts as a step of order 1, and the step
    before it has order 2 at most.

    Arguments:
        grid: the times to visit.
        predictor_order: p; 1, 2 or 3.
        variant: 'bh1' for B₁ or 'bh2' for B₂.

    Reference: Zhao et al. 2023, UniPC, Algorithms 1 and 2, in data prediction. arXiv:2302.04867
    """

    predictor_order: int = 2
    variant: Literal["bh1", "bh2"] = "bh2"
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.predictor_order not in (1, 2, 3):
            raise InputError(f"predictor_order must be 1, 2 or 3, got {self.predictor_order}")
        if self.variant not in ("bh1", "bh2"):
            raise InputError(f"variant must be 'bh1' or 'bh2', got '{self.variant}'")

    @property
    def order(self) -> int:
        """One more than the predictor's, but the ends of lower order leave 3 at most."""
        return min(self.predictor_order + 1, 3)

    @property
    def noise_level(self) -> float:
        return 0.0

    def orders(self, index: int, steps: int) -> tuple[int, int]:
        order = min(self.predictor_order, index + 1, steps - index)
        return order, order + 1

    def weights(self, nodes: Sequence[float], start: float, end: float) -> list[float]:
        if len(nodes) != 2:
            return mean_weights(nodes, start, end, lambda v: torch.exp(v - end))
        h = end - start
        half = 0.5 if self.variant == "bh2" else -0.5 * h / math.expm1(-h)
        if nodes[1] == start:  # a corrector: the newer estimate is at the end
            return [half, 1 - half]
        share = half * h / (start - nodes[1])
        return [1 + share, -share]


@dataclass(frozen=True)
class SASolver(FreeCorrection):
    """The stochastic Adams solver with a constant noise τ.

        x_s = (σ_s/σ_t) e^{-τ²h} x_t + α_s (1 - e^{-(1+τ²)h}) P̄ + σ_s √(1 - e^{-2τ²h}) z,   h = λ_s - λ_t

    with P̄ the mean of the polynomial through estimates of x₀, weighted by e^{(1+τ²)λ}: first the last
    ones, then the one at the predicted state too, with the same z. The first steps use what there is.

    Arguments:
        grid: the times to visit.
        predictor_order: estimates in the predictor's polynomial; 1 to 4.
        corrector_order: those in the corrector's, the newest included; 1 to 4, or 0 for no corrector.
        tau: τ, how much fresh noise; 1 for Anderson's reverse SDE, 0 for the ODE.

    Reference: Xue et al. 2023, SA-Solver, Algorithm 1. arXiv:2309.05019
    """

    predictor_order: int = 2
    corrector_order: int = 2
    tau: float = 1.0

    def __post_init__(self) -> None:
        if self.predictor_order not in (1, 2, 3, 4):
            raise InputError(f"predictor_order must be 1 to 4, got {self.predictor_order}")
        if self.corrector_order not in (0, 1, 2, 3, 4):
            raise InputError(f"corrector_order must be 0 to 4, got {self.corrector_order}")
        if not 0 <= self.tau < math.inf:
            raise InputError(f"tau must be at least 0 and finite, got {self.tau}")

    @property
    def stochastic(self) -> bool:
        return self.tau > 0

    @property
    def order(self) -> int:
        """1 in law; with τ = 0 the corrector's, or one more than the predictor's if that is less."""
        if self.tau > 0:
            return 1
        if self.corrector_order == 0:
            return self.predictor_order
        return min(self.corrector_order, self.predictor_order + 1)

    @property
    def noise_level(self) -> float:
        return self.tau**2

    def orders(self, index: int, steps: int) -> tuple[int, int]:
        return self.predictor_order, self.corrector_order

    def weights(self, nodes: Sequence[float], start: float, end: float) -> list[float]:
        rate = 1 + self.tau**2
        return mean_weights(nodes, start, end, lambda v: torch.exp(rate * (v - end)))
