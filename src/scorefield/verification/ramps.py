"""The ramp, p(x) = 2(1 - x) on [0, 1]: an estimate in closed form of data that are no Gaussians."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.core.oracles import EmpiricalDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE
from scorefield.data.toy import Ramp
from scorefield.samplers.quadrature import gauss_legendre
from scorefield.verification.claims import Claim, Place
from scorefield.verification.problems import clock


def ramp(place: Place) -> float:
    """E[x₀ | x] of the ramp p(x) = 2(1 - x), in closed form, against 20 000 of its own quantiles.

    With a = -x/s, b = (1-x)/s: Z = x P + s (φ(a) - φ(b)) for the mirrored density 2u on [0, 1].
    """
    n, path = 20_000, VE(0.05, 5.0)
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    smaller = 1 - torch.sqrt(1 - middles)  # the smaller of two equal numbers is either
    data = Ramp().draw(smaller[:, None].expand(-1, 3), torch.zeros(n, 2))
    denoiser, worst = place.put(EmpiricalDenoiser(path, place.double.tensor(data))), 0.0
    x = place.double.tensor(torch.linspace(-0.2, 1.2, 15, dtype=torch.float64))[:, None]
    for time in (0.2, 0.5, 0.8):
        t = clock(time)
        got = 1 - denoiser(x, t)  # in the mirrored coordinate
        worst = max(worst, float((got - _ramp_mean(1 - x, float(path(t)[1]))).abs().max()))
    return worst


def ramp_by_nodes(place: Place) -> float:
    """E[x₀ | x] of the ramp in closed form against Gauss and Legendre's rule, 64 points with weights.

        p(x) dx ≈ Σ_j w_j p(x_j) δ(x - x_j)

    The kernel is smooth over [0, 1] where σ ≥ 0.1, so that the rule's error is one of rounding.
    """
    (nodes, weights), path = gauss_legendre(64), VE(0.05, 5.0)
    points = nodes[:, None], torch.zeros(len(nodes), 1, 1, dtype=torch.float64)
    denoiser, worst = place.put(MixtureDenoiser(path, weights * (1 - nodes), *points)), 0.0
    x = place.double.tensor(torch.linspace(-0.2, 1.2, 15, dtype=torch.float64))[:, None]
    for time in (0.2, 0.5, 0.8):
        t = clock(time)
        error = 1 - denoiser(x, t) - _ramp_mean(1 - x, float(path(t)[1]))
        worst = max(worst, float(error.abs().max()))
    return worst


def _ramp_mean(x: Tensor, s: float) -> Tensor:
    """E[x₀ | x] for the density 2u on [0, 1] and noise s."""
    a, b = -x / s, (1 - x) / s
    inside = torch.special.ndtr(b) - torch.special.ndtr(a)
    phi_a, phi_b = (torch.exp(-0.5 * v**2) / math.sqrt(2 * math.pi) for v in (a, b))
    mass = x * inside + s * (phi_a - phi_b)
    moment = x**2 * inside + 2 * x * s * (phi_a - phi_b)
    moment = moment + s**2 * (inside + a * phi_a - b * phi_b)
    mean: Tensor = moment / mass
    return mean


CLAIMS = (
    Claim("ramp: E[x₀ | x] in closed form", "truncated normal moments", ramp, 1e-5),
    Claim(
        "ramp: E[x₀ | x] of 64 weighted points",
        "truncated normal moments; Golub & Welsch 1969",
        ramp_by_nodes,
        1e-10,
    ),
)
