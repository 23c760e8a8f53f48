"""The law of a single number of the data: what is known of each before its neighbours are looked at.

Most numbers of an image of 8 bits have few levels: four fifths of MNIST's are black. At noise below a
level such a number is known but for its place in its cell, and nothing but its own law says so. A network
that computes in bfloat16 does not even see noise that small. `Marginal` is this law, a density that is
constant on a few pieces, whose denoiser is known in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.errors import InputError

WIDEST = 1e4  # of the law's width: more noise than this leaves nothing to know
FARTHEST = 6.0  # deviations off the law's ends: states beyond are taken for there


@dataclass(frozen=True)
class Marginal:
    """The law of a single number of the data, a density that is constant on each of a few pieces.

        p(x) = m_k / (e_{k+1} - e_k),   e_k ≤ x < e_{k+1}

    Arguments:
        pieces: into how many pieces the law of the training data is cut, those that tell most; 0 for no
            such law.
        edges: e, rising, one more than there are pieces; measured from the data when training if not given.
        masses: m, positive, with the sum 1; measured with the edges.

    Reference: our own; Efron 2011, Tweedie's Formula and Selection Bias, for the mean.
        doi:10.1198/jasa.2011.tm11181
    """

    pieces: int = 0
    edges: tuple[float, ...] = ()
    masses: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.pieces < 0:
            raise InputError(f"pieces must be at least 0, got {self.pieces}")
        if not self.edges and not self.masses:
            return
        if self.pieces == 0 or len(self.edges) != len(self.masses) + 1 or not self.masses:
            raise InputError(
                f"{self.pieces} pieces need one more edge than masses, got {len(self.edges)} edges "
                f"and {len(self.masses)} masses"
            )
        if not all(a < b for a, b in pairwise(self.edges)):
            raise InputError(f"edges must rise, got {list(self.edges)}")
        if not (min(self.masses) > 0 and math.isclose(sum(self.masses), 1, rel_tol=1e-6)):
            raise InputError(f"masses must be positive with the sum 1, got {list(self.masses)}")

    @property
    def known(self) -> bool:
        """Whether there is a law, measured or given."""
        return bool(self.edges)

    def denoised(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x] of every number by itself, of the shape and dtype of ``x``.

            y + s Σ_k j_k φ(a_k) / Σ_k j_k Φ(a_k),   a_k = (y - e_k)/s,   y = x/α,   s = σ/α

        with j_k the rise of the density at an edge: y + s² q'/q for the density q of x₀ + s ε.

        Arguments:
            x: states α x₀ + σ ε, shape (B, ...).
            alpha: α, shape () or (B,).
            sigma: σ, shape () or (B,); above 0.
        """
        y, s = self._scaled(x, alpha, sigma)
        mass, slope = self._smoothed(y, s)
        return (y + s * slope / mass).to(x.dtype)

    def log_prob(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The log-density of each number of a state in nats, of the shape of ``x``, float64.

        Arguments:
            x: states α x₀ + σ ε, shape (B, ...), within 6 deviations of the law.
            alpha: α, shape () or (B,).
            sigma: σ, shape () or (B,); above 0.
        """
        y, s = self._scaled(x, alpha, sigma)
        return torch.log(self._smoothed(y, s)[0]) - torch.log(expand(sigma, y) / s)

    def _scaled(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """State and noise in units of the data, in float64: with much noise, small numbers cancel."""
        low, high = self.edges[0], self.edges[-1]
        x = x.double()
        alpha, sigma = expand(alpha, x), expand(sigma, x)
        alpha = torch.maximum(alpha, sigma / (WIDEST * (high - low)))
        s = sigma / alpha
        y = torch.maximum(torch.minimum(x / alpha, high + FARTHEST * s), low - FARTHEST * s)
        return y, s

    def _smoothed(self, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """The law's density after noise of deviation s, and s times its slope, at y."""
        mass, slope = torch.zeros_like(y), torch.zeros_like(y)
        unit = s * math.sqrt(2)
        for edge, jump in zip(self.edges, self._jumps, strict=True):
            a = (y - edge) / unit
            mass = mass + jump / 2 * torch.erf(a)
            slope = slope + jump / math.sqrt(2 * math.pi) * torch.exp(-(a**2))
        return mass, slope

    @property
    def _jumps(self) -> tuple[float, ...]:
        """By how much the density rises at each edge."""
        cells = zip(self.masses, pairwise(self.edges), strict=True)
        density = [0.0, *(mass / (high - low) for mass, (low, high) in cells), 0.0]
        return tuple(after - before for before, after in pairwise(density))
