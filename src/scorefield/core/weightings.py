"""How much the error at each time counts.

A weight is a multiplier on the error of the network's own target; w = λ c_out² turns a weight λ on
‖x̂₀ - x₀‖² into it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.parameterizations import Parameterization
from scorefield.core.schedule import Schedule
from scorefield.errors import InputError


@dataclass(frozen=True)
class Weighting(ABC):
    """A weight for each time on the squared error of the network's target."""

    learned: ClassVar[bool] = False  # whether it becomes right by training, beside the network

    @abstractmethod
    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        """The weight on ‖F_θ - F‖², of the shape of ``t``."""


@dataclass(frozen=True)
class Unit(Weighting):
    """1 on the network's own target: L_simple for noise, EDM's loss for EDM, flow matching's for velocity.

        w = 1

    Reference: Ho et al. 2020, eq. 14. arXiv:2006.11239
    """

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        return torch.ones_like(t)


@dataclass(frozen=True)
class SNR(Weighting):
    """α²/σ² on the error of x₀, which is 1 on the error of the noise.

        w = (α²/σ²) c_out²

    Reference: Salimans & Ho 2022, section 4. arXiv:2202.00512
    """

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        return parameterization.noise_error(schedule, t) ** 2


@dataclass(frozen=True)
class TruncatedSNR(Weighting):
    """The SNR weight, but no less than 1 on the error of x₀ where there is much noise.

        w = max(α²/σ², 1) c_out²

    Reference: Salimans & Ho 2022, Progressive Distillation, section 4. arXiv:2202.00512
    """

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        _, out = parameterization.inversion(schedule, t)
        return torch.exp(schedule.log_snr(t)).clamp(min=1) * out**2


@dataclass(frozen=True)
class MinSNR(Weighting):
    """The SNR weight, cut off where there is little noise.

        w = min(α²/σ², γ) c_out²

    Arguments:
        gamma: γ, the largest weight on the error of x₀; above 0.

    Reference: Hang et al. 2023, Efficient Diffusion Training via Min-SNR Weighting, section 3.4.
        arXiv:2303.09556
    """

    gamma: float = 5.0

    def __post_init__(self) -> None:
        if not self.gamma > 0:
            raise InputError(f"gamma must be above 0, got {self.gamma}")

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        _, out = parameterization.inversion(schedule, t)
        whole = SNR()(schedule, parameterization, t)
        return torch.where(schedule.log_snr(t).exp() < self.gamma, whole, self.gamma * out**2)


@dataclass(frozen=True)
class EDMWeight(Weighting):
    """The published weight of EDM at the noise level σ/α, whatever the network regresses on.

        w = (σ²/α² + s²) / (s σ/α)² c_out²,   s = σ_data

    With the parameterization `EDM` it is `Unit`, on every path.

    Reference: Karras et al. 2022, table 1. arXiv:2206.00364
    """

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        # α²/σ² + 1/s², which is the same and is finite where no signal is left
        _, out = parameterization.inversion(schedule, t)
        return (torch.exp(schedule.log_snr(t)) + parameterization.scale**-2) * out**2


@dataclass(frozen=True)
class Likelihood(Weighting):
    """The weight that makes the loss a bound on the negative log-likelihood.

        w = g² α² / (2 σ⁴) c_out² = α (α σ' - σ α') / σ³ c_out²

    Reference: Song et al. 2021, Maximum Likelihood Training of Score-Based Diffusion Models, eq. 7.
        arXiv:2101.09258
    """

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        # The second form: g is infinite where no signal is left, and g α is not.
        (alpha, sigma), (alpha_rate, sigma_rate) = schedule(t), schedule.rates(t)
        _, out = parameterization.inversion(schedule, t)
        return alpha * (alpha * sigma_rate - sigma * alpha_rate) / sigma**3 * out**2


@dataclass(frozen=True)
class Uncertainty(Weighting):
    """Every time's loss over what is expected there, which is learned: all times count alike.

        w = e^{-u(c_noise)},   E[e^{-u} L + u] is least at u = log E[L | c_noise]

    u is a linear map of sines and cosines of c_noise. It is trained beside the network, is no part of the
    model, and starts at 0, where this is `Unit`. The loss that is reported is e^{-u} L + u, which may be
    below 0.

    Reference: Karras et al. 2024, Analyzing and Improving the Training Dynamics of Diffusion Models,
        eq. 14 and 15. arXiv:2312.02696
    """

    learned: ClassVar[bool] = True

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        return torch.ones_like(t)
