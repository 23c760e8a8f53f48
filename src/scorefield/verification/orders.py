"""Orders of stochastic samplers, exact for Gaussian data: in law, and along the noise itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from scorefield.core.schedules import VP
from scorefield.samplers.base import Sampler
from scorefield.samplers.grids import UniformLogSNR, UniformTime
from scorefield.samplers.restart import Restart
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector
from scorefield.verification.claims import Claim, Place
from scorefield.verification.laws import affine_map, law_errors
from scorefield.verification.problems import every_sampler, gaussian, held, on_grid

# In whose law an error stays that more steps do not take out: the steps of a corrector, and those within
# an interval that is walked again, are as long as before, so they are refined with the grid instead.
KEPT = ("pc", "restart")
ORDER_IN_LAW = {"dpm++sde order=3": 2}  # three noisy estimates make no more of it; else as declared


def corrected(n: int) -> Sampler:
    """`pc` for n steps, the corrector's δ in proportion to them."""
    return PredictorCorrector(UniformLogSNR(), snr=0.16 * math.sqrt(80 / n))


def restarted(n: int) -> Sampler:
    """`restart` for n steps, with steps within its interval in proportion."""
    return Restart(UniformLogSNR(), ((0.06, 0.3, 2, n // 10),))


def order_in_law(sampler: Sampler, order: int, place: Place) -> float:
    """The slope of the error of mean and covariance, from 80 to 160 even steps of log-SNR on VP.

    What is above the order expected counts as that: on a linear problem some samplers are better than
    they are in general.
    """
    sampler = held(sampler)
    return order_refined(lambda n: sampler, order, place)


def order_refined(refine: Callable[[int], Sampler], order: int, place: Place) -> float:
    """The same of a sampler that is made for the number of steps."""
    coarse, fine = (_law_error(refine(n), n + 1, place) for n in (80, 160))
    return min(math.log2(coarse / fine), order)


def _law_error(sampler: Sampler, steps: int, place: Place) -> float:
    return math.hypot(*(float(e.norm()) for e in law_errors(sampler, VP(), steps, place)))


def apart_on_one_path(sampler: Sampler, steps: int, place: Place) -> float:
    """√E|x_n - x_2n|² of the ends of n and 2n equal steps on the same Brownian path.

    Ends are affine in the start and in the noises, and a coarse noise is made of two fine ones,
    z_k = (z_2k + z_2k+1)/√2: the mean square is a sum of squared differences of factors.
    """
    denoiser, dim = gaussian(VP(), place.double), 2
    (mean, coarse), (other, fine) = (
        affine_map(denoiser, sampler, n + 1, place.double) for n in (steps, 2 * steps)
    )
    shared = coarse[dim:].reshape(steps, 1, dim, dim).expand(-1, 2, -1, -1) / math.sqrt(2)
    spread = torch.cat([coarse[:dim], shared.reshape(-1, dim)]) - fine
    apart: Tensor = spread.square().sum() + (mean - other).square().sum()
    return math.sqrt(float(apart))


def strong_order(sampler: Sampler, place: Place) -> float:
    """The slope of that distance from (200, 400) to (400, 800) steps on VP.

    The noise is additive, so that Euler-Maruyama's is 1 and not ½.
    """
    sampler = on_grid(sampler, grid=UniformTime())
    coarse, fine = (apart_on_one_path(sampler, n, place) for n in (200, 400))
    return math.log2(coarse / fine)


CLAIMS = (
    *(
        Claim(
            f"{name} on vp: law's error falls with order {order} or more",
            "affine map of start and noise",
            partial(order_in_law, sampler, order),
            0.3,
            expected=float(order),
            slow=True,
        )
        for name, sampler, order in (
            (name, sampler, ORDER_IN_LAW.get(name, sampler.order))
            for name, sampler in every_sampler(stochastic=True)
        )
        if sampler.evaluations_per_step and name not in KEPT
    ),
    *(
        Claim(
            f"{name} on vp, refined with the grid: law's error falls with order {refine(80).order}",
            "affine map of start and noise",
            partial(order_refined, refine, refine(80).order),
            0.3,
            expected=float(refine(80).order),
            slow=True,
        )
        for name, refine in (("pc", corrected), ("restart", restarted))
    ),
    Claim(
        "euler-maruyama on vp: strong order 1 (additive noise)",
        "Kloeden & Platen 1992, 10.2 and 10.3",
        partial(strong_order, EulerMaruyama()),
        0.1,
        expected=1,
        slow=True,
    ),
)
