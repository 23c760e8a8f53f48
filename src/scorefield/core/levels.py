"""Data of a few levels, such as 8-bit pixels: what a density says of their probability.

A probability P(x) of levels and a density of real numbers are compared through the spacing Δ: a density
that is constant over a cell of width Δ around each level gives it the mass density · Δ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import Denoiser
from scorefield.core.likelihood import LogLikelihood, log_likelihood
from scorefield.core.normal import log_mass
from scorefield.errors import InputError

Dequantisation = Literal["uniform", "variational", "none"]
DEQUANTISATIONS = ("uniform", "variational", "none")


class Levels(NamedTuple):
    """Equally spaced levels of a number.

    Arguments:
        low: the lowest level.
        high: the highest.
        number: how many there are; at least 2.
    """

    low: float
    high: float
    number: int

    @property
    def spacing(self) -> float:
        """Δ = (high - low)/(number - 1)."""
        if self.number < 2:
            raise InputError(f"number must be at least 2, got {self.number}")
        return (self.high - self.low) / (self.number - 1)

    def blur(self, noise: float) -> float:
        """What noise that is left costs a number whose level is sure, in bits; uniform dequantisation.

            -∫₀¹ log₂ [Φ(u/s) - Φ((u - 1)/s)] du,   s = noise/Δ;   about 1.4 s for s below ½

        Arguments:
            noise: the standard deviation σ/α at t_min, in the units of the levels; above 0.
        """
        # The noise of both ends, where the integrand bends, has points enough down to s = 10⁻⁴.
        u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
        s = noise / self.spacing
        return -float(log_mass((u - 1) / s, u / s).mean()) / math.log(2)

    def log_prob(self, x0: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Log-probability of levels under a normal law whose mass is cut into cells, shape (B,).

            Π_i [ Φ((x_i + Δ/2 - m_i)/s) - Φ((x_i - Δ/2 - m_i)/s) ],   the outermost cells without end

        Arguments:
            x0: the levels, shape (B, ...).
            mean: m, shape (B, ...).
            std: s, shape (); above 0.

        Reference: Ho et al. 2020, Denoising Diffusion Probabilistic Models, eq. 13. arXiv:2006.11239
        """
        half, offset = self.spacing / 2, x0.double() - mean.double()
        upper = torch.where(x0 > self.high - half, math.inf, (offset + half) / std)
        lower = torch.where(x0 < self.low + half, -math.inf, (offset - half) / std)
        total: Tensor = log_mass(lower, upper).clamp(min=-1e10).flatten(1).sum(1)
        return total


def data_log_likelihood(
    denoiser: Denoiser,
    x0: Tensor,
    levels: Levels | None = None,
    *,
    dequantisation: Dequantisation = "uniform",
    noise: Callable[[Tensor], Tensor] = torch.randn_like,
    **settings: Any,  # noqa: ANN401
) -> LogLikelihood:
    """The log-likelihood of data in nats, as a density in their own units.

        none         q(x₀),                              q(y) = α^D p(α y) at t_min
        uniform      E_u log q(x₀ + Δu),                 u uniform in [-½, ½]^D
        variational  E_x [log p(x) + log P(x₀ | x) - log N(x; α x₀, σ²)] - D log Δ,   x = α x₀ + σ ε

    'uniform' and 'variational' are lower bounds of log P(x₀) - D log Δ for the probability P that the
    model gives to levels, by one draw. In the first, P is q integrated over cells; it pays for the noise
    that is left at t_min wherever data have less. In the second, the model is p and then a normal law
    around x̂₀ with deviation σ/α, cut into cells, P(x₀ | x).

    Arguments:
        denoiser: the model, with gradients in x.
        x0: data, shape (B, ...).
        levels: the levels of the data; none for real numbers.
        dequantisation: 'uniform', 'variational', or 'none' for real numbers.
        noise: called with a state, gives standard normal noise of its shape.
        settings: those of `log_likelihood`, and conditions.

    Raises:
        InputError: for levels without dequantisation, or the other way round.

    Reference: Theis et al. 2016, A note on the evaluation of generative models, section 3.1; Ho et al.
        2019, Flow++, section 3.1; Kingma et al. 2021, Variational Diffusion Models, eq. 11.
        arXiv:1511.01844, arXiv:1902.00275, arXiv:2107.00630
    """
    _check(levels, dequantisation)
    schedule = denoiser.schedule
    at = torch.as_tensor(schedule.t_min, dtype=torch.float64)
    alpha, sigma = schedule(at)
    dim, cond = x0[0].numel(), {k: v for k, v in settings.items() if k not in _OWN}
    if levels is None or dequantisation != "variational":
        y = x0
        if levels is not None:
            y = x0 + levels.spacing * (torch.special.ndtr(noise(x0)) - 0.5)
        found = log_likelihood(denoiser, expand(alpha, y) * y, noise=noise, **settings)
        return _shifted(found, dim * torch.log(alpha))
    eps = noise(x0)
    x = expand(alpha, x0) * x0 + expand(sigma, x0) * eps
    found = log_likelihood(denoiser, x, noise=noise, **settings)
    with torch.no_grad():
        mass = levels.log_prob(x0, denoiser(x, at, **cond), (sigma / alpha).to(x0.device))
    log_q = -0.5 * (eps.double() ** 2 + torch.log(2 * math.pi * sigma**2).to(x0.device))
    return _shifted(found, mass - log_q.flatten(1).sum(1) - dim * math.log(levels.spacing))


_OWN = ("solver", "probes", "probe", "exact", "prior")  # what is not a condition


def _shifted(found: LogLikelihood, by: Tensor) -> LogLikelihood:
    return found._replace(log_prob=found.log_prob + by.to(found.log_prob))


def _check(levels: Levels | None, dequantisation: str) -> None:
    if dequantisation not in DEQUANTISATIONS:
        known = ", ".join(DEQUANTISATIONS)
        raise InputError(f"dequantisation must be one of {known}, got '{dequantisation}'")
    if levels is None and dequantisation != "none":
        raise InputError(
            f"these data are real numbers without levels: dequantisation must be 'none', "
            f"got '{dequantisation}'"
        )
    if levels is not None and dequantisation == "none":
        raise InputError(
            f"data of {levels.number} levels have no density: dequantisation must be 'uniform' or "
            f"'variational', got 'none'"
        )
