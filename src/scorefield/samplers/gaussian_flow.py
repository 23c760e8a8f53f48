"""The flow of a Gaussian with the data's moments, and what the data add to it: the parts of a step.

In y = Uᵀ(x - α m)/√(α² Λ + σ²) that flow stands still, and the data's is dy/dτ = f/√(Λ + u²).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.core.moments import Basis, Moments
from scorefield.core.schedule import Schedule
from scorefield.samplers.linear import levels, noise_to_signal
from scorefield.samplers.multistep import lagrange
from scorefield.samplers.quadrature import gauss_legendre

REACH = 4.0  # noise in units of σ_data beyond which the flow is taken for that of a Gaussian
NODES = 16

Residual = tuple[float, Tensor]  # τ and f there
Share = tuple[float, float]  # a and b of a + b Λ/(Λ + u²)


def level(schedule: Schedule, t: Tensor) -> float:
    """u = σ/α at a time of shape (); where no signal is left it is infinite, which no clock can tell."""
    return min(noise_to_signal(schedule, t), 1e8)


class Span(NamedTuple):
    """A stretch of τ, looked at in a few points.

    Arguments:
        tau: the points, shape (nodes,).
        decay: 1/√(Λ + u²) there times their weights, shape (nodes, K, D).
    """

    tau: Tensor
    decay: Tensor


class Place(NamedTuple):
    """What is needed at a time, each for every sample or one for all, (B or 1, D).

    Arguments:
        mean: α m.
        scale: √(α² Λ + σ²).
        shrink: α Λ/√(α² Λ + σ²), what x̂₀ᴳ - m is of y.
        gain: 1 + c/u².
    """

    mean: Tensor
    scale: Tensor
    shrink: Tensor
    gain: float


@dataclass(frozen=True, eq=False)
class GaussianFlow:
    """The flow of a Gaussian with the data's moments, for states like a given one.

    Arguments:
        schedule: the path.
        basis: U, in the dtype and on the device of the states.
        mean: m in it, shape (K, D), float64.
        variances: Λ, shape (K, D), float64.
        row: the row of each sample, shape (B,), or (1,) for one row for all.
        sigma_data: the standard deviation of all data.
        c: what u² is offset by in τ.
        like: a state, for its shape, its dtype and its device.
    """

    schedule: Schedule
    basis: Basis
    mean: Tensor
    variances: Tensor
    row: Tensor
    sigma_data: float
    c: float
    like: Tensor

    @property
    def end(self) -> float:
        """τ where no noise is left."""
        return -0.5 * math.log(self.c)

    def clock(self, t: Tensor, times: float = 1.0) -> float:
        """τ at so many times the noise level of t."""
        return -0.5 * math.log((times * level(self.schedule, t)) ** 2 + self.c)

    def starts_far(self, times: Tensor) -> bool:
        """Whether the first interval has nothing to look at."""
        if len(times) < 2:
            return False
        far = level(self.schedule, times[0]) > REACH * self.sigma_data
        return far or bool(times[0] == times[1])

    def place(self, t: Tensor) -> Place:
        """The numbers at a time."""
        alpha, sigma = levels(self.schedule, t)
        scale = torch.sqrt(alpha**2 * self.variances + sigma**2)
        return Place(
            self._rows(alpha * self.mean),
            self._rows(scale),
            self._rows(alpha * self.variances / scale),
            1 + self.c / level(self.schedule, t) ** 2,
        )

    def whitened(self, x: Tensor, place: Place) -> Tensor:
        """y, shape (B, D)."""
        return (self.basis.coordinates(x) - place.mean) / place.scale

    def state(self, y: Tensor, place: Place) -> Tensor:
        """x from y."""
        return self.basis.samples(torch.addcmul(place.mean, place.scale, y), self.like)

    def gaussian(self, y: Tensor, place: Place) -> Tensor:
        """x̂₀ᴳ."""
        return self.basis.samples(torch.addcmul(self._mean, place.shrink, y), self.like)

    def clean(self, y: Tensor) -> Tensor:
        """x where no noise is left."""
        spread = self._rows(self.variances.sqrt())
        return self.basis.samples(torch.addcmul(self._mean, spread, y), self.like)

    def residual(self, y: Tensor, x0: Tensor, place: Place) -> Tensor:
        """f, shape (B, D)."""
        apart = self.basis.coordinates(x0).sub_(self._mean)
        return apart.addcmul_(place.shrink, y, value=-1).mul_(place.gain)

    def span(self, begin: float, end: float) -> Span:
        """The stretch between two τ."""
        nodes, weights = gauss_legendre(NODES)
        tau = begin + (end - begin) * nodes
        u2 = (torch.exp(-2 * tau) - self.c).clamp(min=0)
        decay = torch.rsqrt(self.variances + u2[:, None, None])
        return Span(tau, decay.mul_((end - begin) * weights[:, None, None]))

    def along(self, span: Span, y: Tensor, past: Sequence[Residual]) -> Tensor:
        """y + ∫ P(τ)/√(Λ + u²) dτ with P the polynomial through the residuals, shape (B, D)."""
        shares = lagrange([at for at, _ in past], span.tau) @ span.decay.flatten(1)
        rows = [self._rows(share.reshape(span.decay.shape[1:])) for share in shares]
        y = torch.addcmul(y, rows[0], past[0][1])
        for row, (_, f) in zip(rows[1:], past[1:], strict=True):
            y.addcmul_(row, f)
        return y

    def amended(
        self, y: Tensor, gains: Tensor, past: Sequence[Residual], shares: Sequence[Share]
    ) -> Tensor:
        """y + Σ (a_j + b_j Λ/(Λ + u²)) g f_j with u of the newest residual, shape (B, D).

        Arguments:
            y: shape (B, D).
            gains: g, such as ∫ dτ/√(Λ + u²) over a stretch, shape (K, D).
            past: the residuals, newest first.
            shares: a and b for each of the first of them.
        """
        u2 = max(math.exp(-2 * past[0][0]) - self.c, 0.0)
        signal = self.variances / (self.variances + u2)
        for (a, b), (_, f) in zip(shares, past, strict=False):
            y = torch.addcmul(y, self._rows((a + b * signal) * gains), f)
        return y

    def shifted(
        self, x0: Tensor, past: Sequence[Residual], shares: Sequence[Share], place: Place
    ) -> Tensor:
        """x̂₀ with shares of the residuals, taken back to its own scale, added."""
        gains = torch.full_like(self.variances, 1 / place.gain)
        there = self.amended(self.basis.coordinates(x0), gains, past, shares)
        return self.basis.samples(there, self.like)

    @cached_property
    def _mean(self) -> Tensor:
        return self._rows(self.mean)

    def _rows(self, values: Tensor) -> Tensor:
        """Each sample's row of values (K, D), in the dtype and on the device of the states."""
        values = values.to(self.like)
        return values if len(values) == 1 else values[self.row]


def gaussian_flow(schedule: Schedule, moments: Moments, c: float, like: Tensor) -> GaussianFlow:
    """The flow of a Gaussian with these moments, of which it keeps the classes that are there.

    Arguments:
        schedule: the path.
        moments: mean and covariance of the data, for each sample's conditions.
        c: what u² is offset by in τ.
        like: a state, for its shape, its dtype and its device.
    """
    held, row = torch.unique(moments.row, return_inverse=True)
    return GaussianFlow(
        schedule=schedule,
        basis=moments.basis.like(like),
        mean=moments.mean[held],
        variances=moments.variances[held],
        row=row,
        sigma_data=moments.sigma_data,
        c=c,
        like=like,
    )
