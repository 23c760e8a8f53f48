"""The library's own likelihoods: its solver, its probes and its bits a dimension."""

from __future__ import annotations

import math
from functools import partial

import torch

from scorefield.core.likelihood import log_likelihood
from scorefield.core.ode import DormandPrince, Solver
from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VP
from scorefield.core.variational import variational_bound
from scorefield.data.base import DataSpec
from scorefield.models.likelihoods import bits_per_dim
from scorefield.samplers.grids import UniformLogSNR
from scorefield.samplers.noise import unseeded
from scorefield.verification.claims import Claim, Place
from scorefield.verification.problems import SMOOTH, mixture, states


def solved_likelihood(path: Schedule, place: Place, solver: Solver | None = None) -> float:
    """The library's own log_likelihood of mixture data with an exact prior, in nats."""
    denoiser = mixture(path, place.double)
    x = states(denoiser, place.double, path.t_min, 32)
    found = log_likelihood(denoiser, x, solver=solver, prior=lambda z: denoiser.log_prob(z, 1.0))
    return float((found.log_prob - denoiser.log_prob(x, path.t_min)).abs().max())


def probed_likelihood(place: Place) -> float:
    """Hutchinson's estimate of a trace is unbiased: its mean over draws in standard errors."""
    path = VP()
    denoiser = mixture(path, place.double)
    x = states(denoiser, place.double, path.t_min, 1).repeat(400, 1)
    noise = unseeded(torch.Generator().manual_seed(3))
    found = log_likelihood(denoiser, x, exact=False, noise=noise).log_prob
    right = log_likelihood(denoiser, x[:1], exact=True).log_prob
    return float((found.mean() - right[0]).abs() / (found.std() / math.sqrt(len(x))))


def shipped_bound(times: int, place: Place) -> float:
    """The library's variational_bound of white Gaussian data, whose reverse steps are exact: -log p itself.

    ε = ±1 has the mean and the square of ε, and the bound is a quadratic form in it.
    """
    mean, variance = 0.4, 0.6
    data = torch.tensor([mean] * 2).double(), variance * torch.eye(2, dtype=torch.float64)
    denoiser = place.put(GaussianDenoiser(VP(), *data))
    x, grid = states(denoiser, place.double, VP().t_min), UniformLogSNR().times(VP(), times)
    found = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for sign in (1.0, -1.0):
        bound = variational_bound(
            denoiser,
            x,
            grid,
            mean=mean,
            variance=variance,
            noise=partial(torch.full_like, fill_value=sign),
        )
        found = found + 0.5 * bound.log_prob
    return float((found - denoiser.log_prob(x)).abs().max())


def bits_of_even_levels(levels: int, low: float, high: float, place: Place) -> float:
    """A density that is constant over all cells has log₂ levels bits a number."""
    spec = DataSpec((3, 4, 5), levels=levels, low=low, high=high)
    spacing = (high - low) / (levels - 1)
    log_prob = torch.tensor([-60 * math.log(levels * spacing)], dtype=torch.float64)
    return abs(float(bits_per_dim(log_prob, spec)) - math.log2(levels))


CLAIMS = (
    *(
        Claim(
            f"{kind}: log_likelihood of a mixture, nats",
            "Song et al. 2021, eq. 39",
            partial(solved_likelihood, path),
            1e-3,
            slow=kind not in ("vp", "subvp", "ve"),
        )
        for kind, path in SMOOTH.items()
    ),
    *(
        Claim(
            f"{kind}: log_likelihood of a mixture at rtol 1e-7, nats",
            "Song et al. 2021, eq. 39",
            partial(solved_likelihood, path, solver=DormandPrince(1e-7, 1e-7)),
            1e-5,
            slow=kind != "vp",
        )
        for kind, path in SMOOTH.items()
    ),
    *(
        Claim(
            f"variational_bound by {times} times is log p for white Gaussian data, nats",
            "Sohl-Dickstein et al. 2015, eq. 14",
            partial(shipped_bound, times),
            1e-9,
        )
        for times in (2, 20)
    ),
    Claim(
        "Hutchinson's trace is unbiased",
        "400 draws; standard errors",
        probed_likelihood,
        3.0,
    ),
    *(
        Claim(
            f"bits/dim of {levels} even levels in [{low:g}, {high:g}]",
            "log₂ of their number",
            partial(bits_of_even_levels, levels, low, high),
            1e-9,
        )
        for levels, low, high in ((256, -1.0, 1.0), (256, 0.0, 1.0), (2, 0.0, 1.0))
    ),
)
