"""A sampler that integrates the Gaussian part of the flow exactly and the rest by Adams' method.

The flow of the Gaussian with the data's mean and covariance is known. Evaluations are spent only on what
the denoiser says beyond it, which vanishes at both ends: where all looks Gaussian, and where x̂₀ → x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from scorefield.core.moments import Moments
from scorefield.core.schedules import Schedule
from scorefield.errors import InputError, unknown
from scorefield.samplers.base import Denoise, Sampler, Step
from scorefield.samplers.grids import Grid, check_request
from scorefield.samplers.noise import Noise
from scorefield.samplers.quadrature import gauss_legendre

REACH = 4.0  # noise in units of σ_data beyond which the flow is taken for that of a Gaussian
BEFORE = 10.0  # the residual is taken to vanish at so many times the first noise level looked at

NODES = 16

Residual = tuple[float, Tensor]  # τ and f there
RuleName = Literal["exact", "network"]
Final = Literal["integrate", "denoise"]


@dataclass(frozen=True)
class Rule:
    """The numbers that n evaluations want, in units of σ_data, as powers of n/5.

    Arguments:
        first: u₁ for n = 5.
        growth: the power that it grows with.
        last: n u_n.
        offset: √c for large n.
        share: what is added to it for n = 5.
        decay: the power that this falls with.
    """

    first: float
    growth: float
    last: float
    offset: float
    share: float
    decay: float

    def numbers(self, n: int) -> tuple[float, float, float]:
        """u₁, u_n and √c."""
        first, last = self.first * (n / 5) ** self.growth, self.last / n
        return first, last, self.offset + self.share * (5 / n) ** self.decay


# A network is no exact denoiser where noise is high, so that its flow must be looked at further out.
RULES: dict[str, Rule] = {
    "exact": Rule(first=5.5, growth=1.0, last=1.1, offset=0.05, share=0.6, decay=1.0),
    "network": Rule(first=20.0, growth=1.0, last=1.75, offset=0.0, share=1.5, decay=1.5),
}


@dataclass(frozen=True)
class ResidualGrid(Grid):
    """Noise levels where the data differ from a Gaussian, after the start.

        u_i = u₁ (u_n/u₁)^((i-1)/(n-1)),   u = σ/α
        exact:    u₁ = 1.1 σ_data n,         u_n = 1.1 σ_data/n
        network:  u₁ = 4 σ_data n,           u_n = 1.75 σ_data/n

    It has n + 1 times: the first interval, from the start to u₁, is crossed in closed form. A start that
    is not far out is u₁ itself.

    Arguments:
        first: u₁/σ_data; by the rule if not given.
        last: u_n/σ_data; by the rule if not given.
        rule: 'exact' for denoisers that are, 'network' for trained ones.

    Reference: our own; Lu et al. 2022, DPM-Solver, section 3.3, for the spacing. arXiv:2206.00927
    """

    first: float | None = None
    last: float | None = None
    rule: RuleName = "exact"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("rule", self.rule, RULES)
        for name in ("first", "last"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name} must be above 0, got {value}")

    def times(
        self, schedule: Schedule, n: int, start: float = 1.0, sigma_data: float = 1.0
    ) -> Tensor:
        check_request(schedule, n, start)
        highest, lowest = (_level(schedule, t) for t in (start, schedule.t_min))
        first, last, _ = RULES[self.rule].numbers(n)
        first = sigma_data * (first if self.first is None else self.first)
        if highest <= max(first, REACH * sigma_data):
            first = highest
        last = max(lowest, sigma_data * (last if self.last is None else self.last))
        last = min(last, max(lowest, first / 2))
        ramp = torch.linspace(0, 1, n, dtype=torch.float64)
        levels = first * (last / first) ** ramp
        times = torch.cat([torch.ones(1), schedule.time(-2 * torch.log(levels))])
        return times.clamp(schedule.t_min, start)


def _level(schedule: Schedule, t: Tensor | float) -> float:
    # Infinite where no signal is left, which no clock can tell.
    alpha, sigma = schedule(t)
    return min(float(sigma / alpha), 1e8)


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
        flow = self._flow(denoise.moments, schedule, max(len(times) - 1, 1))
        y, past, begin = flow.whitened(x, times[0]), list[Residual](), None
        if flow.starts_far(times):
            yield Step(times[0], x, flow.gaussian(y, x, times[0]))
            times = times[1:]
            past = [(flow.clock(times[0], BEFORE), torch.zeros_like(y))]
        for t, s in zip(times, [*times[1:], None], strict=True):
            x = flow.state(y, x, t)
            x0 = denoise(x, t)
            past = [(flow.clock(t), flow.residual(y, x0, t)), *past][: self.order]
            if begin is not None:
                y = begin[1] + flow.integral(begin[0], past[0][0], past)
            begin = (past[0][0], y)
            if s is not None:
                yield Step(t, x, x0)
                y = y + flow.integral(past[0][0], flow.clock(s), past)
        if self.final == "integrate":
            # The last stretch is long in τ: a parabola would be drawn out too far.
            y = y + flow.integral(past[0][0], flow.end, past[:2])
            x0 = flow.clean(y, x)
        yield Step(times[-1], x, x0)

    def _flow(self, moments: Moments | None, schedule: Schedule, n: int) -> _Flow:
        if moments is None:
            raise InputError(
                "gaussian-residual needs the mean and covariance of the data, which this model does "
                "not have; dpm++ needs none"
            )
        offset = RULES[self.rule].numbers(n)[2] if self.offset is None else self.offset
        return _Flow(schedule, moments, (offset * moments.sigma_data) ** 2)


@dataclass(frozen=True, eq=False)
class _Flow:
    """The flow of a Gaussian with the data's moments, and what the data add to it."""

    schedule: Schedule
    moments: Moments
    c: float

    @property
    def end(self) -> float:
        """τ where no noise is left."""
        return -0.5 * math.log(self.c)

    def clock(self, t: Tensor, times: float = 1.0) -> float:
        """τ at so many times the noise level of t."""
        return -0.5 * math.log((times * _level(self.schedule, t)) ** 2 + self.c)

    def starts_far(self, times: Tensor) -> bool:
        """Whether the first interval has nothing to look at."""
        if len(times) < 2:
            return False
        far = _level(self.schedule, times[0]) > REACH * self.moments.sigma_data
        return far or bool(times[0] == times[1])

    def whitened(self, x: Tensor, t: Tensor) -> Tensor:
        """y, shape (B, D)."""
        alpha, _ = self.schedule(t)
        mean, scale = self._gaussian(t)
        return (self.moments.basis.coordinates(x) - self._for(float(alpha) * mean, x)) / self._for(
            scale, x
        )

    def state(self, y: Tensor, like: Tensor, t: Tensor) -> Tensor:
        """x from y."""
        alpha, _ = self.schedule(t)
        mean, scale = self._gaussian(t)
        return self.moments.basis.samples(
            self._for(float(alpha) * mean, y) + self._for(scale, y) * y, like
        )

    def gaussian(self, y: Tensor, like: Tensor, t: Tensor) -> Tensor:
        """x̂₀ᴳ."""
        return self.moments.basis.samples(self._clean_mean(y, t), like)

    def clean(self, y: Tensor, like: Tensor) -> Tensor:
        """x where no noise is left."""
        mean, variances = self.moments.mean, self.moments.variances
        return self.moments.basis.samples(
            self._for(mean, y) + self._for(variances.sqrt(), y) * y, like
        )

    def residual(self, y: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """f, shape (B, D)."""
        apart = self.moments.basis.coordinates(x0) - self._clean_mean(y, t)
        return (1 + self.c / _level(self.schedule, t) ** 2) * apart

    def integral(self, begin: float, end: float, past: Sequence[Residual]) -> Tensor:
        """∫ P(τ)/√(Λ + u²) dτ with P the polynomial through the residuals, shape (B, D)."""
        nodes, weights = gauss_legendre(NODES)
        tau = begin + (end - begin) * nodes
        u2 = (torch.exp(-2 * tau) - self.c).clamp(min=0)
        decay = (
            (end - begin)
            * weights[:, None, None]
            / torch.sqrt(self.moments.variances + u2[:, None, None])
        )  # (nodes, K, D)
        total = torch.zeros_like(past[0][1])
        for j, (at, f) in enumerate(past):
            basis = torch.ones_like(tau)
            for other, _ in [*past[:j], *past[j + 1 :]]:
                basis = basis * (tau - other) / (at - other)
            total += self._for((basis @ decay.flatten(1)).reshape(decay.shape[1:]), f) * f
        return total

    def _gaussian(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """m and √(α² Λ + σ²), shape (K, D)."""
        alpha, sigma = self.schedule(t)
        return self.moments.mean, torch.sqrt(alpha**2 * self.moments.variances + sigma**2)

    def _clean_mean(self, y: Tensor, t: Tensor) -> Tensor:
        """Coordinates of x̂₀ᴳ: m + α Λ/√(α² Λ + σ²) y."""
        alpha, _ = self.schedule(t)
        mean, scale = self._gaussian(t)
        return self._for(mean, y) + self._for(alpha * self.moments.variances / scale, y) * y

    def _for(self, values: Tensor, like: Tensor) -> Tensor:
        """Each sample's row of values (K, D), in the dtype and on the device of ``like``."""
        return values[self.moments.row].to(like)
