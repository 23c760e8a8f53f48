"""A denoiser is an estimate of E[x₀ | x_t]; noise, score and velocity are read from it.

ε̂ = (x - α x̂₀)/σ,   ∇ log p_t = -ε̂/σ,   v = α' x̂₀ + σ' ε̂
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scorefield.core.broadcast import expand
from scorefield.core.marginal import Marginal
from scorefield.core.moments import Moments
from scorefield.core.parameterizations import Parameterization
from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError


class Denoiser(nn.Module, ABC):
    """An estimate of the clean data, E[x₀ | x_t], on a schedule.

    Arguments:
        schedule: the path x_t = α x₀ + σ ε that the estimate is for.
        moments: mean and covariance of the data, where they are known; some samplers make use of them.
    """

    def __init__(self, schedule: Schedule, moments: Moments | None = None) -> None:
        super().__init__()
        self.schedule = schedule
        self.moments = moments

    @abstractmethod
    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """E[x₀ | x_t].

        Arguments:
            x: the noisy state x_t, shape (B, ...).
            t: the time, shape () or (B,), 0 for data to 1 for noise.
            cond: conditions by name, such as ``label`` of shape (B,).
        """

    def noise(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """E[ε | x_t], shape (B, ...); the arguments are those of `forward`."""
        return noise_from(self.schedule, x, self(x, t, **cond), t)

    def score(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """∇ log p_t(x), shape (B, ...); the arguments are those of `forward`."""
        _, sigma = self.schedule(t)
        out: Tensor = -self.noise(x, t, **cond) / expand(sigma, x)
        return out

    def velocity(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """dx/dt of the probability-flow ODE, v = α' x̂₀ + σ' ε̂, shape (B, ...)."""
        x0: Tensor = self(x, t, **cond)
        alpha_rate, sigma_rate = self.schedule.rates(t)
        eps = noise_from(self.schedule, x, x0, t)
        return expand(alpha_rate, x) * x0 + expand(sigma_rate, x) * eps


def check_finite(x0: Tensor, t: Tensor) -> None:
    """Refuse estimates that are not finite.

    Arguments:
        x0: estimates of x₀, shape (B, ...).
        t: their time, shape () or (B,).

    Raises:
        InputError: with the time of the first that is not finite.
    """
    # A sum is not finite if a term is not, and takes a fifth of the time of looking at each.
    if bool(torch.isfinite(x0.sum())):
        return
    finite = torch.isfinite(x0).flatten(1).all(1)
    if not bool(finite.all()):
        bad = t.expand(len(x0))[~finite.to(t.device)][0]
        raise InputError(f"the model's output is not finite at t = {float(bad):.4g}")


def noise_from(schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
    """The noise that x and an estimate of x₀ imply, ε̂ = (x - α x̂₀)/σ.

    Arguments:
        schedule: the path.
        x: the state x_t, shape (B, ...).
        x0: an estimate of x₀, shape (B, ...).
        t: the time, shape () or (B,).
    """
    alpha, sigma = schedule(t)
    return (x - expand(alpha, x) * x0) / expand(sigma, x)


class NetworkDenoiser(Denoiser):
    """A network behind a parameterization, in coordinates where the data have mean 0.

        x̂₀ = m + c_skip (x - α m) + c_out F(c_in (x - α m), c_noise)

    Where the law of a single number is known, K pieces of constant density, the network is told beside its
    input what each number says of its own piece, and says K numbers ℓ_k more: what the others of the sample
    say of it. In place of m + c_skip (x - α m) stands

        Σ_k w_k E[x₀ | x, k],   w_k ∝ P(k | x) exp(ℓ_k)

    with both of each number by itself. Given all others, a number's own noise says nothing more of its
    piece than P(k | x), so with pieces that are small enough this can be E[x₀ | x] itself.

    Arguments:
        network: called as ``network(x, c_noise, **cond)`` with c_noise of shape (B,), and x of the shape of
            the data, or `Marginal.told` of it; it gives the shape of x.
        schedule: the path.
        parameterization: what the network's output means.
        mean: m, the mean of the data, one number for each channel (or one for all).
        moments: mean and covariance of the data, where they are known.
        marginal: the law of a single number of the data; none if its ``pieces`` are 0.

    Reference: Karras et al. 2022, eq. 7, for the four coefficients. arXiv:2206.00364
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        parameterization: Parameterization,
        mean: Sequence[float] = (0.0,),
        moments: Moments | None = None,
        marginal: Marginal = Marginal(),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(schedule, moments)
        self.network = network
        self.parameterization = parameterization
        self.mean = tuple(mean)
        self.marginal = marginal

    def with_network(self, network: nn.Module) -> NetworkDenoiser:
        """The same denoiser behind another network; it itself is left as it is.

        Arguments:
            network: called as the other is.
        """
        own = (self.schedule, self.parameterization, self.mean, self.moments, self.marginal)
        return NetworkDenoiser(network, *own)

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        t = as_time(t).expand(len(x))
        mean, centred = self._centre(x, t)
        skip, out = (expand(c, x) for c in self.parameterization.inversion(self.schedule, t))
        return mean + skip * centred + out * self._network(centred, t, cond)

    def residual(self, x0: Tensor, t: Tensor, eps: Tensor, **cond: Tensor | None) -> Tensor:
        """The error on the network's own target.

            F - (a (x₀ - m) + b ε)

        The target is formed directly from x₀ and ε, so nothing cancels at small σ.

        Arguments:
            x0: clean data, shape (B, ...).
            t: times, shape (B,).
            eps: standard normal noise, shape (B, ...).
            cond: conditions by name.

        Returns:
            The error, shape (B, ...), float32 or better.
        """
        t = as_time(t)
        alpha, sigma = self.schedule(t)
        a, b = self.parameterization.target(self.schedule, t)
        mean = self._mean(x0)
        x = expand(alpha, x0) * (x0 - mean) + expand(sigma, x0) * eps
        target = expand(a, x0) * (x0 - mean) + expand(b, x0) * eps
        return self._network(x, t, cond) - target

    def _network(self, centred: Tensor, t: Tensor, cond: dict[str, Tensor | None]) -> Tensor:
        scale = expand(self.parameterization.input_scale(self.schedule, t), centred)
        if not self.marginal.known:
            return self._said(scale * centred, t, cond)
        x, m = centred.double(), self._mean(centred).double()
        alpha, sigma = self.schedule(t)
        piece, mean = self.marginal.posterior(x + expand(alpha, x) * m, alpha, sigma)
        piece = piece.to(centred.dtype)
        told = torch.cat([scale * centred, piece.exp().flatten(1, 2)], 1)
        said = self._said(told, t, cond).reshape(len(x), -1, *x.shape[1:])
        x0 = (torch.softmax(piece + said[:, 1:], 1) * mean).sum(1)
        skip, unit = self.parameterization.inversion(self.schedule, t)
        return said[:, 0] + ((x0 - m - expand(skip, x) * x) / expand(unit, x)).to(centred.dtype)

    def _said(self, told: Tensor, t: Tensor, cond: dict[str, Tensor | None]) -> Tensor:
        """What the network says, in the dtype of what it is told; it may compute in another."""
        weights = next((p.dtype for p in self.parameters()), told.dtype)
        condition = self.parameterization.condition(self.schedule, t).to(told.device, weights)
        out: Tensor = self.network(told.to(weights), condition, **cond).to(told.dtype)
        return out

    def _mean(self, x: Tensor) -> Tensor:
        mean = torch.tensor(self.mean, dtype=x.dtype, device=x.device)
        return mean.reshape(-1, *[1] * (x.ndim - 2))

    def _centre(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        mean = self._mean(x)
        alpha, _ = self.schedule(t)
        return mean, x - expand(alpha, x) * mean
