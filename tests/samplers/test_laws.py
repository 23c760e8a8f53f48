"""Stochastic samplers reproduce the law of the data.

For Gaussian data every sampler is an affine map of its start and of its noise, so its mean and its
variance are found exactly by feeding it one unit vector at a time: no Monte Carlo, no luck.
"""

import math

import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.samplers.ancestral import DDIM, Ancestral
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.correctors import SASolver
from scorefield.samplers.exponential import SDEDPMSolverPP
from scorefield.samplers.flow import Euler, Heun
from scorefield.samplers.grids import UniformLogSNR, UniformTime
from scorefield.samplers.noise import seeded, unseeded
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector, ReverseDiffusion

PATHS = [VP(), SubVP(), VE(), Flow()]
STOCHASTIC = [
    Ancestral(UniformLogSNR()),
    Ancestral(UniformLogSNR(), variance="large"),
    DDIM(UniformLogSNR(), eta=1.0),
    DDIM(UniformLogSNR(), eta=0.5),
    EulerMaruyama(UniformLogSNR()),
    SDEDPMSolverPP(order=1),
    SDEDPMSolverPP(order=2),
    SDEDPMSolverPP(order=3),
    SDEDPMSolverPP(order=2, eta=0.5),
    Heun(churn=10.0),
    SASolver(predictor_order=3, corrector_order=3, tau=0.7),
    SASolver(predictor_order=3, corrector_order=4),
]


def law(path, sampler, steps, mean=0.7, variance=0.25):
    """Errors at the end of the grid: of the mean, and of the variance relative to the exact one.

    Row 0 starts at the exact mean and gets no noise; row 1 starts a standard deviation off; each
    other row gets one unit of the noise of one call. The last state is affine in all of these.
    """
    numbers = (torch.tensor(v, dtype=torch.float64) for v in ([mean], [[variance]]))
    denoiser = GaussianDenoiser(path, *numbers)
    rows = 2 + steps * (getattr(sampler, "corrector_steps", 0) + 2)
    alpha, sigma = path(1.0)
    x = (alpha * mean).expand(rows, 1).clone()
    x[1] += torch.sqrt(alpha**2 * variance + sigma**2)
    calls = iter(range(2, rows))

    def unit(state):
        z = torch.zeros_like(state)
        z[next(calls)] = 1
        return z

    *_, last = trajectory(denoiser, x, sampler, steps, noise=unit)
    alpha, sigma = path(last.t)
    got = ((last.x[1:] - last.x[0]) ** 2).sum()
    return float(last.x[0] - alpha * mean), float(got / (alpha**2 * variance + sigma**2) - 1)


@pytest.mark.parametrize("sampler", STOCHASTIC, ids=repr)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_law_converges_with_order_one_at_least(path, sampler):
    """Twice the steps at least halve the errors; what an extrapolation of order 1 leaves is small."""
    (mean, variance), (mean_fine, variance_fine) = (law(path, sampler, n) for n in (31, 61))
    assert math.log2(abs(variance / variance_fine)) > 0.75
    assert abs(2 * variance_fine - variance) < 0.05
    assert abs(2 * mean_fine - mean) < 0.005
    assert abs(mean_fine) < 0.01


@pytest.mark.parametrize(
    ("sampler", "most"),
    [
        (SASolver(predictor_order=1, corrector_order=1), 0.05),
        (SASolver(), 0.001),
        (SASolver(predictor_order=2, corrector_order=0), 0.002),
        (ReverseDiffusion(UniformLogSNR()), 0.04),
    ],
    ids=repr,
)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_law_converges_on_finer_grids(path, sampler, most):
    """Where 31 steps are too few for the order to show."""
    (_, coarse), (mean, fine) = (law(path, sampler, n) for n in (121, 241))
    assert math.log2(abs(coarse / fine)) > 0.7
    assert abs(fine) < most
    assert abs(mean) < 0.005


def test_half_the_noise_keeps_the_law_too():
    """Euler-Maruyama with η = ½ needs more steps for its error to be of order 1."""
    sampler = EulerMaruyama(UniformLogSNR(), eta=0.5)
    (_, coarse), (_, fine) = (law(Flow(), sampler, n) for n in (81, 161))
    assert math.log2(abs(coarse / fine)) > 0.75
    assert abs(fine) < 0.02


@pytest.mark.parametrize("predictor", [EulerMaruyama(), Ancestral(), ReverseDiffusion()], ids=repr)
@pytest.mark.parametrize("path", PATHS, ids=lambda p: type(p).__name__)
def test_corrector_keeps_the_law(path, predictor):
    """A Langevin step of size δ = 2 (snr σ)² pulls towards the law, or v/(1 - δ/2v) to be exact.

    That is snr² = 2.6 % too much variance at most, less than what the predictors miss by here.
    """
    grid = UniformLogSNR()
    sampler = PredictorCorrector(grid, predictor=predictor)
    plain = PredictorCorrector(grid, predictor=predictor, corrector_steps=0)
    (mean, variance), (off, without) = law(path, sampler, 41), law(path, plain, 41)
    assert abs(mean) < max(0.01, abs(off))
    assert abs(variance) < abs(without)


def test_predictor_without_corrector_is_the_predictor():
    grid = UniformLogSNR()
    plain = PredictorCorrector(grid, corrector_steps=0)
    assert law(VP(), plain, 11) == law(VP(), EulerMaruyama(grid), 11)
    for kind in (Ancestral, ReverseDiffusion, Euler):
        plain = PredictorCorrector(grid, predictor=kind(), corrector_steps=0)
        assert law(VP(), plain, 11) == law(VP(), kind(grid), 11)


@pytest.mark.parametrize("snr", [0.16, 0.3])
def test_corrector_settles_at_the_law_of_unadjusted_langevin(snr):
    """x ← (1 - δ/v) x + √(2δ) z settles at v/(1 - δ/2v); nearly a point as data make v = σ²."""
    path, variance, steps = VE(0.5, 50.0), 1e-8, 600
    sampler = PredictorCorrector(corrector_steps=steps, snr=snr)
    _, error = law(path, sampler, 2, mean=0.0, variance=variance)
    v, delta = 0.25 + variance, 2 * (snr * 0.5) ** 2
    assert error == pytest.approx(1 / (1 - delta / (2 * v)) - 1, rel=1e-6)


def test_deterministic_samplers_ask_for_no_noise():
    def refuse(state):
        raise AssertionError("noise was asked for")

    denoiser = GaussianDenoiser(VP(), torch.zeros(1), torch.ones(1, 1))
    for sampler in (DDIM(), Heun()):
        sample(denoiser, torch.ones(2, 1), sampler, 4, noise=refuse)


@pytest.mark.parametrize(
    "sampler",
    [
        SDEDPMSolverPP(),
        EulerMaruyama(),
        Heun(churn=10.0),
        Ancestral(UniformTime(), variance="large"),
        PredictorCorrector(),
    ],
    ids=lambda s: type(s).__name__,
)
def test_mixture_is_sampled_with_its_weights_and_spread(sampler, generator):
    """Modes at ±1.5 with weights 0.8 and 0.2 and standard deviation 0.3, on the straight path.

    Bounds: 5 standard errors, and 5 % of the variance for the discretization.
    """
    n = 4000
    denoiser = MixtureDenoiser(
        Flow(),
        torch.tensor([0.8, 0.2]),
        torch.tensor([[1.5], [-1.5]]),
        torch.full((2, 1, 1), 0.09, dtype=torch.float64),
    )
    start = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    *_, last = trajectory(denoiser, start, sampler, 80, noise=unseeded(generator))
    right = last.x > 0
    assert abs(float(right.double().mean()) - 0.8) < 5 * (0.8 * 0.2 / n) ** 0.5
    for mode, centre in ((last.x[right], 1.5), (last.x[~right], -1.5)):
        alpha, sigma = (float(v) for v in Flow()(last.t))
        variance, count = alpha**2 * 0.09 + sigma**2, len(mode)
        assert abs(float(mode.mean()) - alpha * centre) < 5 * (variance / count) ** 0.5 + 0.01
        assert abs(float(mode.var()) / variance - 1) < 5 * (2 / count) ** 0.5 + 0.05


@pytest.mark.parametrize("start", [1.0, 0.9999, 0.999, 0.99])
@pytest.mark.parametrize("kind", [EulerMaruyama, PredictorCorrector])
def test_a_start_where_little_signal_is_left_does_not_overshoot(kind, start):
    """f and g of flow matching are as large as you like there, an explicit step would be too."""
    path, count = Flow(), 2000
    exact = GaussianDenoiser(path, torch.zeros(1), 0.5 * torch.eye(1))
    x = start * seeded(1, range(count))(torch.zeros(count, 1).double())
    # Ten steps are few: of the right spread, 0.71, they are off by a sixth, not by a factor.
    assert float(sample(exact, x, kind(), 10, start=start).std()) == pytest.approx(0.71, abs=0.15)
