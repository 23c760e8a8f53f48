"""Multistep methods: past values enter by the polynomial through them, integrated against a weight.

Every form of the flow is a linear part and an integral over one value: x̂₀, ε̂ or v̂. A method is the
value it remembers, the variable of its polynomial and the weight of its integral; the rest is here.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.samplers.base import Denoise, Sampler, Step, posterior_step
from scorefield.samplers.linear import Mean, levels, moved, noise_at
from scorefield.samplers.noise import Noise
from scorefield.samplers.quadrature import gauss_legendre

QUADRATURE_POINTS = 32
TWO_POINTS = (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6)


def mean_weights(
    nodes: Sequence[float],
    start: float,
    end: float,
    density: Callable[[Tensor], Tensor],
    variable: Callable[[Tensor], Tensor] = torch.clone,
) -> list[float]:
    """The numbers c_j for which Σ c_j F_j is the mean of the polynomial through (node_j, F_j).

        c_j = ∫ ℓ_j(v(p)) w(p) dp / ∫ w(p) dp,   ℓ_j(v) = Π_{k≠j} (v - v_k)/(v_j - v_k)

    By Gauss and Legendre's rule, which is exact to rounding for the weights in use and, unlike the
    closed forms, loses nothing on short steps.

    Arguments:
        nodes: v_j, distinct and finite.
        start: p where the mean begins.
        end: p where it ends.
        density: w, called with points of shape (n,), float64; of one sign.
        variable: v, the variable of the polynomial; p itself if not given.
    """
    if len(nodes) == 1:
        return [1.0]
    points, shares = gauss_legendre(QUADRATURE_POINTS)
    p = start + (end - start) * points
    shares = shares * density(p)
    out: Tensor = lagrange(nodes, variable(p)) @ (shares / shares.sum())
    return out.tolist()


def even_weights(nodes: Sequence[float], start: float, end: float) -> list[float]:
    """The same with w = 1 in the polynomial's own variable, for up to four nodes.

    Gauss and Legendre's rule of two points is exact for cubics; in Python's own numbers it takes a
    tenth of the time.

    Arguments:
        nodes: v_j, distinct and finite; four at most.
        start: v where the mean begins.
        end: v where it ends.
    """
    points = [start + (end - start) * share for share in TWO_POINTS]
    return [sum(_lagrange_at(nodes, j, v) for v in points) / 2 for j in range(len(nodes))]


def _lagrange_at(nodes: Sequence[float], j: int, v: float) -> float:
    return math.prod((v - other) / (nodes[j] - other) for k, other in enumerate(nodes) if k != j)


def lagrange(nodes: Sequence[float], v: Tensor) -> Tensor:
    """ℓ_j(v) = Π_{k≠j} (v - v_k)/(v_j - v_k), shape (nodes, points).

    Arguments:
        nodes: v_j, distinct and finite.
        v: points, shape (points,), float64.
    """
    rows = []
    for j, node in enumerate(nodes):
        row = torch.ones_like(v)
        for other in (n for k, n in enumerate(nodes) if k != j):
            row = row * ((v - other) / (node - other))
        rows.append(row)
    return torch.stack(rows)


def exponential_weights(nodes: Sequence[float], end: float, rate: float) -> list[float]:
    """The weights of past values in a mean from ``nodes[0]`` to ``end`` with density e^{rate λ}.

    Two values take the midpoint rule of the 2M methods: exact to the same order, and steadier at few
    steps. A value where no signal is left, at λ = -∞, is used alone or not at all.

    Arguments:
        nodes: λ = log α/σ of past values, newest first.
        end: λ at the end of the step.
        rate: the rate of the density.

    Returns:
        As many weights as values are used, newest first.
    """
    finite = finite_nodes(nodes)
    if len(finite) == 2:
        ratio = (end - finite[0]) / (finite[0] - finite[1]) / 2
        return [1 + ratio, -ratio]
    return mean_weights(finite, nodes[0], end, lambda v: torch.exp(rate * (v - end)))


def finite_nodes(nodes: Sequence[float]) -> list[float]:
    """The newest node, and those before it that are finite; where no signal is left some are not."""
    return [nodes[0], *(node for node in nodes[1:] if math.isfinite(node))]


@dataclass(frozen=True)
class Multistep(Sampler):
    """A sampler that remembers past values and needs one evaluation a step."""

    @property
    @abstractmethod
    def memory(self) -> int:
        """How many values the polynomial goes through, the newest included."""

    @abstractmethod
    def value(self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """What is remembered of the state and the estimate at t, shape (B, ...)."""

    @abstractmethod
    def weights(self, schedule: Schedule, times: Sequence[Tensor], s: Tensor) -> list[float]:
        """The weights of the values at ``times``, newest first, in the mean up to s."""

    @abstractmethod
    def advance(
        self,
        schedule: Schedule,
        x: Tensor,
        x0: Tensor,
        mean: Mean,
        t: Tensor,
        s: Tensor,
        noise: Noise,
    ) -> Tensor:
        """The state at s < t, given the value's mean between them, shape (B, ...)."""

    def walk(
        self, denoise: Denoise, schedule: Schedule, x: Tensor, times: Tensor, noise: Noise
    ) -> Iterator[Step]:
        past: list[Tensor] = []
        values: list[Tensor] = []
        for t, s in pairwise(times):
            x0 = denoise(x, t)
            yield Step(t, x, x0)
            past = [t, *past][: self.memory]
            values = [self.value(schedule, x, x0, t), *values][: self.memory]
            mean = Mean(self.weights(schedule, past, s), values)
            x = self.advance(schedule, x, x0, mean, t, s, noise)
        yield Step(times[-1], x, denoise(x, times[-1]))


def noise_step(schedule: Schedule, x: Tensor, mean: Mean, t: Tensor, s: Tensor) -> Tensor:
    """A step from t to s by dx/α = ε̂ d(σ/α).

        x_s = (α_s/α_t) x_t + (σ_s - α_s σ_t/α_t) ε̄

    Arguments:
        schedule: the path; α_t must not be 0.
        x: the state x_t, shape (B, ...).
        mean: ε̄, the mean of ε̂ on the way.
        t: the time of x, shape ().
        s: the time wanted, shape ().
    """
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(schedule, t), levels(schedule, s)
    grown = alpha_s / alpha_t
    return moved(grown, x, sigma_s - grown * sigma_t, mean)


@dataclass(frozen=True)
class NoisePrediction(Multistep):
    """A multistep method that remembers ε̂; what differs is how the past is weighed."""

    def value(self, schedule: Schedule, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        return noise_at(schedule, x, x0, t)

    def advance(
        self,
        schedule: Schedule,
        x: Tensor,
        x0: Tensor,
        mean: Mean,
        t: Tensor,
        s: Tensor,
        noise: Noise,
    ) -> Tensor:
        if schedule(t)[0] == 0:
            # x/α is infinite where no signal is left; there is one value, and its step is DDIM's.
            return posterior_step(schedule, x, x0, t, s, 0.0, noise)
        return noise_step(schedule, x, mean, t, s)
