"""Noise levels for the Gaussian-residual sampler: a rule in the number of evaluations, or any listed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError, unknown
from scorefield.samplers.gaussian_flow import REACH, level
from scorefield.samplers.grids import Grid, check_decreasing, check_request

RuleName = Literal["exact", "network"]


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
CLOSE = 1e-4  # of a level: what writing it down in a few digits may cost


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
            if value is not None and not least < value < math.inf:
                raise InputError(f"{name} must be above {least} and finite, got {value}")

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
        return _after_start(schedule, levels, start, at_once)


@dataclass(frozen=True)
class NoiseLevels(Grid):
    """Noise levels as listed, after the start, such as a calibration finds them.

        u_i = σ_data ν_i,   u = σ/α

    Like `ResidualGrid` it has n + 1 times: the first interval, from the start to u₁, is for a sampler that
    crosses it in closed form.

    Arguments:
        numbers: ν, decreasing, above 0, from the start of sampling to t_min or between; as many as steps.

    Reference: Watson et al. 2021, Learning to Efficiently Sample from Diffusion Probabilistic Models, for
        levels chosen one by one. arXiv:2106.03802
    """

    numbers: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        given = self.numbers
        if not all(0 < u < math.inf for u in given):
            raise InputError(f"each level must be above 0 and finite, got {list(given)}")
        check_decreasing("levels", given)

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        if len(self.numbers) != n:
            raise InputError(f"{len(self.numbers)} levels were given for {n} steps")
        highest, lowest = (level(schedule, as_time(t)) for t in (start, schedule.t_min))
        levels = sigma_data * torch.tensor(self.numbers, dtype=torch.float64)
        at_once = bool(levels[0] >= highest * (1 - CLOSE))
        near = highest <= REACH * sigma_data  # there is nothing to cross
        if levels[0] > highest * (1 + CLOSE) or (near and not at_once):
            raise InputError(
                f"the first level given, {self.numbers[0]:g}, must be that of the start, "
                f"{highest / sigma_data:.6g}" + ("" if near else ", or lower")
            )
        if levels[-1] < lowest * (1 - CLOSE):
            raise InputError(
                f"the last level given, {self.numbers[-1]:g}, must be at least that of t_min, "
                f"{lowest / sigma_data:.4g}"
            )
        return _after_start(schedule, levels, start, at_once)


def _after_start(schedule: Schedule, levels: Tensor, start: float, at_once: bool) -> Tensor:
    """The start and the times of levels; one that is the start's is so to the bit, and stands twice."""
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
