"""A solver of the reverse SDE that chooses its own steps, for each sample by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.broadcast import expand, rows
from scorefield.core.ode import Ending, Unfinished, check_ending
from scorefield.core.schedule import LOG_SNR_FLOOR, Schedule
from scorefield.core.sde import reverse_drift
from scorefield.errors import InputError, check_count
from scorefield.samplers.base import Denoise, Sampler, Step, posterior_step
from scorefield.samplers.grids import Grid, UniformTime
from scorefield.samplers.noise import Noise

FIRST_STEP = 0.01  # the size of the first step and the control of the others, as published
SAFETY, EXPONENT, GROWTH = 0.9, 0.9, 2.0


@dataclass(frozen=True)
class AdaptiveSDE(Sampler):
    """Stochastic improved Euler with a step size for each sample, kept to mixed tolerances.

        x'  = x - h f(x, t) + g √h z                 Euler-Maruyama, with f the reverse drift
        x'' = ½ x' + ½ (x - h f(x', t-h) + g(t-h) √h z)
        E   = ‖(x' - x'')/δ‖/√D,   δ = max(atol, rtol max(|x'|, |x'_before|))

    x'' is kept where E ≤ 1, and then h grows to 0.9 h E^{-0.9}, no more than twofold, since an error may be
    small by luck; else h shrinks to that. Published, a step that is refused is tried with new noise, so
    that what is kept depends on the noise: in one dimension the spread comes out a third too large on VP
    and twice too large on VE. Here the Brownian path stays: a refused step is cut, its noise drawn between
    the ends that are known, and the rest of it is what comes next.

    The grid only says where to stop and look, which costs an evaluation a time and the steps that it cuts
    short; two times are enough. Besides, evaluations are two for each step tried. No sample waits for
    another, and each draws noise for each try of the batch, so that it is the same in any batch. Where no
    signal is left g is infinite, and the walk first takes the exact posterior's step to σ/α = 148.

    Arguments:
        grid: the times to land on.
        rtol: tolerance relative to the state; above 0.
        atol: absolute tolerance; above 0. One grey level of 256 in [-1, 1] unless given.
        max_steps: steps tried before it gives up; at least 1.
        unfinished: what is made of samples that these do not bring to the end: 'error', or 'denoise',
            which gives x̂₀ where each of them is.

    Raises:
        Unfinished: on the walk, when max_steps are not enough, with the time and the error there.

    Reference: Jolicoeur-Martineau et al. 2021, Gotta Go Fast When Generating Data with Score-Based Models,
        Algorithm 1. arXiv:2105.14080
    """

    grid: Grid = UniformTime()
    rtol: float = 0.02
    atol: float = 0.0078
    max_steps: int = 1000
    unfinished: Ending = "error"
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        check_count("max_steps", self.max_steps)
        check_ending(self.unfinished)

    @property
    def evaluations_per_step(self) -> int:
        return 0

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        start, end = times[0], times[-1]
        x0 = denoise(x, start)
        yield Step(start, x, x0)
        if len(times) == 1:
            return
        if schedule(start)[0] == 0:
            start, before = torch.maximum(schedule.time(LOG_SNR_FLOOR), end), start
            x = posterior_step(schedule, x, x0, before, start, 1.0, noise)
        stops = torch.cat([times[:-1][times[:-1] < start], times[-1:]])
        for state, t in self._solved(denoise, schedule, x, start, stops, noise):
            yield Step(t.max(), state, denoise(state, t))

    def _solved(
        self,
        denoise: Denoise,
        schedule: Schedule,
        x: Tensor,
        t: Tensor,
        stops: Tensor,
        noise: Noise,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The states at each stop when all are there, with the time, shape (), or else of each, (B,)."""
        t, end, halts = t.repeat(len(x)), stops[-1], _Halts(stops, x)
        h, error = torch.full_like(t, FIRST_STEP), torch.zeros_like(t)
        low_before, path = x, _BrownianPaths(x)
        halts.reach(t, x)
        for _ in range(self.max_steps):
            yield from halts.left()
            if bool((t == end).all()):
                return
            goal = halts.ahead()
            taken, increment = path.ahead(torch.minimum(h, t - goal), noise(x))
            s = torch.where(taken < t - goal, t - taken, goal)
            low, high = _tried(denoise, schedule, x, t, s, increment)
            error = self._error(low, high, low_before)
            kept = error <= 1
            fitting = taken * (SAFETY * error**-EXPONENT).clamp(max=GROWTH)
            # A piece of the path may have been shorter than the step that would have been taken.
            h = torch.where(kept, torch.maximum(h, fitting), fitting)
            t = torch.where(kept, s, t)
            path.advance(kept)
            kept = rows(kept, x)
            x, low_before = torch.where(kept, high, x), torch.where(kept, low, low_before)
            halts.reach(t, x)
        yield from halts.left()
        if bool((t == end).all()):
            return
        if self.unfinished == "error":
            raise self._exhausted(t, error)
        yield x, t

    def _exhausted(self, t: Tensor, error: Tensor) -> Unfinished:
        worst = int(t.argmax())
        return Unfinished(
            f"max_steps = {self.max_steps} are not enough: at t = {float(t[worst]):.4g} the error of "
            f"the last step tried is {float(error[worst]):.3g} times the tolerance"
        )

    def _error(self, low: Tensor, high: Tensor, before: Tensor) -> Tensor:
        """E of each sample, shape (B,), float64."""
        scale = (self.rtol * torch.maximum(low.abs(), before.abs())).clamp(min=self.atol)
        return ((low - high) / scale).double().flatten(1).square().mean(1).sqrt().cpu()


def _tried(
    denoise: Denoise, schedule: Schedule, x: Tensor, t: Tensor, s: Tensor, increment: Tensor
) -> tuple[Tensor, Tensor]:
    """x' and x'' at times s, each sample from its own time in t; a sample with s = t stays."""

    def step(at: Tensor, state: Tensor) -> Tensor:
        drift = reverse_drift(schedule, state, denoise(state, at), at, 1.0)
        return x + expand(s - t, x) * drift + expand(schedule.diffusion(at), x) * increment

    low = step(t, x)
    return low, (low + step(s, low)) / 2


class _Halts:
    """Where each sample was at each stop; samples do not wait for one another."""

    def __init__(self, stops: Tensor, like: Tensor) -> None:
        self.stops, self.given = stops, 0
        self.passed = torch.zeros(len(like), dtype=torch.long)
        self.states = [like] * len(stops)

    def ahead(self) -> Tensor:
        """The next stop of each sample, the last for those that have passed it, shape (B,)."""
        return self.stops[self.passed.clamp(max=len(self.stops) - 1)]

    def reach(self, t: Tensor, x: Tensor) -> None:
        """Keep the states x of those that are, at times t, where they next stop."""
        here = (t == self.ahead()) & (self.passed < len(self.stops))
        for i in set(self.passed[here].tolist()):
            self.states[i] = torch.where(rows(here & (self.passed == i), x), x, self.states[i])
        self.passed += here.long()

    def left(self) -> Iterator[tuple[Tensor, Tensor]]:
        """What has not been given yet of the stops that all have passed."""
        while self.given < int(self.passed.min()):
            yield self.states[self.given], self.stops[self.given]
            self.given += 1


class _BrownianPaths:
    """A Brownian path for each sample, of which more is drawn as it is asked for, and none forgotten.

    What is known of a path lies ahead in pieces, each a length and an increment; the nearest is on top.

    Reference: Rackauckas & Nie 2017, Adaptive Methods for SDEs via Natural Embeddings and Rejection
        Sampling with Memory, section 3.2, in its simplest form: no step goes beyond a piece.
    """

    def __init__(self, like: Tensor) -> None:
        self.rows = torch.arange(len(like))
        self.depth = torch.zeros(len(like), dtype=torch.long)
        self.lengths = torch.zeros(1, len(like), dtype=torch.float64)
        self.increments = torch.zeros(1, *like.shape, dtype=like.dtype, device=like.device)

    def ahead(self, h: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The next piece of each path, of length h or shorter, and its increment.

        Arguments:
            h: lengths wanted, shape (B,).
            z: standard normal noise, shape (B, ...), for what is not known yet.
        """
        fresh = self.depth == 0
        top = (self.depth - 1).clamp(min=0), self.rows
        length = torch.where(fresh, h, self.lengths[top])
        known = torch.where(rows(fresh, z), 0, self.increments[top])
        cut = fresh | (h < length * (1 - 1e-9))  # what rounding would cut off is nothing
        taken = torch.where(cut, h, length)
        # A bridge between the ends that are known; all of the spread where nothing is.
        rest = (length - taken) / length.clamp(min=1e-300)
        spread = torch.sqrt(torch.where(fresh, taken, taken * rest))
        share = torch.where(fresh, 0.0, 1 - rest)
        drawn = expand(share, z) * known + expand(spread, z) * z
        increment = torch.where(rows(cut, z), drawn, known)
        self._put(top, cut & ~fresh, length - taken, known - increment)
        self.depth += cut.long()
        if int(self.depth.max()) > len(self.lengths):
            self.lengths = torch.cat([self.lengths, torch.zeros_like(self.lengths[:1])])
            self.increments = torch.cat([self.increments, torch.zeros_like(self.increments[:1])])
        self._put((self.depth - 1, self.rows), cut, taken, increment)
        return taken, increment

    def advance(self, kept: Tensor) -> None:
        """Leave the nearest piece behind, where it was kept, shape (B,)."""
        self.depth -= kept.long()

    def _put(
        self, place: tuple[Tensor, Tensor], where: Tensor, length: Tensor, increment: Tensor
    ) -> None:
        self.lengths[place] = torch.where(where, length, self.lengths[place])
        self.increments[place] = torch.where(
            rows(where, increment), increment, self.increments[place]
        )
