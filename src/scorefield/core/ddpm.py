"""The discrete chain of DDPM as a continuous path through its N published noise levels.

A chain is given by its step variances β₁ … β_N. ᾱ_i = Π_{j≤i} (1 - β_j) is the signal left after i
steps; the path passes through α² = ᾱ_i at the knots t_i = i/N, so that every sampler, plot and
likelihood works on it, and the `Knots` grid gives the chain back exactly.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError


@dataclass(frozen=True)
class Betas(ABC):
    """The step variances β₁ … β_N of a discrete chain."""

    @abstractmethod
    def values(self, steps: int) -> Tensor:
        """β₁ … β_N as a float64 tensor of shape (steps,), each strictly between 0 and 1."""


def _ramp(first: float, last: float, steps: int) -> Tensor:
    return torch.linspace(first, last, steps, dtype=torch.float64)


@dataclass(frozen=True)
class LinearBetas(Betas):
    """β_i linear from first to last.

        β_i = β₁ + (i - 1)/(N - 1) (β_N - β₁)

    Arguments:
        first: β₁.
        last: β_N.

    Reference: Ho et al. 2020, Denoising Diffusion Probabilistic Models, section 4. arXiv:2006.11239
    """

    first: float = 1e-4
    last: float = 0.02

    def values(self, steps: int) -> Tensor:
        return _ramp(self.first, self.last, steps)


@dataclass(frozen=True)
class QuadraticBetas(Betas):
    """√β_i linear from first to last; also called scaled-linear.

        √β_i = √β₁ + (i - 1)/(N - 1) (√β_N - √β₁)

    Arguments:
        first: β₁.
        last: β_N.

    Reference: Ho et al. 2020, the 'quad' schedule of the published code; Rombach et al. 2022 use it
        with 0.00085 and 0.012. arXiv:2112.10752
    """

    first: float = 1e-4
    last: float = 0.02

    def __post_init__(self) -> None:
        for name in ("first", "last"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")

    def values(self, steps: int) -> Tensor:
        return _ramp(math.sqrt(self.first), math.sqrt(self.last), steps) ** 2


@dataclass(frozen=True)
class CosineBetas(Betas):
    """ᾱ follows a squared cosine, with an offset that keeps the first steps from being too small.

        ᾱ_i = h(i/N)/h(0),   h(u) = cos²(½π (u + s)/(1 + s)),   β_i = min(1 - ᾱ_i/ᾱ_{i-1}, β_max)

    Arguments:
        offset: s.
        largest: β_max, the cap on a single β.

    Reference: Nichol & Dhariwal 2021, Improved DDPM, eq. 17. arXiv:2102.09672
    """

    offset: float = 0.008
    largest: float = 0.999

    def values(self, steps: int) -> Tensor:
        u = torch.arange(steps + 1, dtype=torch.float64) / steps
        h = torch.cos(0.5 * math.pi * (u + self.offset) / (1 + self.offset)) ** 2
        return (1 - h[1:] / h[:-1]).clamp(max=self.largest)


@dataclass(frozen=True)
class ConstantBetas(Betas):
    """The same β at every step.

        β_i = β

    Arguments:
        value: β.

    Reference: Ho et al. 2020, the 'const' schedule of the published code. arXiv:2006.11239
    """

    value: float = 0.02

    def values(self, steps: int) -> Tensor:
        return torch.full((steps,), self.value, dtype=torch.float64)


@dataclass(frozen=True)
class SigmoidBetas(Betas):
    """β_i follows a logistic curve from first to last.

        β_i = β₁ + (β_N - β₁) sigmoid(-6 + 12 (i - 1)/(N - 1))

    Arguments:
        first: β at the lower end of the curve.
        last: β at the upper end.

    Reference: Xu et al. 2022, GeoDiff, the 'sigmoid' schedule of the published code. arXiv:2203.02923
    """

    first: float = 1e-4
    last: float = 0.02

    def values(self, steps: int) -> Tensor:
        return self.first + (self.last - self.first) * torch.sigmoid(_ramp(-6, 6, steps))


@dataclass(frozen=True)
class GivenBetas(Betas):
    """Your own β₁ … β_N.

        β_i as listed

    Arguments:
        numbers: the N step variances, each strictly between 0 and 1; N must equal the chain's steps.

    Reference: Ho et al. 2020, Denoising Diffusion Probabilistic Models, eq. 2. arXiv:2006.11239
    """

    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", tuple(self.numbers))  # a list would have no hash

    def values(self, steps: int) -> Tensor:
        if len(self.numbers) != steps:
            raise InputError(f"{len(self.numbers)} betas were given for a chain of {steps} steps")
        return torch.tensor(self.numbers, dtype=torch.float64)


@dataclass(frozen=True)
class DDPM(Schedule):
    """The discrete DDPM chain, continued between its knots t_i = i/N.

        α(t_i)² = ᾱ_i = Π_{j≤i} (1 - β_j),   σ² = 1 - α²,   log-SNR linear between the knots

    Exact at the knots. Sample with the `Knots` grid and train with `KnotTimes` for the chain itself.

    Arguments:
        steps: N, the number of knots; at least 2.
        betas: the step variances β₁ … β_N.

    Reference: Ho et al. 2020, Denoising Diffusion Probabilistic Models, eq. 4. arXiv:2006.11239
    """

    steps: int = 1000
    betas: Betas = LinearBetas()

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise InputError(f"steps must be at least 2, got {self.steps}")
        beta = self.betas.values(self.steps)
        if not bool(((beta > 0) & (beta < 1)).all()):
            raise InputError(
                f"each beta must lie strictly between 0 and 1, got {beta.min():g} to {beta.max():g}"
            )

    @property
    def t_min(self) -> float:
        return 1 / self.steps

    def log_snr(self, t: Tensor | float) -> Tensor:
        return _interpolate(as_time(t), *_knots(self))

    def time(self, log_snr: Tensor | float) -> Tensor:
        times, values = _knots(self)
        return _interpolate(as_time(log_snr), values.flip(0), times.flip(0)).clamp(0, 1)

    def rates(self, t: Tensor | float) -> tuple[Tensor, Tensor]:
        # By hand: λ' is at hand, and forward mode takes longer than all steps of a sampler.
        alpha, sigma = self(t)
        _, _, slope = _piece(as_time(t), *_knots(self))
        return 0.5 * alpha * sigma**2 * slope, -0.5 * sigma * alpha**2 * slope

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sqrt(torch.sigmoid(self.log_snr(t)))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(torch.sigmoid(-self.log_snr(t)))


@lru_cache(maxsize=32)
def _knots(schedule: DDPM) -> tuple[Tensor, Tensor]:
    """The knots t_i and their log-SNR."""
    beta = schedule.betas.values(schedule.steps)
    log_signal = torch.log1p(-beta).cumsum(0)
    log_snr = log_signal - torch.log(-torch.expm1(log_signal))
    return torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps, log_snr


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear through increasing ``xs``; the end pieces go on beyond the ends."""
    begin, value, slope = _piece(x, xs, ys)
    return value + (x - begin) * slope


def _piece(x: Tensor, xs: Tensor, ys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where the piece that x lies in begins, the value there, and its slope."""
    xs, ys = xs.to(x.device), ys.to(x.device)
    i = torch.searchsorted(xs, x.detach().contiguous()).clamp(1, len(xs) - 1)
    return xs[i - 1], ys[i - 1], (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1])
