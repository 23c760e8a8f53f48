"""Solvers of the reverse SDE: Euler-Maruyama, reverse diffusion, and predictor-corrector of Song et al."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import noise_from
from scorefield.core.schedule import Schedule
from scorefield.core.sde import reverse_drift, transition
from scorefield.errors import InputError, check_count
from scorefield.samplers.base import Denoise, OneStep, Sampler, Step, posterior_step
from scorefield.samplers.grids import Grid, UniformTime
from scorefield.samplers.langevin import langevin_step
from scorefield.samplers.noise import Noise

STABLE = 2.0  # an explicit step of ẏ = -fy grows where its length times f is above this


def euler_maruyama_step(
    schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, eta: float, noise: Noise
) -> Tensor:
    """One Euler-Maruyama step of the reverse SDE from t to s < t.

        x_s = x_t + (s - t) [ v - ½ η² g² ∇log p_t ] + η g √(t - s) z

    Where it would overshoot by f alone, (t - s) |f| > 2, it is a step of `posterior_step`.

    Arguments:
        schedule: the path.
        x: the state x_t, shape (B, ...).
        x0: the estimate of x₀, shape (B, ...).
        t: the time of x, shape ().
        s: the time wanted, shape ().
        eta: η; 1 for Anderson's reverse SDE.
        noise: called with a state, gives standard normal noise of its shape.
    """
    if (t - s) * schedule.drift(t).abs() > STABLE:
        # Where little signal is left f and g are as large as you like; the exact transition is not.
        return posterior_step(schedule, x, x0, t, s, min(eta, 1.0), noise)
    x_mean = x + expand(s - t, x) * reverse_drift(schedule, x, x0, t, eta)
    spread = eta * schedule.diffusion(t) * torch.sqrt(t - s)
    return x_mean + expand(spread, x) * noise(x)


@dataclass(frozen=True)
class EulerMaruyama(OneStep):
    """The Euler-Maruyama method for the reverse SDE.

        x_s = x_t + (s - t) [ v - ½ η² g² ∇log p_t ] + η g √(t - s) z

    It needs hundreds of steps. Those that would overshoot by f alone, (t - s) |f| > 2, are the exact
    posterior's: where no signal is left (flow matching's t = 1) f and g are infinite.

    Arguments:
        grid: the times to visit.
        eta: η; 1 for Anderson's reverse SDE; above 0.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, App. D; 'em' of the
        tutorial. arXiv:2011.13456
    """

    grid: Grid = UniformTime()
    eta: float = 1.0
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.eta < math.inf:
            raise InputError(f"eta must be above 0 and finite, got {self.eta}; use Euler for 0")

    def step(
        self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> Tensor:
        return euler_maruyama_step(schedule, x, x0, t, s, self.eta, noise)


@dataclass(frozen=True)
class ReverseDiffusion(OneStep):
    """The reverse diffusion sampler: the reverse SDE discretized as the forward one is.

        x_s = (2 - a) x_t + b² ∇log p_t + b z,   a = α_t/α_s,   b² = σ_t² - a² σ_s²

    where x_t = a x_s + b z is the forward transition: the paper's f_i = (a - 1) x and G_i = b on every
    path, for VP x_s = (2 - √(1-β)) x_t + β ∇log p + √β z. The first step from where no signal is left,
    where a = 0 at any size of step, is the exact posterior's.

    Arguments:
        grid: the times to visit.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, App. E, eq. 46.
        arXiv:2011.13456
    """

    grid: Grid = UniformTime()
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(
        self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> Tensor:
        alpha_t, sigma_t = schedule(t)
        if alpha_t == 0:
            return posterior_step(schedule, x, x0, t, s, 1.0, noise)
        kept, between = transition(schedule, s, t)
        mean = expand(2 - kept, x) * x
        mean = mean - expand(between / sigma_t, x) * noise_from(schedule, x, x0, t)
        return mean + expand(torch.sqrt(between), x) * noise(x)


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """A step of the reverse SDE, then Langevin steps that pull the state back to its marginal.

        predictor   x ← a walk of any sampler from t to s
        corrector   x ← x + δ ∇log p_s(x) + √(2δ) z,   δ = 2 (snr σ_s)²

    Published, δ = 2 (snr ‖z‖/‖∇log p‖)² with norms averaged over the batch, so that a sample depends on
    its neighbours, and on VP α_i times that. Since ‖σ ∇log p‖ = ‖ε̂‖, whose mean square is at most that
    of z and equal to it where the data fill few dimensions, we take the norms' ratio to be σ, and no α.

    What a predictor remembers of earlier steps is of states that have been corrected since: each of its
    walks begins anew, so that of a multistep method the first step is taken, of order 1.

    Arguments:
        grid: the times to visit.
        predictor: the sampler whose steps are corrected, any but `Restart`, whose intervals span many;
            its own grid is not used.
        corrector_steps: Langevin steps after each predictor step; at least 0, with which it is the
            predictor alone.
        snr: the size of a Langevin step relative to the noise; between 0 and 1.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, Algorithms 2 to 5.
        arXiv:2011.13456
    """

    grid: Grid = UniformTime()
    predictor: Sampler = EulerMaruyama()
    corrector_steps: int = 1
    snr: float = 0.16
    order: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.predictor, Sampler) or self.predictor.extra_evaluations:
            raise InputError(
                "predictor must be a sampler that does the same in each of its steps, as "
                f"EulerMaruyama(), got {self.predictor!r}"
            )
        # From 1 on δ > 2 v where data are points, and the corrector diverges.
        if not 0 < self.snr < 1:
            raise InputError(f"snr must lie between 0 and 1, got {self.snr}")
        check_count("corrector_steps", self.corrector_steps, 0)

    @property
    def stochastic(self) -> bool:
        return self.predictor.stochastic or self.corrector_steps > 0

    @property
    def evaluations_per_step(self) -> int:
        own = self.predictor.evaluations_per_step
        return own + self.corrector_steps if own else 0

    @property
    def needs(self) -> str:
        return self.predictor.needs

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        if self.corrector_steps == 0:
            yield from self.predictor.walk(denoise, schedule, x, times, noise)
            return
        for t, s in pairwise(times):
            step = None
            for step in self.predictor.walk(denoise, schedule, x, torch.stack([t, s]), noise):
                if step.t > s:
                    yield step
            if step is None or step.t > s:
                return  # it could not go on, and has said so
            x = self._corrected(denoise, schedule, step, noise)
        yield Step(times[-1], x, denoise(x, times[-1]))

    def _corrected(self, denoise: Denoise, schedule: Schedule, step: Step, noise: Noise) -> Tensor:
        """The state after the Langevin steps; the first takes the estimate that the predictor ended in."""
        s, x, x0 = step
        for i in range(self.corrector_steps):
            x0 = denoise(x, s) if i else x0
            x = langevin_step(schedule, x, x0, s, 4 * self.snr**2, noise)
        return x
