"""Restart sampling: an ODE solver that goes back up the path with fresh noise, to forget its errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.schedule import Schedule
from scorefield.core.sde import transition
from scorefield.errors import InputError, check_count
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.flow import heun_step
from scorefield.samplers.grids import Grid, Karras
from scorefield.samplers.linear import noise_to_signal
from scorefield.samplers.noise import Noise

RHO = 7.0  # the levels within an interval are those of EDM


@dataclass(frozen=True)
class Restart(Sampler):
    """Restart: Heun's method, with intervals that are noised and walked again.

        forward    x_high = a x_low + √(σ_high² - a² σ_low²) z,   a = α_high/α_low
        backward   x_low = Heun's method from x_high in N steps;   K times over

    When the walk reaches the time of the grid nearest to an interval's lower level (below its upper one),
    it restarts from the upper one, or from where the walk began if that is lower: no more noise is added
    than there was. Levels are σ/α. Each interval costs 2 K N evaluations however many steps the grid has,
    so the error falls with order 2 only when N grows with the grid.

    Arguments:
        grid: the times to visit.
        intervals: for each interval its lower level, its upper level, K and N.

    Raises:
        InputError: on the walk, when no time of the grid lies below an interval's upper level.

    Reference: Xu et al. 2023, Restart Sampling for Improving Generative Processes, Algorithms 1 and 2.
        arXiv:2306.14878
    """

    grid: Grid = Karras()
    intervals: tuple[tuple[float, float, int, int], ...] = ((0.06, 0.3, 2, 3),)
    order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for interval in self.intervals:
            if len(interval) != 4:
                raise InputError(f"each of intervals is (low, high, K, N), got {interval}")
            low, high, repeats, steps = interval
            if not 0 < low < high < math.inf:
                raise InputError(f"each of intervals needs 0 < low < high, got {low} and {high}")
            check_count("K of each of intervals", repeats)
            check_count("N of each of intervals", steps)

    @property
    def stochastic(self) -> bool:
        return len(self.intervals) > 0

    @property
    def evaluations_per_step(self) -> int:
        return 2

    @property
    def extra_evaluations(self) -> int:
        return sum(2 * repeats * steps for _, _, repeats, steps in self.intervals)

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        begin = noise_to_signal(schedule, times[0])
        intervals = [
            (low, min(high, begin), repeats, steps)
            for low, high, repeats, steps in self.intervals
            if low < begin
        ]
        anchors = [_anchor(schedule, times, low, high) for low, high, _, _ in intervals]
        for t, s in pairwise(times):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            x = heun_step(denoise, schedule, x, x0, t, s)
            for anchor, (_, high, repeats, steps) in zip(anchors, intervals, strict=True):
                if s == anchor:
                    for _ in range(repeats):
                        x = _restarted(denoise, schedule, x, s, high, steps, noise)
        yield Step(times[-1], x, denoise(x, times[-1]))


def _anchor(schedule: Schedule, times: Tensor, low: float, high: float) -> Tensor:
    """The time of the grid, but its first, whose level is nearest to ``low`` and below ``high``."""
    if len(times) == 1:
        return times[0]
    alpha, sigma = schedule(times[1:])
    levels = sigma / alpha
    if not bool((levels < high).any()):
        raise InputError(
            f"no time of the grid lies below the upper level {high:g} of an interval; "
            f"the lowest level is {float(levels[-1]):.3g}"
        )
    distance = torch.where(levels < high, (levels - low).abs(), math.inf)
    return times[1:][distance.argmin()]


def _restarted(
    denoise: Denoise,
    schedule: Schedule,
    x: Tensor,
    s: Tensor,
    high: float,
    steps: int,
    noise: Noise,
) -> Tensor:
    """From s up to the level ``high`` by the forward transition, and back by Heun's method."""
    top = schedule.time(-2 * math.log(high))
    kept, variance = transition(schedule, s, top)
    x = expand(kept, x) * x + expand(torch.sqrt(variance), x) * noise(x)
    ends = [(sigma / alpha) ** (1 / RHO) for alpha, sigma in (schedule(top), schedule(s))]
    ramp = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    times = schedule.time(-2 * RHO * torch.log(ends[0] + ramp * (ends[1] - ends[0])))
    times[0], times[-1] = top, s
    for now, following in pairwise(times):
        x = heun_step(denoise, schedule, x, denoise(x, now), now, following)
    return x
