"""A schedule whose values at a sampler's times are computed once, all together.

A step asks for α and σ at the same two times again and again. On a path such as the DDPM chain, that took
longer than the arithmetic of the step, and the rates of such a path longer still.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from scorefield.core.schedule import Schedule, as_time

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class _TabledSchedule(Schedule):
    """A schedule that remembers its values at some times, and is itself at all others.

    Arguments:
        schedule: the path.
        times: the times to remember, shape (n,), float64.
    """

    schedule: Schedule
    times: Tensor

    @cached_property
    def _places(self) -> Mapping[float, int]:
        return {t: i for i, t in enumerate(self.times.tolist())}

    @cached_property
    def _levels(self) -> list[Pair]:
        return list(zip(*self.schedule(self.times), strict=True))

    @cached_property
    def _rates(self) -> list[Pair]:
        return list(zip(*self.schedule.rates(self.times), strict=True))

    @cached_property
    def _log_snrs(self) -> list[Tensor]:
        return list(self.schedule.log_snr(self.times))

    @cached_property
    def _drifts(self) -> list[Tensor]:
        return list(self.schedule.drift(self.times))

    @cached_property
    def _diffusions(self) -> list[Tensor]:
        return list(self.schedule.diffusion(self.times))

    def _place(self, t: Tensor | float) -> int | None:
        t = as_time(t)
        return self._places.get(float(t)) if t.ndim == 0 else None

    @property
    def t_min(self) -> float:
        return self.schedule.t_min

    def __call__(self, t: Tensor | float) -> Pair:
        place = self._place(t)
        return self.schedule(t) if place is None else self._levels[place]

    def alpha(self, t: Tensor) -> Tensor:
        return self.schedule.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.schedule.sigma(t)

    def rates(self, t: Tensor | float) -> Pair:
        place = self._place(t)
        return self.schedule.rates(t) if place is None else self._rates[place]

    def log_snr(self, t: Tensor | float) -> Tensor:
        place = self._place(t)
        return self.schedule.log_snr(t) if place is None else self._log_snrs[place]

    def time(self, log_snr: Tensor | float) -> Tensor:
        return self.schedule.time(log_snr)

    def drift(self, t: Tensor | float) -> Tensor:
        place = self._place(t)
        return self.schedule.drift(t) if place is None else self._drifts[place]

    def diffusion(self, t: Tensor | float) -> Tensor:
        place = self._place(t)
        return self.schedule.diffusion(t) if place is None else self._diffusions[place]


def tabled(schedule: Schedule, times: Tensor) -> Schedule:
    """The schedule, with its values at some times at hand.

    Arguments:
        schedule: the path.
        times: shape (n,), float64.
    """
    return _TabledSchedule(schedule, times)
