"""What a sampler is: one generator over a time grid, which yields where it stands.

The consumer decides what a trajectory, a preview, a progress bar or an early stop is. The grid ends at
t_min and the result is the denoised estimate there: that one rule stands for all last-step variants.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from scorefield.core.broadcast import check_states, expand
from scorefield.core.denoisers import Denoiser, check_finite
from scorefield.core.moments import Moments
from scorefield.core.schedule import Schedule
from scorefield.core.sde import transition
from scorefield.errors import InputError
from scorefield.samplers.grids import Grid, UniformTime
from scorefield.samplers.linear import combined, levels
from scorefield.samplers.noise import AFRESH, Noise, seeded
from scorefield.samplers.tabled import tabled


class Denoise(Protocol):
    """What a sampler sees of a model: E[x₀ | x_t], and the moments of the data if they are known."""

    @property
    def moments(self) -> Moments | None:
        """Mean and covariance of the data, for each sample's conditions."""

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """E[x₀ | x_t] of states (B, ...) at the time t, shape ()."""


class Step(NamedTuple):
    """One stop of a sampler: the time, the state there and the estimate of the clean data.

    Samples that were left where they stood may be at earlier times than the one given, the last of theirs.
    """

    t: Tensor
    x: Tensor
    x0: Tensor


@dataclass(frozen=True)
class Sampler(ABC):
    """A way from noise to data on any schedule."""

    grid: Grid = UniformTime()

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """Whether fresh noise enters on the way."""

    @property
    @abstractmethod
    def order(self) -> int:
        """Order of convergence from noise: global error is O(1/steps^order), in law for stochastic ones.

        Methods with a memory begin with a step of order 1, which costs nothing where x̂₀ hardly changes,
        as at σ/α far above the data's. From a start among the data they are of order 2 at most, but for
        `UniPC` and `SASolver`, whose correctors make that good. In `Restart`, `PredictorCorrector` and
        `AnnealedLangevin` a part of the error is of steps that a finer grid leaves as they are.
        """

    @property
    def evaluations_per_step(self) -> int:
        """Denoiser evaluations at each time of the grid but the last.

        0 for a sampler that chooses its own times and takes as many as it needs.
        """
        return 1

    @property
    def extra_evaluations(self) -> int:
        """Denoiser evaluations besides, however many steps there are, if there are two times at least."""
        return 0

    @property
    def needs(self) -> str:
        """What it needs to know besides the denoiser and its schedule; empty for nothing."""
        return ""

    def times(self, schedule: Schedule, n: int, start: float, sigma_data: float) -> Tensor:
        """The times to visit: those of the grid, each once.

        Arguments:
            schedule: the path.
            n: how many times the grid is asked for; at least 1.
            start: the time to start from, above t_min and up to 1.
            sigma_data: σ_data.
        """
        times = self.grid.times(schedule, n, start, sigma_data)
        return torch.cat([times[:1], times[1:][times.diff() != 0]])

    @abstractmethod
    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        """Yield a `Step` at each time of the grid.

        Arguments:
            denoise: called as ``denoise(x, t)``, gives E[x₀ | x_t].
            schedule: the path the denoiser is for.
            x: the state at ``times[0]``, shape (B, ...).
            times: decreasing times, shape (n,), float64.
            noise: called with a state, gives standard normal noise of its shape.
        """


@dataclass(frozen=True)
class OneStep(Sampler):
    """A sampler whose every step needs one estimate of x₀ and no memory."""

    @abstractmethod
    def step(
        self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> Tensor:
        """The state at s < t from the state and the estimate of x₀ at t, shape (B, ...)."""

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        for t, s in pairwise(times):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            x = self.step(schedule, x, x0, t, s, noise)
        yield Step(times[-1], x, denoise(x, times[-1]))


def posterior_step(
    schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, eta: float, noise: Noise
) -> Tensor:
    """A step from t to s < t given an estimate of x₀, by the DDIM family of posteriors.

        x_s = α_s x̂₀ + √(σ_s² - ς²) ε̂ + ς z,   ς = η (σ_s/σ_t) √(σ_t² - (α_t/α_s)² σ_s²)

    η = 1 is the posterior q(x_s | x_t, x₀) of the forward process, η = 0 has no noise. Where a larger η
    would make ς more than σ_s, all of the noise there is fresh and ς is σ_s.

    Arguments:
        schedule: the path.
        x: the state x_t, shape (B, ...).
        x0: the estimate of x₀, shape (B, ...).
        t: the time of x, shape ().
        s: the time wanted, shape ().
        eta: η; at least 0.
        noise: called with a state, gives standard normal noise of its shape.

    Reference: Song et al. 2021, Denoising Diffusion Implicit Models, eq. 12 and eq. 16.
        arXiv:2010.02502
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(schedule, t), levels(schedule, s)
    spread = 0.0
    if eta > 0:
        _, between = transition(schedule, s, t)
        spread = min(eta * sigma_s / sigma_t * math.sqrt(between), sigma_s)
    share = math.sqrt(sigma_s**2 - spread**2) / sigma_t
    mean = combined([share, alpha_s - share * alpha_t], [x, x0])
    return mean.add_(noise(x), alpha=spread) if eta > 0 else mean


def trajectory(
    denoiser: Denoiser,
    x: Tensor | Sequence[int],
    sampler: Sampler,
    steps: int,
    *,
    start: float = 1.0,
    noise: Noise | None = None,
    **cond: Tensor | None,
) -> Iterator[Step]:
    """Walk from noise to data and yield every `Step`; the last one's x0 is the sample.

    Arguments:
        denoiser: the model.
        x: the state at ``start``, shape (B, ...); or the shape wanted, to start from noise σ(start) z.
        sampler: how to walk.
        steps: number of times in the grid; at least 1.
        start: the time to start from, above t_min and up to 1.
        noise: called with a state, gives standard normal noise of its shape; if not given, `seeded` by 0
            where x is a shape, and by `AFRESH` where it is a state, which may have been drawn by 0.
        cond: conditions by name, such as ``label`` of shape (B,).

    Raises:
        InputError: at the call, for steps or a start that the grid cannot have, or states that are whole
            numbers or not finite.
    """
    if isinstance(x, Tensor):
        check_states(x)
    elif not all(size >= 0 for size in x):
        raise InputError(f"a shape has no negative numbers, got {tuple(x)}")
    schedule = denoiser.schedule
    moments = denoiser.moments
    spread = 1.0 if moments is None else moments.sigma_data
    times = sampler.times(schedule, steps, start, spread)
    count = len(x) if isinstance(x, Tensor) else x[0]
    noise = noise or seeded(AFRESH if isinstance(x, Tensor) else 0, range(count))
    if not isinstance(x, Tensor):
        anchor = next(iter([*denoiser.parameters(), *denoiser.buffers()]), torch.empty(0))
        like = torch.empty(tuple(x), device=anchor.device)
        x = starting_noise(schedule, like, noise, start)

    denoise = Conditioned(denoiser, cond)
    return _without_gradients(sampler.walk(denoise, tabled(schedule, times), x, times, noise))


def starting_noise(schedule: Schedule, like: Tensor, noise: Noise, start: float = 1.0) -> Tensor:
    """Noise of the level that sampling starts from, σ(start) z.

    Arguments:
        schedule: the path.
        like: gives the shape, the dtype and the device.
        noise: called with a state, gives standard normal noise of its shape.
        start: the time to start from.
    """
    return expand(schedule(start)[1], like) * noise(like)


@dataclass(frozen=True, eq=False)
class Conditioned:
    """A denoiser with its conditions, whose output is checked."""

    denoiser: Denoiser
    cond: dict[str, Tensor | None]

    @property
    def moments(self) -> Moments | None:
        known = self.denoiser.moments
        return None if known is None else known.given(self.cond.get("label"))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        x0: Tensor = self.denoiser(x, t, **self.cond)
        check_finite(x0, t)
        return x0


def _without_gradients(walk: Iterator[Step]) -> Iterator[Step]:
    # Grad mode is set around each step only: held across a yield it would leak to the consumer.
    while True:
        with torch.no_grad():
            step = next(walk, None)
        if step is None:
            return
        yield step


def sample(
    denoiser: Denoiser,
    x: Tensor | Sequence[int],
    sampler: Sampler,
    steps: int,
    *,
    start: float = 1.0,
    noise: Noise | None = None,
    **cond: Tensor | None,
) -> Tensor:
    """The end of a `trajectory`: samples of shape (B, ...).

    Arguments:
        denoiser: the model.
        x: the state at ``start``, shape (B, ...); or the shape wanted.
        sampler: how to walk.
        steps: number of times in the grid; at least 1.
        start: the time to start from, above t_min and up to 1.
        noise: as of `trajectory`.
        cond: conditions by name, such as ``label`` of shape (B,).
    """
    walk = trajectory(denoiser, x, sampler, steps, start=start, noise=noise, **cond)
    (last,) = deque(walk, maxlen=1)
    return last.x0
