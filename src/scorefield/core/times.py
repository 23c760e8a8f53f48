"""At which times a network is trained: distributions on the path, each a map of a uniform number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError, check_count


@dataclass(frozen=True)
class Times(ABC):
    """A distribution of training times."""

    @abstractmethod
    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        """Times in [t_min, 1], shape (B,), from uniforms ``u`` in [0, 1), shape (B,), float64."""

    @abstractmethod
    def correction(self, schedule: Schedule, t: Tensor) -> Tensor:
        """The density that is meant over the one that is drawn from, of the shape of ``t``.

        It multiplies the loss, so that times may be drawn as often as is useful and count as is meant.
        """

    @property
    @abstractmethod
    def stretches(self) -> int:
        """Into how many equal stretches of time losses are to be told apart; 0 if they do not matter."""

    @abstractmethod
    def knowing(self, squares: Tensor) -> Times:
        """These times once the mean squared loss of each stretch is known, shape (stretches,)."""


@dataclass(frozen=True)
class FixedTimes(Times, ABC):
    """Times that stay as they are, whatever the losses, and are drawn as they are meant."""

    def correction(self, schedule: Schedule, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    @property
    def stretches(self) -> int:
        return 0

    def knowing(self, squares: Tensor) -> Times:
        return self


def _usable(schedule: Schedule, t: Tensor) -> Tensor:
    return t.clamp(schedule.t_min, 1.0)


@dataclass(frozen=True)
class UniformTimes(FixedTimes):
    """Every time alike.

        t ~ U[t_min, 1]

    Reference: Song et al. 2021, eq. 7. arXiv:2011.13456
    """

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return schedule.t_min + (1 - schedule.t_min) * u


@dataclass(frozen=True)
class KnotTimes(FixedTimes):
    """Only the N knots of a discrete chain, each alike.

        t = i/N,   i ~ U{1 … N}

    Arguments:
        steps: N, as in the schedule; at least 1.

    Reference: Ho et al. 2020, Algorithm 1. arXiv:2006.11239
    """

    steps: int = 1000

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return _usable(schedule, (torch.floor(u * self.steps) + 1) / self.steps)


@dataclass(frozen=True)
class LogNormalTimes(FixedTimes):
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
class LogitNormalTimes(FixedTimes):
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
class UniformLogSNRTimes(FixedTimes):
    """Every log-SNR alike, between the ends of the schedule.

        log-SNR ~ U[log-SNR(1), log-SNR(t_min)],   from -10 on where no signal is left at 1

    Reference: Kingma et al. 2021, Variational Diffusion Models, section 5. arXiv:2107.00630
    """

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        high = schedule.log_snr(schedule.t_min)
        low = schedule.noisiest
        return _usable(schedule, schedule.time(low + (high - low) * (1 - u)))


@dataclass(frozen=True)
class ImportanceTimes(Times):
    """Times whose losses are large are drawn more often, and count as if all were drawn alike.

        p_k ∝ √E[L²] in the k-th of K equal stretches of [t_min, 1],   correction 1/(K p_k)

    The minimum is that of `UniformTimes`, and the expected loss; it is the variance that falls. Until the
    losses of every stretch are known, every time is alike. As published but for stretches in place of the
    steps of a chain, and for the floor, which bounds the correction by 1/floor.

    Arguments:
        stretches: K; at least 1.
        floor: the share of the times that is drawn from all alike; above 0, up to 1.

    Reference: Nichol & Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, section 3.3,
        eq. 18. arXiv:2102.09672
    """

    stretches: int = 32
    floor: float = 0.01

    def __post_init__(self) -> None:
        check_count("stretches", self.stretches)
        if not 0 < self.floor <= 1:
            raise InputError(f"floor must be above 0 and up to 1, got {self.floor}")

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        return UniformTimes()(schedule, u)

    def correction(self, schedule: Schedule, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def knowing(self, squares: Tensor) -> Times:
        root = squares.double().sqrt()
        shares = (1 - self.floor) * root / root.sum() + self.floor / len(root)
        return _SharedTimes(tuple(shares.tolist())) if bool(shares.isfinite().all()) else self


@dataclass(frozen=True)
class _SharedTimes(Times):
    """Times that fall into equal stretches at given shares, and are meant to be all alike."""

    shares: tuple[float, ...]

    def __call__(self, schedule: Schedule, u: Tensor) -> Tensor:
        shares = torch.tensor(self.shares, dtype=torch.float64)
        ends = shares.cumsum(0)
        k = torch.searchsorted(ends, u, right=True).clamp(max=len(shares) - 1)
        place = (k + (u - ends[k] + shares[k]) / shares[k]) / len(shares)
        return _usable(schedule, UniformTimes()(schedule, place))

    def correction(self, schedule: Schedule, t: Tensor) -> Tensor:
        shares = torch.tensor(self.shares, dtype=t.dtype, device=t.device)
        return 1 / (len(shares) * shares[stretch(schedule, t, len(shares))])

    @property
    def stretches(self) -> int:
        return len(self.shares)

    def knowing(self, squares: Tensor) -> Times:
        return self


def stretch(schedule: Schedule, t: Tensor, count: int) -> Tensor:
    """In which of so many equal stretches of [t_min, 1] times fall, from 0, of the shape of ``t``.

    Arguments:
        schedule: the path.
        t: times.
        count: how many stretches.
    """
    place = (t - schedule.t_min) / (1 - schedule.t_min)
    return (place * count).long().clamp(0, count - 1)
