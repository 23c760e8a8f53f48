"""Time grids: where a sampler looks, from the start of sampling down to t_min."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.errors import InputError, check_count


@dataclass(frozen=True)
class Grid(ABC):
    """A rule for the times of a sampler."""

    @abstractmethod
    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        """n decreasing times, float64, shape (n,), from ``start`` down to the schedule's t_min.

        Arguments:
            schedule: the path.
            n: how many; at least 1.
            start: the time to start from, above t_min and up to 1.
            sigma_data: σ_data, the standard deviation of the data, for rules that look at it.
        """


def check_request(schedule: Schedule, n: int, start: float) -> None:
    """Refuse a number of times or a start that no grid can have."""
    check_count("steps", n)
    if not schedule.t_min < start <= 1:
        raise InputError(f"start must lie above {schedule.t_min:g} and up to 1, got {start}")


def check_decreasing(what: str, given: Sequence[float]) -> None:
    """Refuse numbers that do not decrease, as times or levels must."""
    if not all(later < earlier for earlier, later in pairwise(given)):
        raise InputError(f"{what} must decrease, got {list(given)}")


def _pinned(schedule: Schedule, times: Tensor, start: float) -> Tensor:
    """Exact ends: what a round trip through log-SNR would miss by a rounding error."""
    times = times.clone()
    times[-1] = schedule.t_min
    times[0] = start
    return times


def _log_snr_ends(schedule: Schedule, start: float) -> tuple[Tensor, Tensor]:
    # Where no signal is left the log-SNR is -∞: count from a floor instead, and start at `start`.
    return schedule.noisy_log_snr(start), schedule.log_snr(schedule.t_min)


@dataclass(frozen=True)
class UniformTime(Grid):
    """Equal steps in time.

        t_i = start + i/(n - 1) (t_min - start)

    Reference: Song et al. 2021, App. D. arXiv:2011.13456
    """

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        times = torch.linspace(start, schedule.t_min, n, dtype=torch.float64)
        return _pinned(schedule, times, start)


@dataclass(frozen=True)
class UniformLogSNR(Grid):
    """Equal steps in log-SNR, which are equal ratios of the noise level σ/α.

        λ_i = λ(start) + i/(n - 1) (λ(t_min) - λ(start)),   λ = log α²/σ²

    Reference: Lu et al. 2022, DPM-Solver, section 3.3. arXiv:2206.00927
    """

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        noisy, clean = _log_snr_ends(schedule, start)
        ramp = torch.linspace(0, 1, n, dtype=torch.float64)
        return _pinned(schedule, schedule.time(noisy + ramp * (clean - noisy)), start)


@dataclass(frozen=True)
class Karras(Grid):
    """Noise levels σ/α evenly spaced after a power, as in EDM.

        σ_i = ( σ_max^(1/ρ) + i/(n - 1) (σ_min^(1/ρ) - σ_max^(1/ρ)) )^ρ

    Arguments:
        rho: ρ; larger puts more steps at low noise; above 0 and finite.

    Reference: Karras et al. 2022, eq. 5. arXiv:2206.00364
    """

    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.rho < math.inf:
            raise InputError(f"rho must be above 0 and finite, got {self.rho}")

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        noisy, clean = _log_snr_ends(schedule, start)
        high, low = -0.5 * noisy / self.rho, -0.5 * clean / self.rho
        ramp = torch.linspace(0, 1, n, dtype=torch.float64)
        # In logarithms: for small ρ the powers are beyond all numbers.
        log_root = torch.logaddexp(torch.log1p(-ramp) + high, torch.log(ramp) + low)
        log_snr = -2 * self.rho * log_root
        return _pinned(schedule, schedule.time(log_snr), start)


@dataclass(frozen=True)
class Knots(Grid):
    """The knots of a discrete chain, or evenly chosen ones among them.

        t_i = k_i/N,   k_i whole numbers evenly spaced from N to 1

    Arguments:
        count: N, as in the schedule; n = N visits every knot, more than N is refused, and so are knots
            below the schedule's t_min, as of a longer chain than it is.

    Reference: Ho et al. 2020, Algorithm 2; Song et al. 2021, DDIM, section 4.2, for fewer steps.
        arXiv:2006.11239, arXiv:2010.02502
    """

    count: int = 1000

    def __post_init__(self) -> None:
        check_count("count", self.count)

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        if 1 / self.count < schedule.t_min * (1 - 1e-9):
            most = int(1 / schedule.t_min + 1e-9)
            raise InputError(f"count must be at most {most} on this schedule, got {self.count}")
        first = round(start * self.count)
        if abs(first - start * self.count) > 1e-6:
            near = max(1, first) / self.count
            raise InputError(f"start must be a knot, as {near:g} is, got {start}")
        if n > first:
            raise InputError(f"steps must be at most {first}, the knots there are, got {n}")
        return torch.linspace(first, 1, n, dtype=torch.float64).round() / self.count


@dataclass(frozen=True)
class Quadratic(Grid):
    """Times whose roots are evenly spaced: more steps at low noise.

        t_i = ( √start + i/(n - 1) (√t_min - √start) )²

    Reference: Song et al. 2021, DDIM, App. D.2, the quadratic choice. arXiv:2010.02502
    """

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        roots = torch.linspace(start**0.5, schedule.t_min**0.5, n, dtype=torch.float64)
        return _pinned(schedule, roots**2, start)


@dataclass(frozen=True)
class Given(Grid):
    """Times as listed by the user.

        t_i as listed

    Arguments:
        numbers: the times, decreasing, from the start of sampling to t_min or above; as many as steps.

    Reference: Watson et al. 2021, Learning to Efficiently Sample from Diffusion Probabilistic Models, for
        times chosen one by one. arXiv:2106.03802
    """

    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        given = self.numbers
        if not all(0 <= t <= 1 for t in given):
            raise InputError(f"each time must lie between 0 and 1, got {list(given)}")
        check_decreasing("times", given)

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        if len(self.numbers) != n:
            raise InputError(f"{len(self.numbers)} times were given for {n} steps")
        if self.numbers[0] != start:
            raise InputError(f"the first time given, {self.numbers[0]}, must be the start, {start}")
        if self.numbers[-1] < schedule.t_min:
            raise InputError(
                f"the last time given, {self.numbers[-1]}, must be at least {schedule.t_min:g}"
            )
        return torch.tensor(self.numbers, dtype=torch.float64)
