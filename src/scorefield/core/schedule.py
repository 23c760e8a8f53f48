"""What a noising path is: x_t = α(t) x₀ + σ(t) ε for t from 0 (data) to 1 (noise).

α and σ define a path. Everything else, the drift f, the diffusion g and the log-SNR with its inverse,
is derived once in `Schedule`, and overridden only where a closed form is faster: given α and σ with
α/σ decreasing there is exactly one SDE dx = f x dt + g dw with those marginals.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# log-SNR at which a path with α(1) = 0 is cut off where a finite number is needed: σ/α = 148, as in VP.
LOG_SNR_FLOOR = -10.0
NO_SIGNAL = math.exp(-7.5)  # α below which a path is taken to have no signal left


def as_time(t: Tensor | float) -> Tensor:
    """Times are float64 wherever they are computed; they meet the dtype of x last."""
    return torch.as_tensor(t, dtype=torch.float64)


@dataclass(frozen=True)
class Schedule(ABC):
    """A Gaussian noising path x_t = α(t) x₀ + σ(t) ε on t ∈ [0, 1]; t = 0 is data, t = 1 is noise.

    α/σ must decrease. Two methods, `alpha` and `sigma`, define one; the rest follows:

        f = α'/α,   g² = 2σσ' - 2fσ²,   log-SNR = log α²/σ²
    """

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Signal scale α(t), of the shape of ``t``."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Noise scale σ(t), of the shape of ``t``."""

    @property
    def t_min(self) -> float:
        """The smallest time a network is shown; the result of sampling is x̂₀ there."""
        return 1e-3

    def __call__(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """α(t) and σ(t) in float64."""
        t = as_time(t)
        return self.alpha(t), self.sigma(t)

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        """α'(t) and σ'(t), by forward-mode differentiation unless a path knows better."""
        t = as_time(t).contiguous()  # forward mode takes no expanded tensors
        rates: tuple[Tensor, Tensor] = torch.func.jvp(self, (t,), (torch.ones_like(t),))[1]
        return rates

    def log_snr(self, t: Tensor | float) -> Tensor:
        """log α²/σ², decreasing in t; infinite where α or σ is 0."""
        alpha, sigma = self(t)
        return 2 * (torch.log(alpha) - torch.log(sigma))

    def noisy_log_snr(self, t: Tensor | float) -> Tensor:
        """log-SNR of a time near t = 1, or -10 where no signal is left."""
        # By α, not by σ/α: VE keeps all signal, and how much noise is much depends on the data's unit.
        return torch.where(self(t)[0] < NO_SIGNAL, LOG_SNR_FLOOR, self.log_snr(t))

    @cached_property
    def noisiest(self) -> float:
        """log-SNR at t = 1, or -10 where no signal is left there."""
        return float(self.noisy_log_snr(1.0))

    def time(self, log_snr: Tensor | float) -> Tensor:
        """The time of a log-SNR, the inverse of `log_snr`, held to [0, 1]; by bisection."""
        target = as_time(log_snr)
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(60):
            mid = (low + high) / 2
            noisy = self.log_snr(mid) < target
            low, high = torch.where(noisy, low, mid), torch.where(noisy, mid, high)
        return (low + high) / 2

    def drift(self, t: Tensor | float) -> Tensor:
        """f(t) = α'/α of the forward SDE dx = f x dt + g dw."""
        t = as_time(t)
        return self.rates(t)[0] / self.alpha(t)

    def diffusion(self, t: Tensor | float) -> Tensor:
        """g(t) = √(2σσ' - 2fσ²) of the forward SDE dx = f x dt + g dw."""
        alpha, sigma = self(t)
        alpha_rate, sigma_rate = self.rates(t)
        return torch.sqrt(2 * sigma * (sigma_rate - sigma * alpha_rate / alpha))
