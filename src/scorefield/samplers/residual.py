"""A sampler that integrates the Gaussian part of the flow exactly and the rest by Adams' method.

The flow of the Gaussian with the data's mean and covariance is known. Evaluations are spent only on what
the denoiser says beyond it, which vanishes at both ends: where all looks Gaussian, and where x̂₀ → x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.core.moments import Moments
from scorefield.core.schedules import Schedule, as_time
from scorefield.errors import InputError, unknown
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.gaussian_flow import (
    REACH,
    GaussianFlow,
    Residual,
    Span,
    gaussian_flow,
    level,
)
from scorefield.samplers.grids import Grid, check_request
from scorefield.samplers.noise import Noise

BEFORE = 10.0  # the residual is taken to vanish at so many times the first noise level looked at

RuleName = Literal["exact", "network"]
Final = Literal["integrate", "denoise"]


class Numbers(NamedTuple):
    """What n evaluations want, in units of σ_data.

    Arguments:
        first: u₁.
        last: u_n.
        offset: √c.
        crowding: A, how much denser the levels lie in the middle than at the ends.
    """

    first: float
    last: float
    offset: float
    crowding: float


@dataclass(frozen=True)
class Rule:
    """`Numbers` as powers of n/5.

    Arguments:
        first: u₁ for n = 5, which grows with the first power.
        last: u_n for n = 5.
        fall: the power that it falls with.
        offset: √c for large n.
        share: what is added to it for n = 5.
        decay: the power that this falls with.
        crowding: A for n = 5, which grows with the first power, to 2 at most.
    """

    first: float
    last: float
    fall: float
    offset: float
    share: float
    decay: float
    crowding: float

    def numbers(self, n: int) -> Numbers:
        """Those for n evaluations."""
        return Numbers(
            self.first * n / 5,
            self.last * (5 / n) ** self.fall,
            self.offset + self.share * (5 / n) ** self.decay,
            min(self.crowding * n / 5, CROWDED),
        )


# A network is no exact denoiser where noise is high, so that its flow must be looked at further out, and
# what it says changes fastest where it settles on what the sample is to be: there levels lie closer.
RULES: dict[str, Rule] = {
    "exact": Rule(5.5, last=0.22, fall=1.0, offset=0.05, share=0.6, decay=1.0, crowding=0.0),
    "network": Rule(25.0, last=0.35, fall=1.3, offset=0.0, share=1.5, decay=1.5, crowding=0.5),
}
CROWDED = 2.0
MIDDLE, WIDTH = 4.0, 0.8  # where levels lie closer, in units of σ_data, and its deviation in log u
POINTS = 1024


@dataclass(frozen=True)
class ResidualGrid(Grid):
    """Noise levels where the data differ from a Gaussian, after the start.

        n levels u = σ/α from u₁ to u_n, in log u of density 1 + A exp(-log²(u/4σ_data)/(2·0.8²))
        exact:    u₁ = 1.1 σ_data n,   u_n = 1.1 σ_data/n,             A = 0: even ratios
        network:  u₁ = 5 σ_data n,     u_n = 0.35 σ_data (5/n)^1.3,    A = min(n/10, 2)

    It has n + 1 times: the first interval, from the start to u₁, is crossed in closed form. A start that
    is not far out is u₁ itself, and stands twice.

    Arguments:
        first: u₁/σ_data, above the path's last noise level; by the rule if not given.
        last: u_n/σ_data; by the rule if not given.
        crowding: A, above -1; by the rule if not given.
        rule: 'exact' for denoisers that are, 'network' for trained ones.

    Reference: our own; Lu et al. 2022, DPM-Solver, section 3.3, for even ratios. arXiv:2206.00927
    """

    first: float | None = None
    last: float | None = None
    crowding: float | None = None
    rule: RuleName = "exact"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("rule", self.rule, RULES)
        for name, least in (("first", 0), ("last", 0), ("crowding", -1)):
            value = getattr(self, name)
            if value is not None and not value > least:
                raise InputError(f"{name} must be above {least}, got {value}")

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        highest, lowest = (level(schedule, as_time(t)) for t in (start, schedule.t_min))
        rule = RULES[self.rule].numbers(n)
        first = sigma_data * (rule.first if self.first is None else self.first)
        if self.first is not None and first <= lowest:
            least = lowest / sigma_data
            raise InputError(f"first must be above {least:.3g} on this schedule, got {self.first}")
        first = max(first, 2 * lowest)
        at_once = highest <= max(first, REACH * sigma_data)
        first = highest if at_once else first
        last = max(lowest, sigma_data * (rule.last if self.last is None else self.last))
        last = min(last, max(lowest, first / 2))
        crowding = rule.crowding if self.crowding is None else self.crowding
        levels = _crowded(n, first, last, MIDDLE * sigma_data, crowding)
        times = torch.cat([torch.ones(1), schedule.time(-2 * torch.log(levels))])
        times = times.clamp(schedule.t_min, start)
        if at_once:
            times[1] = times[0]  # to the bit, which the way there and back by log-SNR is not
        return times


def _crowded(n: int, first: float, last: float, middle: float, crowding: float) -> Tensor:
    """n levels between two, both included, of which more lie around the middle."""
    way = torch.linspace(math.log(first), math.log(last), POINTS, dtype=torch.float64)
    bell = torch.erf((way - math.log(middle)) / (WIDTH * math.sqrt(2)))
    passed = way + crowding * WIDTH * math.sqrt(math.pi / 2) * bell  # the integral of the density
    passed = (passed - passed[0]) / (passed[-1] - passed[0])
    wanted = torch.linspace(0, 1, n, dtype=torch.float64)
    after = torch.searchsorted(passed, wanted).clamp(1, POINTS - 1)
    share = (wanted - passed[after - 1]) / (passed[after] - passed[after - 1])
    return torch.exp(torch.lerp(way[after - 1], way[after], share))


@dataclass(frozen=True)
class GaussianResidual(Sampler):
    """Gaussian-residual exponential multistep: for 5 to 20 evaluations.

        y = Uᵀ(x - α m)/√(α² Λ + σ²),   dy/dτ = f/√(Λ + u²),   u = σ/α,   τ = -½ log(u² + c)
        f = (1 + c/u²) Uᵀ(x̂₀ - x̂₀ᴳ),   x̂₀ᴳ = m + U Λ/(Λ + u²) Uᵀ(x/α - m)

    with m and U Λ Uᵀ the mean and covariance of the data. A polynomial through the last estimates of f is
    integrated exactly in each direction of U; when a new estimate is in, the last step is redone with
    it, at no cost. Λ → 0 is DPM-Solver++, Λ → ∞ its form for noise. For Gaussian data f = 0, and one
    evaluation gives the exact flow. It needs the moments of the data, which trained models keep.

    Arguments:
        grid: the times to visit; a first one that is far out is crossed without an evaluation.
        order: 1, 2 or 3 estimates in the polynomial.
        offset: √c in units of σ_data; by the rule if not given.
        final: 'integrate' the flow down to no noise, or 'denoise', which gives x̂₀ at the last time.
        rule: 'exact', √c = 0.05 + 3/n for n evaluations, or 'network', √c = 1.5 (5/n)^1.5; the grid has
            its own.

    Reference: our own; Zhang & Chen 2023, DEIS, eq. 14, and Zhao et al. 2023, UniPC, section 3.1, for
        the integral and the correction without moments. arXiv:2204.13902, arXiv:2302.04867
    """

    grid: Grid = ResidualGrid()
    order: int = 3
    offset: float | None = None
    final: Final = "integrate"
    rule: RuleName = "exact"
    stochastic: ClassVar[bool] = False

    @classmethod
    def for_networks(cls, final: Final = "denoise") -> GaussianResidual:
        """The sampler with the numbers that trained networks want, in its grid and in itself.

        Arguments:
            final: 'denoise', which does best on images, or 'integrate'.
        """
        return cls(ResidualGrid(rule="network"), final=final, rule="network")

    @property
    def needs(self) -> str:
        return "moments"

    def times(self, schedule: Schedule, n: int, start: float, sigma_data: float) -> Tensor:
        return self.grid.times(schedule, n, start, sigma_data)

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise InputError(f"order must be 1, 2 or 3, got {self.order}")
        if self.offset is not None and not self.offset > 0:
            raise InputError(f"offset must be above 0, got {self.offset}")
        if self.rule not in RULES:
            raise unknown("rule", self.rule, RULES)
        if self.final not in ("integrate", "denoise"):
            raise InputError(f"final must be 'integrate' or 'denoise', got '{self.final}'")

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        flow = self._flow(denoise.moments, schedule, x, max(len(times) - 1, 1))
        y, past = flow.whitened(x, flow.place(times[0])), list[Residual]()
        step: tuple[Span, Tensor] | None = None  # the one that led here, and y where it began
        if flow.starts_far(times):
            yield Step(times[0], x, flow.gaussian(y, flow.place(times[0])))
            times = times[1:]
            past = [(flow.clock(times[0], BEFORE), torch.zeros_like(y))]
        for t, s in zip(times, [*times[1:], None], strict=True):
            place = flow.place(t)
            x = flow.state(y, place)
            x0 = denoise(x, t)
            past = [(flow.clock(t), flow.residual(y, x0, place)), *past][: self.order]
            if step is not None:
                y = flow.along(*step, past)
            if s is not None:
                yield Step(t, x, x0)
                step = (flow.span(past[0][0], flow.clock(s)), y)
                y = flow.along(*step, past)
        if self.final == "integrate":
            # The last stretch is long in τ: a parabola would be drawn out too far.
            y = flow.along(flow.span(past[0][0], flow.end), y, past[:2])
            x0 = flow.clean(y)
        yield Step(times[-1], x, x0)

    def _flow(self, moments: Moments | None, schedule: Schedule, x: Tensor, n: int) -> GaussianFlow:
        if moments is None:
            raise InputError(
                "gaussian-residual needs the mean and covariance of the data, which this model does "
                "not have; dpm++ needs none"
            )
        offset = RULES[self.rule].numbers(n).offset if self.offset is None else self.offset
        return gaussian_flow(schedule, moments, (offset * moments.sigma_data) ** 2, x)
