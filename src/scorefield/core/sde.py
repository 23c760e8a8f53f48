"""The same mathematics for those who think in SDEs.

Every path has one forward SDE, and its reverse processes are one family with the same marginals:

    forward   dx = f x dt + g dw
    reverse   dx = [ v(x, t) - ½ η² g² ∇log p_t(x) ] dt + η g dw̄

with v the probability-flow velocity. η = 0 is the probability-flow ODE, dx/dt = f x - ½ g² ∇log p_t,
½ and all; η = 1 is Anderson's reverse SDE, f x - g² ∇log p_t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import Denoiser, noise_from
from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError


def transition(schedule: Schedule, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and variance of the forward transition from s to t > s.

        x_t = (α_t/α_s) x_s + √(σ_t² - (α_t/α_s)² σ_s²) z

    Arguments:
        schedule: the path.
        s: the time to start from, shape ().
        t: the time to get to, shape ().
    """
    (alpha_s, sigma_s), (alpha_t, sigma_t) = schedule(s), schedule(t)
    kept = alpha_t / alpha_s
    return kept, (sigma_t**2 - (kept * sigma_s) ** 2).clamp(min=0)


@dataclass(frozen=True)
class ForwardSDE:
    """The noising SDE of a schedule, dx = f(t) x dt + g(t) dw.

    Arguments:
        schedule: the path whose marginals it has.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 5. arXiv:2011.13456
    """

    schedule: Schedule

    def drift(self, x: Tensor, t: Tensor) -> Tensor:
        """f(t) x, shape (B, ...), for x of shape (B, ...) and t of shape () or (B,)."""
        return expand(self.schedule.drift(t), x) * x

    def diffusion(self, t: Tensor) -> Tensor:
        """g(t), of the shape of ``t``."""
        return self.schedule.diffusion(t)

    def simulate(
        self, x0: Tensor, times: Tensor, noise: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (t, x_t) along increasing times, each from the one before by its exact transition.

            x_s = (α_s/α_t) x_t + √(σ_s² - (α_s/α_t)² σ_t²) z,   s > t

        Arguments:
            x0: clean data, shape (B, ...).
            times: increasing times in [0, 1], shape (n,).
            noise: called with a state, gives standard normal noise of its shape.

        Raises:
            InputError: at the first step, for times that do not increase.
        """
        times = as_time(times)
        if times.ndim != 1 or len(times) == 0 or not bool((times.diff() > 0).all()):
            raise InputError(f"times must be a row that increases, got {times.tolist()}")
        alpha, sigma = self.schedule(times)
        x = expand(alpha[0], x0) * x0 + expand(sigma[0], x0) * noise(x0)
        yield times[0], x
        for i, j in pairwise(range(len(times))):
            ratio = alpha[j] / alpha[i]
            spread = torch.sqrt(sigma[j] ** 2 - (ratio * sigma[i]) ** 2)
            x = expand(ratio, x) * x + expand(spread, x) * noise(x)
            yield times[j], x


@dataclass(frozen=True)
class ReverseSDE:
    """A reverse-time process of a denoiser, dx = [v - ½ η² g² ∇log p_t] dt + η g dw̄.

    Arguments:
        denoiser: the estimate of E[x₀ | x_t] on its schedule.
        eta: 0 for the probability-flow ODE, 1 for Anderson's SDE; at least 0.

    Reference: Song et al. 2021, eq. 6 and eq. 13; Zhang & Chen 2021, Diffusion Normalizing Flow, for
        the family. arXiv:2011.13456, arXiv:2110.07579
    """

    denoiser: Denoiser
    eta: float = 1.0

    def __post_init__(self) -> None:
        if not self.eta >= 0:
            raise InputError(f"eta must be at least 0, got {self.eta}")

    def drift(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """The drift at x of shape (B, ...) and t of shape () or (B,)."""
        return reverse_drift(self.denoiser.schedule, x, self.denoiser(x, t, **cond), t, self.eta)

    def diffusion(self, t: Tensor) -> Tensor:
        """η g(t), of the shape of ``t``."""
        if self.eta == 0:
            return torch.zeros_like(torch.as_tensor(t, dtype=torch.float64))
        return self.eta * self.denoiser.schedule.diffusion(t)


def reverse_drift(schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor, eta: float) -> Tensor:
    """v - ½ η² g² ∇log p_t from an estimate of x₀.

    Arguments:
        schedule: the path.
        x: the state x_t, shape (B, ...).
        x0: an estimate of x₀, shape (B, ...).
        t: the time, shape () or (B,).
        eta: 0 for the ODE, 1 for the SDE.
    """
    alpha_rate, sigma_rate = schedule.rates(t)
    eps = noise_from(schedule, x, x0, t)
    if eta != 0:  # skipped, not multiplied by 0: g is infinite where α is 0
        _, sigma = schedule(t)
        sigma_rate = sigma_rate + 0.5 * eta**2 * schedule.diffusion(t) ** 2 / sigma
    return expand(alpha_rate, x) * x0 + expand(sigma_rate, x) * eps
