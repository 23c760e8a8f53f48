"""The noising paths of the literature, each a `Schedule`."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError


@dataclass(frozen=True)
class LinearBeta(Schedule):
    """Paths whose signal decays as α = exp(-½ ∫β) with β linear in time; VP and sub-VP share it."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.beta_min < self.beta_max < math.inf:
            raise InputError(
                f"0 < beta_min < beta_max must hold, got beta_min={self.beta_min}, "
                f"beta_max={self.beta_max}"
            )
        if not 0 < self.t_min < 1:
            raise InputError(f"t_min must lie between 0 and 1, got {self.t_min}")
        if not -self.log_alpha(as_time(self.t_min)) < 0.5 * math.log(2):
            raise InputError(
                f"α² must be above ½ at t_min, which is taken for data: beta_max={self.beta_max:g} is too "
                f"large for t_min={self.t_min:g}"
            )

    def beta(self, t: Tensor) -> Tensor:
        """β(t) = β_min + t (β_max - β_min)."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def log_alpha(self, t: Tensor) -> Tensor:
        """log α(t) = -½ ∫₀ᵗ β."""
        return -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(self.log_alpha(t))

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        # From α' = -½βα and α², whose derivative is -βα².
        t = as_time(t)
        alpha, beta = self.alpha(t), self.beta(t)
        return -0.5 * beta * alpha, beta * alpha**2 * self._sigma_by_signal(t)

    @abstractmethod
    def _sigma_by_signal(self, t: Tensor) -> Tensor:
        """-dσ/d(α²), the factor between the decay of α² and the growth of σ."""

    def drift(self, t: Tensor | float) -> Tensor:
        return -0.5 * self.beta(as_time(t))

    def _time_of(self, log_alpha: Tensor) -> Tensor:
        # The root of ¼ Δ t² + ½ β_min t + log α = 0, written so that nothing cancels at small t.
        c = -4 * log_alpha
        t = c / (self.beta_min + torch.sqrt(self.beta_min**2 + c * (self.beta_max - self.beta_min)))
        return t.clamp(0, 1)


@dataclass(frozen=True)
class VP(LinearBeta):
    """The variance-preserving path: DDPM's noise in continuous time.

        α(t) = exp(-½ ∫β),   σ(t)² = 1 - α(t)²,   β(t) = β_min + t (β_max - β_min)

    Its SDE has f = -½ β and g² = β.

    Arguments:
        beta_min: β(0), the rate at which noise enters at the data end; above 0.
        beta_max: β(1); above beta_min.
        t_min: the time that is taken for data; below 1. Song et al. sample from 1e-3, and measure
            likelihoods from 1e-5, where the noise is an eighth of a grey level.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 11 and App. B.
        arXiv:2011.13456
    """

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(-torch.expm1(2 * self.log_alpha(t)))

    def _sigma_by_signal(self, t: Tensor) -> Tensor:
        return 0.5 / self.sigma(t)

    def diffusion(self, t: Tensor | float) -> Tensor:
        return torch.sqrt(self.beta(as_time(t)))

    def time(self, log_snr: Tensor | float) -> Tensor:
        # α² = sigmoid(log-SNR)
        return self._time_of(-0.5 * torch.nn.functional.softplus(-as_time(log_snr), threshold=50))


@dataclass(frozen=True)
class SubVP(LinearBeta):
    """The sub-variance-preserving path of Song et al.: less noise than VP at every time.

        α(t) = exp(-½ ∫β),   σ(t) = 1 - α(t)²,   β(t) = β_min + t (β_max - β_min)

    Its SDE has f = -½ β and g² = β (1 - α⁴); likelihoods are its strength.

    Arguments:
        beta_min: β(0), the rate at which noise enters at the data end; above 0.
        beta_max: β(1); above beta_min.
        t_min: the time that is taken for data; below 1.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 12 and eq. 29.
        arXiv:2011.13456
    """

    # σ(1e-3) would be 1e-4: levels that no data show, and half of the steps spent on them.
    t_min: float = 1e-2

    def sigma(self, t: Tensor) -> Tensor:
        return -torch.expm1(2 * self.log_alpha(t))

    def _sigma_by_signal(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        # r = α/σ gives r α² + α - r = 0; the root is divided by r so that r → ∞ stays finite.
        inverse = torch.exp(-0.5 * as_time(log_snr))
        return self._time_of(torch.log(2 / (inverse + torch.sqrt(inverse**2 + 4))))


@dataclass(frozen=True)
class VE(Schedule):
    """The variance-exploding path with geometric noise levels.

        α(t) = 1,   σ(t) = σ_min (σ_max/σ_min)ᵗ

    Its SDE has f = 0 and g² = 2 σ² log(σ_max/σ_min). σ(0) = σ_min, so t = 0 is a valid time.

    Arguments:
        sigma_min: the smallest noise level, in units of the data; above 0.
        sigma_max: the largest, about the largest distance between two data points.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 9 and App. C.
        arXiv:2011.13456
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise InputError(
                f"0 < sigma_min < sigma_max must hold, got sigma_min={self.sigma_min}, "
                f"sigma_max={self.sigma_max}"
            )

    @property
    def t_min(self) -> float:
        return 0.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * (self.sigma_max / self.sigma_min) ** t

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        t = as_time(t)
        return torch.zeros_like(t), math.log(self.sigma_max / self.sigma_min) * self.sigma(t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        sigma = torch.exp(-0.5 * as_time(log_snr))
        t = torch.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)
        return t.clamp(0, 1)


@dataclass(frozen=True)
class TutorialVE(Schedule):
    """The variance-exploding path of the score-SDE tutorial, dx = ςᵗ dw.

        α(t) = 1,   σ(t)² = (ς²ᵗ - 1) / (2 log ς)

    Its SDE has f = 0 and g = ςᵗ. Note that the spread of the data at time t is σ(t), not g(t):
    9.8 against 25 at t = 1 for ς = 25.

    Arguments:
        base: ς, the base of the exponential; above 1.

    Reference: Song, Generative Modeling by Estimating Gradients of the Data Distribution (tutorial).
        https://yang-song.net/blog/2021/score/
    """

    base: float = 25.0

    def __post_init__(self) -> None:
        if not 1 < self.base < math.inf:
            raise InputError(f"base must be above 1, got {self.base}")

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        log_base = math.log(self.base)
        return torch.sqrt(torch.expm1(2 * t * log_base) / (2 * log_base))

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        # From (σ²)' = g².
        t = as_time(t)
        return torch.zeros_like(t), 0.5 * self.diffusion(t) ** 2 / self.sigma(t)

    def diffusion(self, t: Tensor | float) -> Tensor:
        return torch.as_tensor(self.base, dtype=torch.float64) ** as_time(t)

    def time(self, log_snr: Tensor | float) -> Tensor:
        log_base = math.log(self.base)
        t = torch.log1p(2 * log_base * torch.exp(-as_time(log_snr))) / (2 * log_base)
        return t.clamp(0, 1)


@dataclass(frozen=True)
class Cosine(Schedule):
    """The cosine path: signal and noise are the legs of a right triangle.

        α(t) = cos(½πt),   σ(t) = sin(½πt)

    No signal is left at t = 1. `DDPM(betas=CosineBetas())` is the discrete chain with its offset.

    Reference: Nichol & Dhariwal 2021, Improved DDPM, eq. 17 with s = 0. arXiv:2102.09672
    """

    def alpha(self, t: Tensor) -> Tensor:
        # sin of the complement is exactly 0 at t = 1, where cos(½π) would leave 6e-17.
        return torch.sin(0.5 * math.pi * (1 - t))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * t)

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        # Each leg grows by what the other is.
        alpha, sigma = self(t)
        return -0.5 * math.pi * sigma, 0.5 * math.pi * alpha

    def time(self, log_snr: Tensor | float) -> Tensor:
        return torch.atan(torch.exp(-0.5 * as_time(log_snr))) * 2 / math.pi


@dataclass(frozen=True)
class Flow(Schedule):
    """The straight path of flow matching and rectified flow.

        α(t) = 1 - t,   σ(t) = t

    Its SDE has f = -1/(1 - t) and g² = 2t/(1 - t); the velocity of the path is ε - x₀.

    Reference: Lipman et al. 2023, Flow Matching for Generative Modeling, eq. 20 with σ_min = 0 and
        time reversed. arXiv:2210.02747
    """

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        one = torch.ones_like(as_time(t))
        return -one, one

    def time(self, log_snr: Tensor | float) -> Tensor:
        return torch.sigmoid(-0.5 * as_time(log_snr))
