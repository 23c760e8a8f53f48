"""Where walks end as a function of their noise levels and weights, and a step to better ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError
from scorefield.samplers.base import Conditioned
from scorefield.samplers.gaussian_flow import Share, level
from scorefield.samplers.residual import GaussianResidual, Standing, Walker
from scorefield.samplers.residual_grid import RULES, NoiseLevels, ResidualGrid

STRIDE = 3e-3  # of a parameter, for differences in float32
ROBUST = 0.2  # of σ_data: an error from which on a sample counts by its distance, not by its square
DAMPING = 1e-2
FEW = 12  # steps, beyond which only the newest residual gets weights: the time grows with their number
CLOSER = 2.0  # times as crowded, to begin with
DIGITS = 6
AT_ONCE = 16  # samples
EASIER, HARDER, TRIES = 0.3, 5.0, 6
FADING = 0.5  # what samples said in the last round counts so much beside what others say now


def distances(x: Tensor, y: Tensor) -> Tensor:
    """RMS over its values of each sample's difference, shape (B,)."""
    return (x - y).flatten(1).square().mean(1).sqrt()


class Equations(NamedTuple):
    """What some samples say of a step: JᵀJ and Jᵀr, summed over them.

    Arguments:
        theta: θ, where they were asked.
        square: JᵀJ by the free places of θ, float64.
        fall: Jᵀr, float64.
    """

    theta: Tensor
    square: Tensor
    fall: Tensor


class Walk(NamedTuple):
    """A walk.

    Arguments:
        theta: θ.
        looks: what was known after each look, and the estimate x̂₀ there.
        ends: where it ended, shape (B, ...).
    """

    theta: Tensor
    looks: list[tuple[Standing, Tensor]]
    ends: Tensor


@dataclass(frozen=True, eq=False)
class Walks:
    """The walks of some samples, as a function of θ: log u_i/σ_data, the weights in pairs, the spreads.

    Arguments:
        denoise: the model with their conditions.
        x: where they start, at t = 1.
        ends: where they ought to end.
        template: the sampler but for its levels and weights.
        steps: n.
    """

    denoise: Conditioned
    x: Tensor
    ends: Tensor
    template: GaussianResidual
    steps: int

    @cached_property
    def first(self) -> Tensor:
        """θ to begin with: the rule's levels or near, and no weights."""
        levels = -0.5 * self._schedule.log_snr(self._begin[1:]) - math.log(self._sigma_data)
        return torch.cat([levels, levels.new_zeros(2 * len(self._pairs))])

    @cached_property
    def free(self) -> list[int]:
        """The places of θ that may change: all, but for a first level that is the start's."""
        pinned = bool(self._begin[0] == self._begin[1])
        return list(range(int(pinned), len(self.first)))

    def sampler(self, theta: Tensor) -> GaussianResidual:
        """The sampler with these levels and weights, in as many digits as a file is to have."""

        def written(values: Tensor) -> list[float]:
            return [float(f"{value:.{DIGITS}g}") for value in values.tolist()]

        levels, numbers = written(theta[: self.steps].exp()), written(theta[self.steps :])
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
        weights: list[list[Share]] = [[] for _ in range(self.steps)]
        for i, pair in zip(self._slots, pairs, strict=False):
            weights[i].append(pair)
        return replace(
            self.template,
            grid=NoiseLevels(tuple(levels)),
            weights=tuple(map(tuple, weights)),
            spreads=tuple(pairs[len(self._slots) :]),
        )

    @torch.no_grad()
    def walk(self, theta: Tensor, met: Sequence[tuple[Standing, Tensor]] = ()) -> Walk:
        """A walk, taken up after the looks that are given.

        Raises:
            InputError: for levels that cannot be.
        """
        sampler = self.sampler(theta)
        start, *times = sampler.times(self._schedule, self.steps, 1.0, self._sigma_data)
        walker, looks = replace(self._walker, sampler=sampler), list(met)
        for i, t in list(enumerate(times))[len(looks) :]:
            if looks:
                here = walker.go(looks[-1][0], t, i - 1)
            else:
                here = walker.begin(self.x, torch.stack([start, *times]))
            x = walker.state(here)
            x0 = self.denoise(x, t)
            looks.append((walker.look(here, t, x, x0), x0))
        here, x0 = looks[-1]
        return Walk(theta, looks, walker.end(here, x0, self.steps - 1))

    def columns(self, here: Walk) -> Iterator[Tensor]:
        """How the ends change with each free place of θ, by differences."""
        kept = [*range(self.steps), *(i + 1 for i in self._pairs for _ in range(2))]
        for place in self.free:
            # A level is lowered and the last one raised, so that none leaves the path.
            stride = -STRIDE if place < self.steps - 1 else STRIDE
            theta = here.theta.clone()
            theta[place] += stride
            yield (self.walk(theta, here.looks[: kept[place]]).ends - here.ends) / stride

    def equations(self, here: Walk, columns: Tensor) -> Equations:
        """What these samples say, summed over a few of them at a time, since J is large.

        Arguments:
            here: their walk.
            columns: its derivatives by the free places of θ, shape (places, B, ...).
        """
        roots = self._lengths(here)[:, None] ** -0.5
        apart = (here.ends - self.ends).flatten(1) * roots
        square = torch.zeros(len(columns), len(columns), dtype=torch.float64)
        fall = torch.zeros(len(columns), dtype=torch.float64)
        for i in range(0, len(apart), AT_ONCE):
            part = slice(i, i + AT_ONCE)
            slopes = (columns[:, part].flatten(2) * roots[part]).flatten(1).cpu().double()
            square += slopes @ slopes.T
            fall += slopes @ apart[part].flatten().cpu().double()
        return Equations(here.theta, square, fall)

    def better(self, here: Walk, known: Sequence[Equations], damping: float) -> tuple[Walk, float]:
        """A step of Levenberg and Marquardt: where it leads to, if that is better, and the next damping.

        Arguments:
            here: the walk.
            known: what samples said, last here and before at other θ, from where it is carried along
                straight lines, and counts half as much each time.
            damping: λ.
        """
        square, fall = self._carried(here.theta, known)
        cost = self._cost(here)
        diagonal = square.diag() + 1e-12 * square.diag().max() + 1e-300
        for _ in range(TRIES):
            theta = here.theta.clone()
            theta[self.free] -= torch.linalg.solve(square + damping * torch.diag(diagonal), fall)
            found = self._tried(theta)
            if found is not None and self._cost(found) < cost:
                return found, damping * EASIER
            damping *= HARDER
        return here, damping

    def _carried(self, theta: Tensor, known: Sequence[Equations]) -> tuple[Tensor, Tensor]:
        """JᵀJ and Jᵀr of all that is known, at θ."""
        square, fall = torch.zeros_like(known[0].square), torch.zeros_like(known[0].fall)
        for said in known:
            moved = (theta - said.theta)[self.free]
            square = FADING * square + said.square
            fall = FADING * fall + said.fall + said.square @ moved
        return square, fall

    def _tried(self, theta: Tensor) -> Walk | None:
        """The walk, if its levels can be, and be changed by a stride."""
        if bool((theta[: self.steps].diff() > -2 * STRIDE).any()):
            return None
        try:
            return self.walk(theta)
        except InputError:
            return None

    def _cost(self, here: Walk) -> float:
        return float(self._lengths(here).mean())

    def _lengths(self, here: Walk) -> Tensor:
        """√(d² + δ²) of each sample, shape (B,)."""
        d = distances(here.ends, self.ends)
        return torch.sqrt(d**2 + (ROBUST * self._sigma_data) ** 2)

    @property
    def _slots(self) -> list[int]:
        """The look after which each pair of weights is used, in order."""
        most = self.template.order if self.steps <= FEW else 1
        return [i for i in range(self.steps) for _ in range(min(i + 1, most))]

    @property
    def _pairs(self) -> list[int]:
        """That of each pair of weights and then of each pair of spreads, if there are any."""
        spread = self.template.bound is not None and self.steps <= FEW
        return [*self._slots, *range(self.steps if spread else 0)]

    @property
    def _schedule(self) -> Schedule:
        return self.denoise.denoiser.schedule

    @cached_property
    def _sigma_data(self) -> float:
        moments = self.denoise.moments
        assert moments is not None  # calibrate asks for them
        return moments.sigma_data

    @cached_property
    def _begin(self) -> Tensor:
        rule, grid = RULES[self.template.rule], ResidualGrid(rule=self.template.rule)
        lowest = level(self._schedule, as_time(self._schedule.t_min))
        if self.steps <= FEW and rule.first * self._sigma_data > lowest:
            # With weights fitted, levels need not reach out so far, and do better close together.
            numbers = rule.numbers(self.steps)
            grid = ResidualGrid(rule.first, numbers.last, CLOSER * numbers.crowding)
        return grid.times(self._schedule, self.steps, 1.0, self._sigma_data)

    @cached_property
    def _walker(self) -> Walker:
        return self.template.walker(self.denoise.moments, self._schedule, self.x, self.steps)
