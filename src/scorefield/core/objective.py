"""What training minimizes: which times, which weight on each, and how noise meets data.

    E_t E_x₀ E_ε [ w(t) ‖F_θ(x_t) - F‖² ]

A weight is a multiplier on the error of the network's own target; w = λ c_out² turns a weight λ on
‖x̂₀ - x₀‖² into it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.parameterizations import Parameterization
from scorefield.core.schedules import LOG_SNR_FLOOR, Schedule
from scorefield.errors import InputError

NULL_LABEL = -1  # the label that stands for "no label"


@dataclass(frozen=True)
class Times(ABC):
    """A distribution of training times."""

    @abstractmethod
    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        """Times in [t_min, 1], shape (B,), from uniforms ``u`` in [0, 1), shape (B,), float64."""


def _usable(schedule: Schedule, t: Tensor) -> Tensor:
    return t.clamp(schedule.t_min, 1.0)


@dataclass(frozen=True)
class UniformTimes(Times):
    """Every time alike.

        t ~ U[t_min, 1]

    Reference: Song et al. 2021, eq. 7. arXiv:2011.13456
    """

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return schedule.t_min + (1 - schedule.t_min) * u


@dataclass(frozen=True)
class KnotTimes(Times):
    """Only the N knots of a discrete chain, each alike.

        t = i/N,   i ~ U{1 … N}

    Arguments:
        steps: N, as in the schedule; at least 1.

    Reference: Ho et al. 2020, Algorithm 1. arXiv:2006.11239
    """

    steps: int = 1000

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return _usable(schedule, (torch.floor(u * self.steps) + 1) / self.steps)


@dataclass(frozen=True)
class LogNormalTimes(Times):
    """The noise level σ/α is log-normal, as in EDM.

        log(σ/α) ~ N(mean, std²)

    Arguments:
        mean: P_mean, in units of log noise level; EDM has -1.2 for data of standard deviation 0.5.
        std: P_std; above 0.

    Reference: Karras et al. 2022, table 1. arXiv:2206.00364
    """

    mean: float = -1.2
    std: float = 1.2

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise InputError(f"std must be above 0, got {self.std}")

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        log_noise = self.mean + self.std * torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
        return _usable(schedule, schedule.time(-2 * log_noise))


@dataclass(frozen=True)
class LogitNormalTimes(Times):
    """The time itself is logit-normal, as used for rectified flows.

        logit t ~ N(mean, std²)

    Arguments:
        mean: centre of logit t; above 0 leans to noise.
        std: spread of logit t; above 0.

    Reference: Esser et al. 2024, Scaling Rectified Flow Transformers, section 3.1. arXiv:2403.03206
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise InputError(f"std must be above 0, got {self.std}")

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        z = torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
        return _usable(schedule, torch.sigmoid(self.mean + self.std * z))


@dataclass(frozen=True)
class UniformLogSNRTimes(Times):
    """Every log-SNR alike, between the ends of the schedule.

        log-SNR ~ U[log-SNR(1), log-SNR(t_min)]

    Reference: Kingma et al. 2021, Variational Diffusion Models, section 5. arXiv:2107.00630
    """

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        high = schedule.log_snr(schedule.t_min)
        low = schedule.log_snr(1.0).clamp(min=LOG_SNR_FLOOR)
        return _usable(schedule, schedule.time(low + (high - low) * (1 - u)))


@dataclass(frozen=True)
class Weighting(ABC):
    """A weight for each time on the squared error of the network's target."""

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
        _, out = parameterization.inversion(schedule, t)
        return torch.exp(schedule.log_snr(t)) * out**2


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
        return torch.exp(schedule.log_snr(t)).clamp(max=self.gamma) * out**2


@dataclass(frozen=True)
class Likelihood(Weighting):
    """The weight that makes the loss a bound on the negative log-likelihood.

        w = g² α² / (2 σ⁴) c_out²

    Reference: Song et al. 2021, Maximum Likelihood Training of Score-Based Diffusion Models, eq. 7.
        arXiv:2101.09258
    """

    def __call__(self, schedule: Schedule, parameterization: Parameterization, t: Tensor) -> Tensor:
        alpha, sigma = schedule(t)
        _, out = parameterization.inversion(schedule, t)
        return (schedule.diffusion(t) * alpha * out / sigma**2) ** 2 / 2


@dataclass(frozen=True)
class Coupling(ABC):
    """Which noise goes with which data point of a batch."""

    @abstractmethod
    def __call__(self, x0: Tensor, eps: Tensor) -> Tensor:
        """The noise for each data point, shape (B, ...): ``eps`` or a rearrangement of its rows."""


@dataclass(frozen=True)
class Independent(Coupling):
    """Noise and data are independent, as every path here defines.

        (x₀, ε) ~ p(x₀) N(ε; 0, I)

    Reference: Ho et al. 2020, Algorithm 1. arXiv:2006.11239
    """

    def __call__(self, x0: Tensor, eps: Tensor) -> Tensor:
        return eps


@dataclass(frozen=True)
class Objective:
    """The training loss of a denoiser.

        E [ w(t) ‖F_θ(x_t, t) - F‖² / D ],   x_t = α x₀ + σ ε

    Arguments:
        times: the distribution of t; one stratified uniform is drawn for each sample of a batch.
        weighting: the weight on the network's own target.
        coupling: which noise goes with which data.
        drop: the share of labels replaced by "no label", for guidance; from 0 to 1.

    Reference: Song et al. 2021, eq. 7; Ho & Salimans 2022, Algorithm 1, for the dropped labels.
        arXiv:2011.13456, arXiv:2207.12598
    """

    times: Times = UniformTimes()
    weighting: Weighting = Unit()
    coupling: Coupling = Independent()
    drop: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise InputError(f"drop must lie between 0 and 1, got {self.drop}")

    def __call__(
        self,
        denoiser: NetworkDenoiser,
        x0: Tensor,
        *,
        generator: torch.Generator,
        label: Tensor | None = None,
    ) -> Tensor:
        """The weighted loss of each sample, shape (B,).

        Arguments:
            denoiser: what is trained.
            x0: clean data, shape (B, ...), as the denoiser expects it.
            generator: the source of all randomness, on the CPU.
            label: class of each sample, shape (B,), int64; none for unconditional models.
        """
        t, eps, kept = self.draw(denoiser.schedule, x0, label, generator)
        return self.loss(denoiser, x0, t, self.coupling(x0, eps), kept)

    def draw(
        self,
        schedule: Schedule,
        x0: Tensor,
        label: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The random part of a step: times (B,), noise (B, ...) not yet coupled, labels with some dropped.

        Arguments:
            schedule: the path.
            x0: anything of the shape and dtype of the batch; data are not looked at.
            label: class of each sample, shape (B,), int64; none for unconditional models.
            generator: the source of all randomness, on the CPU.
        """
        size = len(x0)
        jitter = torch.rand(size, generator=generator, dtype=torch.float64)
        # One uniform in each of B equal strata, in random order: less noise in the loss.
        u = (torch.randperm(size, generator=generator) + jitter) / size
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        if label is not None and self.drop > 0:
            dropped = torch.rand(size, generator=generator) < self.drop
            label = torch.where(dropped.to(label.device), NULL_LABEL, label)
        return self.times(schedule, u), eps, label

    def loss(
        self,
        denoiser: NetworkDenoiser,
        x0: Tensor,
        t: Tensor,
        eps: Tensor,
        label: Tensor | None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """The weighted loss of each sample, shape (B,), with nothing random left in it."""
        weight = self.weighting(denoiser.schedule, denoiser.parameterization, t)
        given = {"label": label, "augment": augment}
        cond = {name: value for name, value in given.items() if value is not None}
        return weight.to(x0) * denoiser.loss(x0, t, eps, **cond)
