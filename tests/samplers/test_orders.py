"""The order of convergence that each sampler declares, against an accurate solution of its ODE."""

import math
from functools import cache

import pytest
import torch
from scipy.integrate import solve_ivp

from scorefield.core.oracles import MixtureDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP, TutorialVE
from scorefield.samplers.adams import DEIS, IPNDM, LMS
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import sample
from scorefield.samplers.correctors import SASolver, UniPC
from scorefield.samplers.exponential import DPMSolver, DPMSolverPP, VExponential
from scorefield.samplers.flow import Euler, Heun
from scorefield.samplers.grids import UniformLogSNR, UniformTime
from scorefield.samplers.singlestep import SingleStepDPMSolver

PATHS = [
    *(VP(), VE(), Flow()),
    *(pytest.param(path, marks=pytest.mark.slow) for path in (SubVP(), TutorialVE(), Cosine())),
]
MEANS = [[1.0, 0.5], [-1.0, 0.2], [0.2, -1.1]]
COVARIANCES = [
    [[0.30, 0.10], [0.10, 0.20]],
    [[0.20, -0.05], [-0.05, 0.40]],
    [[0.15, 0.00], [0.00, 0.25]],
]


def problem(path):
    parts = ([0.5, 0.2, 0.3], MEANS, COVARIANCES)
    return MixtureDenoiser(path, *(torch.tensor(v, dtype=torch.float64) for v in parts))


@cache
def exact(path, start):
    """A few states at ``start`` and the denoised ends of their flow lines.

    With y = x/α and u = σ/α every flow is dy/d log u = y - x̂₀; no rate of the path is used.
    """
    denoiser, generator = problem(path), torch.Generator().manual_seed(0)
    alpha, sigma = path(start)
    x = alpha * denoiser.draw(12, generator)
    x += sigma * torch.randn(x.shape, generator=generator, dtype=torch.float64)

    def slope(log_u, y):
        y, t = torch.from_numpy(y).reshape(x.shape), path.time(-2 * log_u)
        return (y - denoiser(path.alpha(t) * y, t)).flatten().numpy()

    # no signal is left at the start of some paths: begin where σ/α = 10⁶, where x̂₀ is constant
    begin = min(float(torch.log(sigma / alpha)), math.log(1e6))
    y = x / (sigma * math.exp(-begin)) if alpha == 0 else x / alpha
    end, _ = path(path.t_min)
    span = (begin, float(-path.log_snr(path.t_min) / 2))
    run = solve_ivp(slope, span, y.flatten().numpy(), method="DOP853", rtol=1e-9, atol=1e-10)
    last = end * torch.from_numpy(run.y[:, -1]).reshape(x.shape)
    return x, denoiser(last, torch.tensor(path.t_min, dtype=torch.float64))


def fitted_order(path, sampler, start, coarse=41):
    """The slope of log error against log steps, from ``coarse`` times to twice the steps."""
    x, end = exact(path, start)
    sizes = (coarse, 2 * coarse - 1)
    errors = [(sample(problem(path), x, sampler, n, start=start) - end).norm() for n in sizes]
    return float(torch.log2(errors[0] / errors[1]))


@pytest.mark.parametrize(
    "sampler",
    [
        DDIM(UniformLogSNR()),
        Euler(UniformLogSNR()),
        Heun(UniformLogSNR()),
        Heun(),
        DPMSolverPP(order=1),
        DPMSolverPP(order=2),
        DPMSolver(order=1),
        DPMSolver(order=2),
        VExponential(order=1),
        VExponential(order=2),
        SingleStepDPMSolver(order=2),
        SingleStepDPMSolver(order=3),
        *(UniPC(predictor_order=p, variant=v) for p in (1, 2, 3) for v in ("bh1", "bh2")),
        SASolver(predictor_order=1, corrector_order=2, tau=0.0),
        SASolver(predictor_order=2, corrector_order=3, tau=0.0),
        SASolver(predictor_order=2, corrector_order=1, tau=0.0),
        DEIS(order=2),
        LMS(order=2),
        *(IPNDM(estimates=n) for n in (1, 2, 3, 4)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_error_falls_with_the_declared_order(path, sampler):
    """From σ/α = 1.5: nearer to pure noise, 40 steps of Euler on VE may end in another mode."""
    start = float(path.time(-2 * math.log(1.5)))
    assert fitted_order(path, sampler, start) == pytest.approx(sampler.order, abs=0.3)


@pytest.mark.parametrize(
    "sampler", [Euler(), DDIM(), Heun(UniformTime())], ids=lambda s: type(s).__name__
)
def test_order_holds_from_where_no_signal_is_left(sampler):
    """Flow, from t = 1 in equal steps of time; Euler and DDIM are one method there."""
    assert fitted_order(Flow(), sampler, 1.0) == pytest.approx(sampler.order, abs=0.3)


NOISY = {"vp": VP(), "subvp": SubVP(), "ve": VE(), "ve-edm": VE(0.002, 80.0)}


@pytest.mark.parametrize(
    "sampler",
    [
        DPMSolverPP(order=3),
        DPMSolver(order=3),
        VExponential(order=3),
        SASolver(predictor_order=3, corrector_order=0, tau=0.0),
        SASolver(predictor_order=2, corrector_order=3, tau=0.0),
        DEIS(order=3),
        LMS(order=3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", NOISY.values(), ids=NOISY.keys())
def test_third_order_shows_from_pure_noise(path, sampler):
    """The first two steps are of lower order; they do no harm where the estimates hardly change."""
    assert fitted_order(path, sampler, 1.0, coarse=81) == pytest.approx(3, abs=0.3)


@pytest.mark.parametrize("sampler", [DEIS(order=4), LMS(order=4)], ids=repr)
@pytest.mark.parametrize("path", [VP(), SubVP()], ids=["vp", "subvp"])
def test_fourth_order_shows_from_pure_noise(path, sampler):
    assert fitted_order(path, sampler, 1.0, coarse=161) == pytest.approx(4, abs=0.3)
