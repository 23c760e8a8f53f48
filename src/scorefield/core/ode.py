"""Runge–Kutta methods for dx/dt = f(x, t), as iterators over their steps.

Each sample of a batch has its own time and its own step, so that it does not depend on its neighbours.
Time may run either way. A step never passes the end: the last one is shortened to land on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.core.broadcast import expand, rows
from scorefield.errors import InputError, check_count, unknown

Slope = Callable[[Tensor, Tensor], Tensor]
Norm = Callable[[Tensor], Tensor]


def root_mean_square(error: Tensor) -> Tensor:
    """√mean error² of each sample, shape (B,)."""
    return error.flatten(1).square().mean(1).sqrt()


def _same(t: Tensor) -> Tensor:
    return t


# What is made of samples that the steps allowed do not bring to the end: an error, or x̂₀ where they are.
Ending = Literal["error", "denoise"]
ENDINGS: tuple[Ending, ...] = ("error", "denoise")


class Unfinished(InputError):
    """The steps allowed did not lead to the end; what was reached, the walk has given."""


def check_ending(ending: str) -> None:
    """Refuse an ending that there is none of.

    Arguments:
        ending: what is to be made of samples that the steps allowed do not bring to the end.

    Raises:
        InputError: with the ones that there are.
    """
    if ending not in ENDINGS:
        raise unknown("unfinished", ending, ENDINGS)


class Progress(NamedTuple):
    """Where a solver stands after an attempted step.

    Arguments:
        t: the time of each sample, shape (B,), float64.
        x: the state of each sample there, shape (B, ...).
        step: the size of the next step of each, shape (B,), float64, at least 0.
        error: the estimated error of this step over its tolerance, shape (B,); 0 without an estimate.
        evaluations: calls of the slope so far.
    """

    t: Tensor
    x: Tensor
    step: Tensor
    error: Tensor
    evaluations: int


@dataclass(frozen=True)
class Solver(ABC):
    """A method for ordinary differential equations."""

    @abstractmethod
    def walk(
        self,
        slope: Slope,
        x: Tensor,
        start: Tensor | float,
        end: Tensor | float,
        *,
        step: Tensor | None = None,
        norm: Norm = root_mean_square,
        clock: Callable[[Tensor], Tensor] = _same,
    ) -> Iterator[Progress]:
        """Yield where it stands after each attempted step; the last one is at ``end``.

        Arguments:
            slope: called as ``slope(x, t)`` with t of shape (B,), gives dx/dt of the shape of x.
            x: the state at ``start``, shape (B, ...), float32 or float64.
            start: the first time.
            end: the last time, on either side of ``start``.
            step: the first step of each sample, shape (B,), as an earlier walk gave it.
            norm: makes one number of a sample's error, in units of its tolerance.
            clock: what ``t`` is called in an error, if it is not the time itself.

        Raises:
            Unfinished: when the steps allowed do not lead to ``end``.
        """

    @abstractmethod
    def finer(self) -> Solver:
        """The same method, twice as fine: what is left of its error shows in the difference."""

    def solve(
        self,
        slope: Slope,
        x: Tensor,
        start: Tensor | float,
        end: Tensor | float,
        *,
        norm: Norm = root_mean_square,
        clock: Callable[[Tensor], Tensor] = _same,
    ) -> Progress:
        """The end of a `walk`."""
        (last,) = deque(self.walk(slope, x, start, end, norm=norm, clock=clock), maxlen=1)
        return last


# Lower rows of the Butcher tableaux: the weights of the slopes so far at each stage. The last row of
# each is the step itself, and its nodes are the sums of the rows.
_TABLEAUX: dict[str, tuple[tuple[float, ...], ...]] = {
    "euler": ((1.0,),),
    "midpoint": ((1 / 2,), (0.0, 1.0)),
    "heun": ((1.0,), (1 / 2, 1 / 2)),
    "rk4": ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
_DORMAND_PRINCE = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
# fifth order minus fourth
_DIFFERENCE = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def _combined(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    terms = [w * k for w, k in zip(weights, slopes, strict=True) if w != 0]
    return torch.stack(terms).sum(0)


def _stages(
    slope: Slope,
    x: Tensor,
    t: Tensor,
    h: Tensor,
    rows: tuple[tuple[float, ...], ...],
    first: Tensor,
) -> tuple[Tensor, list[Tensor]]:
    """The state a step h on, and the slopes met on the way to it."""
    slopes, wide = [first], expand(h, x)
    for row in rows[:-1]:
        slopes.append(slope(x + wide * _combined(row, slopes), t + sum(row) * h))
    return x + wide * _combined(rows[-1], slopes), slopes


def _times(x: Tensor, start: Tensor | float, end: Tensor | float) -> tuple[Tensor, Tensor]:
    """The first time of each sample, shape (B,), and the last one, shape ()."""
    if not x.is_floating_point():
        raise InputError(f"the state must be floating point numbers, got {x.dtype}")
    first, last = (
        torch.as_tensor(v, dtype=torch.float64, device=x.device).detach() for v in (start, end)
    )
    return first.expand(len(x)).clone(), last


@dataclass(frozen=True)
class FixedSteps(Solver):
    """Explicit Runge–Kutta methods with equal steps.

        x_{n+1} = x_n + h Σ_i b_i k_i,   k_i = f(x_n + h Σ_j a_ij k_j, t_n + c_i h)

    Arguments:
        method: 'euler' (order 1), 'midpoint' or 'heun' (2), 'rk4' (4).
        steps: number of steps; at least 1.

    Reference: Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I, section II.1,
        tables 1.1 and 1.2.
    """

    method: Literal["euler", "midpoint", "heun", "rk4"] = "rk4"
    steps: int = 100

    def __post_init__(self) -> None:
        if self.method not in _TABLEAUX:
            known = ", ".join(_TABLEAUX)
            raise InputError(f"method must be one of {known}, got '{self.method}'")
        check_count("steps", self.steps)

    def finer(self) -> FixedSteps:
        return replace(self, steps=2 * self.steps)

    def walk(
        self,
        slope: Slope,
        x: Tensor,
        start: Tensor | float,
        end: Tensor | float,
        *,
        step: Tensor | None = None,
        norm: Norm = root_mean_square,
        clock: Callable[[Tensor], Tensor] = _same,
    ) -> Iterator[Progress]:
        rows = _TABLEAUX[self.method]
        t, last = _times(x, start, end)
        h, first = (last - t) / self.steps, t
        for n in range(1, self.steps + 1):
            x, _ = _stages(slope, x, t, h, rows, slope(x, t))
            t = first + n * h if n < self.steps else last.expand_as(first)
            yield Progress(t, x, h.abs(), torch.zeros_like(t), n * len(rows))


@dataclass(frozen=True)
class DormandPrince(Solver):
    """The Runge–Kutta pair of order 5(4) of Dormand and Prince, with steps as the tolerance asks.

        err = ‖h Σ_i (b_i - b̂_i) k_i / (atol + rtol max(|x_n|, |x_{n+1}|))‖,   accepted if err ≤ 1

    The next step is 0.9 err^(-1/5) of this one, within 0.2 to 10; the first is Hairer's guess.

    Arguments:
        rtol: the relative tolerance of a step; above 0.
        atol: the absolute tolerance of a step; above 0.
        max_steps: the steps that may be tried, over the whole batch; at least 1.
        per_sample: each sample has its own step; else the batch shares one and its error is the mean.

    Reference: Dormand & Prince 1980, A family of embedded Runge-Kutta formulae, table 2; Hairer, Nørsett
        & Wanner 1993, section II.4, for the steps and for the first one.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    max_steps: int = 10_000
    per_sample: bool = True

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if not 0 < getattr(self, name) < 1:
                raise InputError(f"{name} must lie above 0 and below 1, got {getattr(self, name)}")
        check_count("max_steps", self.max_steps)

    def finer(self) -> DormandPrince:
        return replace(self, rtol=self.rtol / 2, atol=self.atol / 2)

    def walk(
        self,
        slope: Slope,
        x: Tensor,
        start: Tensor | float,
        end: Tensor | float,
        *,
        step: Tensor | None = None,
        norm: Norm = root_mean_square,
        clock: Callable[[Tensor], Tensor] = _same,
    ) -> Iterator[Progress]:
        t, last = _times(x, start, end)
        way = torch.where(last >= t, 1.0, -1.0).to(t)
        k, evaluations = slope(x, t), 1
        if step is None:
            step, evaluations = self._first_step(slope, x, t, k, last, norm), 2
        error = torch.zeros_like(t)
        for _ in range(self.max_steps):
            left = (last - t).abs()
            landing = step >= left
            h = torch.where(landing, left, step)
            new, slopes = _stages(slope, x, t, way * h, _DORMAND_PRINCE, k)
            there = torch.where(landing, last, t + way * h)
            slopes.append(slope(new, there))
            evaluations += 6
            error = self._shared(
                norm(expand(h, x) * _combined(_DIFFERENCE, slopes) / self._scale(x, new))
            )
            good = error <= 1
            growth = (0.9 * error.clamp(min=1e-10) ** -0.2).clamp(0.2, 10)
            growth = torch.where(error.isnan(), 0.2, growth)  # what went wrong is tried in small
            # A step cut short to land says nothing against the size it would have had.
            step = torch.where(good & landing, torch.maximum(step, h * growth), h * growth)
            t = torch.where(good, there, t)
            x, k = (torch.where(rows(good, x), a, b) for a, b in ((new, x), (slopes[-1], k)))
            yield Progress(t, x, step, error, evaluations)
            if bool((t == last).all()):
                return
        worst = int((last - t).abs().argmax())
        raise Unfinished(
            f"{self.max_steps} steps led only to t = {float(clock(t)[worst]):.4g}, where the error is "
            f"{float(error[worst]):.3g} times the tolerance; raise rtol and atol, or max_steps"
        )

    def _scale(self, *states: Tensor) -> Tensor:
        size = torch.stack([x.abs() for x in states]).amax(0)
        return self.atol + self.rtol * size

    def _shared(self, error: Tensor) -> Tensor:
        """The error that a sample's step is judged by, float64: its own, or that of the batch."""
        error = error.double()
        return error if self.per_sample else error.square().mean().sqrt().expand_as(error)

    def _first_step(
        self, slope: Slope, x: Tensor, t: Tensor, k: Tensor, last: Tensor, norm: Norm
    ) -> Tensor:
        """Hairer's guess of a first step, from the slope at the start and at a small Euler step."""
        scale, span = self._scale(x), last - t
        size, speed = (self._shared(norm(v / scale)) for v in (x, k))
        h = torch.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6)
        h = torch.minimum(h, span.abs())
        signed = torch.where(span >= 0, h, -h)
        bend = slope(x + expand(signed, x) * k, t + signed) - k
        fastest = torch.maximum(speed, self._shared(norm(bend / scale)) / h.clamp(min=1e-300))
        guess = torch.where(fastest > 1e-15, (0.01 / fastest) ** 0.2, torch.maximum(h, 1e-3 * h))
        return torch.minimum(100 * h, guess)
