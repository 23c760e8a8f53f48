"""The law of a single number of the data: what is known of each before its neighbours are looked at.

Most numbers of an image of 8 bits have few levels: four fifths of MNIST's are black. At noise below a
level such a number is known but for its place in its cell, and nothing but its own law says so. A network
that computes in bfloat16 does not even see noise that small. `Marginal` is this law, a density that is
constant on a few pieces, whose denoiser is known in closed form. The others of a sample tell more: they
change the masses of the pieces, and the form stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.normal import log_mass
from scorefield.errors import InputError, check_count

WIDEST = 1e4  # of the law's width: more noise than this leaves nothing to know
LEAST = 1e-16  # of a normal law in a piece; less is lost in rounding
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
        check_count("pieces", self.pieces, 0)
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

    def told(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what a network takes and gives for samples of a shape: 1 + K channels for each.

        Arguments:
            shape: (C, ...).
        """
        return (shape[0] * (1 + len(self.masses)), *shape[1:])

    def posterior(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """Which piece every number is from by what it says itself, and its mean there.

            P(k | x) ∝ m_k / (e_{k+1} - e_k) (Φ(a_k) - Φ(a_{k+1})),   a_k = (y - e_k)/s
            E[x₀ | x, k] = y + s (φ(a_k) - φ(a_{k+1}))/(Φ(a_k) - Φ(a_{k+1})),   y = x/α,   s = σ/α

        Arguments:
            x: states α x₀ + σ ε, shape (B, ...); taken for less far off the law's ends than they are where
                it is more than 6 deviations.
            alpha: α, shape () or (B,).
            sigma: σ, shape () or (B,); above 0.

        Returns:
            log P(k | x) and E[x₀ | x, k], shape (B, K, ...), float64.
        """
        y, s = self._scaled(x, alpha, sigma)
        low, high = self.edges[0], self.edges[-1]
        y = torch.maximum(torch.minimum(y, high + FARTHEST * s), low - FARTHEST * s)
        joint, mean = self._pieces(y, s)
        return torch.log_softmax(joint, 1), mean

    def denoised(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """E[x₀ | x] of every number by itself, of the shape and dtype of ``x``.

            Σ_k P(k | x) E[x₀ | x, k]

        Arguments:
            x: states α x₀ + σ ε, shape (B, ...).
            alpha: α, shape () or (B,).
            sigma: σ, shape () or (B,); above 0.
        """
        piece, mean = self.posterior(x, alpha, sigma)
        return (piece.exp() * mean).sum(1).to(x.dtype)

    def log_prob(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The log-density of each number of a state in nats, of the shape of ``x``, float64.

        Arguments:
            x: states α x₀ + σ ε, shape (B, ...).
            alpha: α, shape () or (B,).
            sigma: σ, shape () or (B,); above 0.
        """
        y, s = self._scaled(x, alpha, sigma)
        edges, masses = self._columns(y)
        a = (y.unsqueeze(1) - edges) / s.unsqueeze(1)
        density = torch.log(masses / edges.diff(dim=0)) + log_mass(a[:, 1:], a[:, :-1])
        return torch.logsumexp(density, 1) - torch.log(expand(sigma, y) / s)

    def _scaled(self, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """State and noise in units of the data, in float64: with much noise, small numbers cancel."""
        x = x.double()
        alpha, sigma = expand(alpha, x), expand(sigma, x)
        alpha = torch.maximum(alpha, sigma / (WIDEST * (self.edges[-1] - self.edges[0])))
        return x / alpha, (sigma / alpha).expand_as(x)

    def _columns(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Edges and masses as columns, shapes (K + 1, ...) and (K, ...) for y of shape (B, ...)."""
        column = (-1, *[1] * (y.ndim - 1))
        edges = torch.tensor(self.edges, dtype=y.dtype, device=y.device).reshape(column)
        masses = torch.tensor(self.masses, dtype=y.dtype, device=y.device).reshape(column)
        return edges, masses

    def _pieces(self, y: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density of y with x₀ in each piece, and the mean of x₀ there; shapes (B, K, ...)."""
        edges, masses = self._columns(y)
        y, s = y.unsqueeze(1), s.unsqueeze(1)
        low, high = edges[:-1], edges[1:]
        a = (y - edges) / (s * math.sqrt(2))
        below, bell = torch.erf(a) / 2, torch.exp(-a * a) / math.sqrt(2 * math.pi)
        share = (below[:, :-1] - below[:, 1:]).clamp_min(LEAST)
        mean = y + s * (bell[:, :-1] - bell[:, 1:]) / share
        mean = torch.maximum(torch.minimum(mean, high), low)
        return torch.log(share * (masses / (high - low))), mean
