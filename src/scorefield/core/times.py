"""At which times a network is trained: distributions on the path, each a map of a uniform number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.schedules import LOG_SNR_FLOOR, Schedule
from scorefield.errors import InputError


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
