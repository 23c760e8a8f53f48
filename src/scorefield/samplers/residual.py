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
from scorefield.core.schedule import Schedule
from scorefield.errors import InputError, unknown
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.bounded import bounded_terms
from scorefield.samplers.gaussian_flow import (
    GaussianFlow,
    Place,
    Residual,
    Share,
    Span,
    gaussian_flow,
    level,
)
from scorefield.samplers.grids import Grid
from scorefield.samplers.linear import noise_at
from scorefield.samplers.noise import Noise
from scorefield.samplers.residual_grid import RULES, ResidualGrid, RuleName

BEFORE = 10.0  # the residual is taken to vanish at so many times the first noise level looked at

Final = Literal["integrate", "denoise"]
Weights = tuple[tuple[Share, ...], ...]


class Standing(NamedTuple):
    """What is known at a time.

    Arguments:
        y: the state in the whitened variable, shape (B, D).
        place: what is needed at that time.
        past: the last residuals, newest first.
        step: the stretch that led here and y where it began, until the denoiser has been asked here.
        bounded: what spreads are shares of, shape (B, D) each, if they are given.
    """

    y: Tensor
    place: Place
    past: tuple[Residual, ...] = ()
    step: tuple[Span, Tensor] | None = None
    bounded: tuple[Tensor, ...] = ()


@dataclass(frozen=True, eq=False)
class Walker:
    """The moves of the sampler, between which the denoiser is asked.

    Arguments:
        flow: the Gaussian's.
        sampler: the sampler.
    """

    flow: GaussianFlow
    sampler: GaussianResidual

    def begin(self, x: Tensor, times: Tensor) -> Standing:
        """At the first time to look at, crossed to in closed form if the start is far out."""
        place = self.flow.place(times[0])
        y = self.flow.whitened(x, place)
        if not self.flow.starts_far(times):
            return Standing(y, place)
        vanished = (self.flow.clock(times[1], BEFORE), torch.zeros_like(y))
        return Standing(y, self.flow.place(times[1]), (vanished,))

    def state(self, here: Standing) -> Tensor:
        """x."""
        return self.flow.state(here.y, here.place)

    def look(self, here: Standing, t: Tensor, x: Tensor, x0: Tensor) -> Standing:
        """With the estimate x̂₀ of the state at t, by which the step that led there is redone."""
        flow = self.flow
        new = (flow.clock(t), flow.residual(here.y, x0, here.place))
        past = (new, *here.past)[: self.sampler.order]
        y = here.y if here.step is None else flow.along(*here.step, past)
        bounded = self._bounded(here.place, t, x, x0) if self.sampler.spreads else ()
        return Standing(y, here.place, past, bounded=bounded)

    def go(self, here: Standing, s: Tensor, i: int) -> Standing:
        """On to the time s, from the i-th time that was looked at."""
        span = self.flow.span(here.past[0][0], self.flow.clock(s))
        y = self._amended(here, span, i)
        there = self.flow.along(span, y, here.past)
        return here._replace(y=there, place=self.flow.place(s), step=(span, y))

    def end(self, here: Standing, x0: Tensor, i: int) -> Tensor:
        """The sample, from the last time that was looked at, the i-th."""
        if self.sampler.final == "integrate":
            span = self.flow.span(here.past[0][0], self.flow.end)
            y = self._amended(here, span, i)
            # The last stretch is long in τ: a parabola would be drawn out too far.
            return self.flow.clean(self.flow.along(span, y, here.past[:2]))
        terms, shares = self._shares(here, i)
        return self.flow.shifted(x0, terms, shares, here.place) if terms else x0

    def _amended(self, here: Standing, span: Span, i: int) -> Tensor:
        terms, shares = self._shares(here, i)
        return self.flow.amended(here.y, span.decay.sum(0), terms, shares) if terms else here.y

    def _shares(self, here: Standing, i: int) -> tuple[list[Residual], list[Share]]:
        """What is added to the polynomial after the i-th evaluation, and how much of it."""
        sampler, now = self.sampler, here.past[0][0]
        weights = sampler.weights[i][: len(here.past)] if sampler.weights else ()
        spreads = sampler.spreads[i] if sampler.spreads else ()
        terms = [*here.past[: len(weights)], *((now, term) for term in here.bounded)]
        return terms, [*weights, *((share, 0.0) for share in spreads)]

    def _bounded(self, place: Place, t: Tensor, x: Tensor, x0: Tensor) -> tuple[Tensor, ...]:
        """The terms that spreads are shares of, as residuals are."""
        assert self.sampler.bound is not None  # spreads need one
        schedule = self.flow.schedule
        noise = level(schedule, t) * noise_at(schedule, x, x0, t)
        terms = bounded_terms(x0, noise, self.sampler.bound)
        return tuple(self.flow.basis.coordinates(term) * place.gain for term in terms)


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
        weights: what a calibration adds to the polynomial's: after each evaluation, for each of the last
            estimates, newest first, a and b of (a + b Λ/(Λ + u²)) f; for as many evaluations as there
            are, or for none.
        bound: b if each value of the data is known to lie in [-b, b], as those of images in [-1, 1] do.
        spreads: what a calibration adds where that leaves an estimate room: after each evaluation, shares
            of (1 - (x̂₀/b)²)(x/α - x̂₀) and of (1 - (x̂₀/b)²) x̂₀; for as many evaluations as there are, or
            for none.

    Reference: our own; Zhang & Chen 2023, DEIS, eq. 14, and Zhao et al. 2023, UniPC, section 3.1, for
        the integral and the correction without moments. arXiv:2204.13902, arXiv:2302.04867
    """

    grid: Grid = ResidualGrid()
    order: int = 3
    offset: float | None = None
    final: Final = "integrate"
    rule: RuleName = "exact"
    weights: Weights = ()
    bound: float | None = None
    spreads: tuple[Share, ...] = ()
    stochastic: ClassVar[bool] = False

    @classmethod
    def for_networks(cls, final: Final = "denoise", bound: float | None = None) -> GaussianResidual:
        """The sampler with the numbers that trained networks want, in its grid and in itself.

        Arguments:
            final: 'denoise', which does best on images, or 'integrate'.
            bound: of the data, for a calibration; 1 for images.
        """
        return cls(ResidualGrid(rule="network"), final=final, rule="network", bound=bound)

    @property
    def needs(self) -> str:
        return "moments"

    def times(self, schedule: Schedule, n: int, start: float, sigma_data: float) -> Tensor:
        return self.grid.times(schedule, n, start, sigma_data)

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise InputError(f"order must be 1, 2 or 3, got {self.order}")
        if self.offset is not None and not 0 < self.offset < math.inf:
            raise InputError(f"offset must be above 0 and finite, got {self.offset}")
        if self.rule not in RULES:
            raise unknown("rule", self.rule, RULES)
        if self.final not in ("integrate", "denoise"):
            raise InputError(f"final must be 'integrate' or 'denoise', got '{self.final}'")
        if any(len(each) > self.order for each in self.weights):
            most = max(len(each) for each in self.weights)
            raise InputError(f"weights must be for at most {self.order} estimates, got {most}")
        if not all(math.isfinite(w) for each in self.weights for pair in each for w in pair):
            raise InputError(f"weights must be finite, got {self.weights}")
        self._check_spreads()

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        walker = self.walker(denoise.moments, schedule, x, max(len(times) - 1, 1))
        here = walker.begin(x, times)
        if walker.flow.starts_far(times):
            yield Step(times[0], x, walker.flow.gaussian(here.y, walker.flow.place(times[0])))
            times = times[1:]
        self._check_number(len(times))
        for i, t in enumerate(times):
            here = here if i == 0 else walker.go(here, t, i - 1)
            x = walker.state(here)
            x0 = denoise(x, t)
            here = walker.look(here, t, x, x0)
            if i + 1 < len(times):
                yield Step(t, x, x0)
        yield Step(times[-1], x, walker.end(here, x0, len(times) - 1))

    def walker(self, moments: Moments | None, schedule: Schedule, x: Tensor, n: int) -> Walker:
        """Its moves for states like x.

        Arguments:
            moments: mean and covariance of the data, for each sample's conditions.
            schedule: the path.
            x: a state, shape (B, ...).
            n: how many evaluations.

        Raises:
            InputError: without moments.
        """
        if moments is None:
            raise InputError(
                "gaussian-residual needs the mean and covariance of the data, not all 0, which this "
                "model does not have; dpm++ needs none"
            )
        offset = RULES[self.rule].numbers(n).offset if self.offset is None else self.offset
        return Walker(gaussian_flow(schedule, moments, (offset * moments.sigma_data) ** 2, x), self)

    def _check_number(self, n: int) -> None:
        for name, given in (("weights", self.weights), ("spreads", self.spreads)):
            if given and len(given) != n:
                raise InputError(f"{name} for {len(given)} evaluations were given for {n}")

    def _check_spreads(self) -> None:
        if self.bound is not None and not 0 < self.bound < math.inf:
            raise InputError(f"bound must be above 0 and finite, got {self.bound}")
        if self.spreads and self.bound is None:
            raise InputError("spreads need a bound of the data, such as bound=1")
        if not all(math.isfinite(share) for each in self.spreads for share in each):
            raise InputError(f"spreads must be finite, got {self.spreads}")
