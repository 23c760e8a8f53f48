"""The probability flow to a tolerance: as many evaluations as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor

from scorefield.core.angle import angular_slope, log_angle, radius, time_at
from scorefield.core.broadcast import expand
from scorefield.core.ode import DormandPrince, Ending, Unfinished, check_ending
from scorefield.core.schedule import Schedule
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.grids import Grid, UniformTime
from scorefield.samplers.noise import Noise


@dataclass(frozen=True)
class DormandPrinceFlow(Sampler):
    """The probability flow by Dormand and Prince's adaptive method of order 5(4), on any schedule.

        dw/dlog θ = θ (cos θ w - x̂₀)/sin θ,   w = x/r,   α = r cos θ,   σ = r sin θ

    Its accuracy is set by the tolerances. The grid only says where to stop and look, which costs at least
    eight evaluations a time; two times are enough.

    Arguments:
        grid: the times to land on.
        rtol: the relative tolerance of a step; above 0.
        atol: the absolute tolerance of a step in w, whose scale is 1; above 0.
        max_steps: the steps that may be tried between two times; at least 1.
        per_sample: each sample has its own steps; else one step for all, which suits the worst.
        unfinished: what is made of samples that these do not bring to the end: 'error', or 'denoise',
            which gives x̂₀ where each of them is.

    Raises:
        Unfinished: on the walk, when max_steps are not enough, with the time and the error there.

    Reference: Dormand & Prince 1980, table 2; Song et al. 2021, Score-Based Generative Modeling through
        SDEs, section 4.3, for the black-box sampler. arXiv:2011.13456
    """

    grid: Grid = UniformTime()
    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000
    per_sample: bool = True
    unfinished: Ending = "error"
    order: ClassVar[int] = 5
    stochastic: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self._solver()
        check_ending(self.unfinished)

    def _solver(self) -> DormandPrince:
        return DormandPrince(self.rtol, self.atol, self.max_steps, per_sample=self.per_sample)

    @property
    def evaluations_per_step(self) -> int:
        return 0

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        dtype, step = x.dtype, None

        def clock(log_theta: Tensor) -> Tensor:
            return time_at(schedule, log_theta)

        def slope(w: Tensor, log_theta: Tensor) -> Tensor:
            t = clock(log_theta)
            x = (expand(radius(schedule, t), w) * w).to(dtype)
            return angular_slope(w, denoise(x, t).to(w), log_theta)

        for t, s in pairwise(times):
            yield Step(t, x, denoise(x, t))
            w = x.double() / expand(radius(schedule, t), x.double())
            ends = log_angle(schedule, t), log_angle(schedule, s)
            reached = ends[0]
            try:
                for stop in self._solver().walk(slope, w, *ends, step=step, clock=clock):
                    w, step, reached = stop.x, stop.step, stop.t
            except Unfinished:
                if self.unfinished == "error":
                    raise
                at = clock(reached)
                x = (expand(radius(schedule, at), w) * w).to(dtype)
                yield Step(at.max(), x, denoise(x, at))
                return
            x = (expand(radius(schedule, s), w) * w).to(dtype)
        yield Step(times[-1], x, denoise(x, times[-1]))
