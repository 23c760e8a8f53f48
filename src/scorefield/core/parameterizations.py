"""What a network regresses on: F ≈ a x₀ + b ε, and how x₀ is read back from it.

x_t = α x₀ + σ ε and F = a x₀ + b ε are two equations in x₀ and ε; one 2×2 solve,

    x₀ = (b x_t - σ F) / (α b - σ a) = c_skip x_t + c_out F,

replaces a converter for each pair of prediction types.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError

# log(σ/α)/4 below this is cut off: σ/α = e⁻²⁰ tells a network nothing more.
CLEANEST = -5.0


@dataclass(frozen=True)
class Parameterization(ABC):
    """What the network regresses on, F ≈ a x₀ + b ε, in coordinates where the data have mean 0."""

    sigma_data: float | None = None

    def __post_init__(self) -> None:
        if self.sigma_data is not None and not self.sigma_data > 0:
            raise InputError(f"sigma_data must be above 0, got {self.sigma_data}")

    @property
    def scale(self) -> float:
        """σ_data as a number: 1 until it is set or measured."""
        return 1.0 if self.sigma_data is None else self.sigma_data

    @abstractmethod
    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """The coefficients a and b of the target F = a x₀ + b ε, of the shape of ``t``."""

    def inversion(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """c_skip and c_out of x̂₀ = c_skip x_t + c_out F."""
        _, sigma, b, determinant = self._system(schedule, t)
        return b / determinant, -sigma / determinant

    def noise_error(self, schedule: Schedule, t: Tensor | float) -> Tensor:
        """What an error of F is on the noise, -α c_out/σ, or its limit where no signal is left."""
        alpha, _, b, determinant = self._system(schedule, t)
        # There the determinant of targets without x₀ is 0 too, and α over it 1/b.
        return torch.where(determinant == 0, 1 / b, alpha / determinant)

    def _system(
        self, schedule: Schedule, t: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """α, σ, b and the determinant of x = α x₀ + σ ε, F = a x₀ + b ε."""
        alpha, sigma = schedule(t)
        a, b = self.target(schedule, t)
        return alpha, sigma, b, alpha * b - sigma * a

    def input_scale(self, schedule: Schedule, t: Tensor | float) -> Tensor:
        """c_in = 1/√(α² σ_data² + σ²), which gives the network's input unit variance."""
        alpha, sigma = schedule(t)
        return torch.rsqrt((alpha * self.scale) ** 2 + sigma**2)

    def condition(self, schedule: Schedule, t: Tensor | float) -> Tensor:
        """c_noise = log(σ/α)/4, clamped: what the network is told about the time.

        On paths that leave no signal at t = 1, where it would be infinite, no more than 1.25: sampling
        begins there, and training hardly ever sees what lies beyond.
        """
        return (-schedule.log_snr(t) / 8).clamp(CLEANEST, -schedule.noisiest / 8)


@dataclass(frozen=True)
class X0(Parameterization):
    """The clean data.

        F = x₀

    Arguments:
        sigma_data: standard deviation of the data; measured from them when training if not given.

    Reference: Ho et al. 2020, section 3.2. arXiv:2006.11239
    """

    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        alpha, _ = schedule(t)
        return torch.ones_like(alpha), torch.zeros_like(alpha)


@dataclass(frozen=True)
class Noise(Parameterization):
    """The noise, as in DDPM.

        F = ε

    Arguments:
        sigma_data: standard deviation of the data; measured from them when training if not given.

    Reference: Ho et al. 2020, eq. 14. arXiv:2006.11239
    """

    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        alpha, _ = schedule(t)
        return torch.zeros_like(alpha), torch.ones_like(alpha)


@dataclass(frozen=True)
class V(Parameterization):
    """The v of progressive distillation.

        F = α ε - σ x₀

    Arguments:
        sigma_data: standard deviation of the data; measured from them when training if not given.

    Reference: Salimans & Ho 2022, Progressive Distillation, App. D. arXiv:2202.00512
    """

    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        alpha, sigma = schedule(t)
        return -sigma, alpha


@dataclass(frozen=True)
class Velocity(Parameterization):
    """The velocity of the path, as in flow matching.

        F = α' x₀ + σ' ε

    Arguments:
        sigma_data: standard deviation of the data; measured from them when training if not given.

    Reference: Lipman et al. 2023, Flow Matching for Generative Modeling, eq. 9. arXiv:2210.02747
    """

    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        return schedule.rates(t)


@dataclass(frozen=True)
class Score(Parameterization):
    """The score ∇ log p_t, as the tutorial's network gives it.

        F = -ε/σ

    Arguments:
        sigma_data: standard deviation of the data; measured from them when training if not given.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 7. arXiv:2011.13456
    """

    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        _, sigma = schedule(t)
        return torch.zeros_like(sigma), -1 / sigma


@dataclass(frozen=True)
class EDM(Parameterization):
    """The preconditioning of EDM, on any path: a target of unit variance at every time.

        F = (σ x₀/s - α s ε) / √(α² s² + σ²),   s = σ_data

    Up to sign this is v-prediction for data scaled to unit variance.

    Arguments:
        sigma_data: standard deviation of the data; measured from them when training if not given.

    Reference: Karras et al. 2022, Elucidating the Design Space, table 1 and App. B.6. arXiv:2206.00364
    """

    def target(self, schedule: Schedule, t: Tensor | float) -> tuple[Tensor, Tensor]:
        alpha, sigma = schedule(t)
        c_in = self.input_scale(schedule, t)
        return sigma * c_in / self.scale, -alpha * self.scale * c_in
