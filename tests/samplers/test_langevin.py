"""Annealed Langevin dynamics: the published algorithm, and where it comes to rest."""

import math

import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.errors import InputError
from scorefield.samplers.base import trajectory
from scorefield.samplers.langevin import AnnealedLangevin
from scorefield.samplers.noise import unseeded


def test_it_is_its_papers_algorithm(mixture, normal):
    """Song & Ermon 2019, Algorithm 1, with α_i = ε σ_i²/σ_L² and ε = 2·10⁻⁵, σ_L = 0.01."""
    path, levels = VE(0.01, 50.0), 6
    denoiser, x = mixture(path), 50 * normal(4, 2)
    sigmas = torch.logspace(math.log10(50), -2, levels, dtype=torch.float64)
    z, y, expected = unseeded(torch.Generator().manual_seed(5)), x, [x]
    for sigma in sigmas[1:]:
        t = path.time(-2 * torch.log(sigma))
        size = 2e-5 * sigma**2 / 0.01**2
        for _ in range(7):
            y = y + size / 2 * denoiser.score(y, t) + torch.sqrt(size) * z(y)
        expected.append(y)
    noise = unseeded(torch.Generator().manual_seed(5))
    run = list(trajectory(denoiser, x, AnnealedLangevin(langevin_steps=7), levels, noise=noise))
    expected = torch.stack(expected)
    assert torch.allclose(torch.stack([s.x for s in run]), expected, rtol=1e-9, atol=1e-9)


def end(path, sampler, steps, mean=0.7, variance=0.25):
    """Mean and variance at the end for Gaussian data, exactly: a row for each unit of the noise."""
    numbers = (torch.tensor(v, dtype=torch.float64) for v in ([mean], [[variance]]))
    denoiser = GaussianDenoiser(path, *numbers)
    rows = 2 + steps * sampler.evaluations_per_step
    alpha, sigma = path(1.0)
    x = (alpha * mean).expand(rows, 1).clone()
    x[1] += torch.sqrt(alpha**2 * variance + sigma**2)
    calls = iter(range(2, rows))

    def unit(state):
        z = torch.zeros_like(state)
        z[next(calls)] = 1
        return z

    *_, last = trajectory(denoiser, x, sampler, steps, noise=unit)
    return float(last.x[0]), float(((last.x[1:] - last.x[0]) ** 2).sum()), last.t


@pytest.mark.parametrize("step_size", [0.2, 1.0])
@pytest.mark.parametrize("path", [VP(), SubVP(), VE(), Flow()], ids=lambda p: type(p).__name__)
def test_it_rests_at_the_law_of_unadjusted_langevin(path, step_size):
    """x ← (1 - δ/2v) x + √δ z rests at v/(1 - δ/4v); with points as data v = σ² and δ/v = step_size."""
    sampler = AnnealedLangevin(langevin_steps=150, step_size=step_size)
    mean, variance, t = end(path, sampler, 4, variance=1e-12)
    alpha, sigma = path(t)
    assert mean == pytest.approx(float(alpha) * 0.7, abs=1e-5)
    assert variance / float(sigma**2) == pytest.approx(1 / (1 - step_size / 4), rel=1e-4)


@pytest.mark.parametrize(
    "path",
    [VP(), VE(), *(pytest.param(p, marks=pytest.mark.slow) for p in (SubVP(), Flow()))],
    ids=lambda p: type(p).__name__,
)
def test_it_nears_the_law_of_spread_data_with_order_one(path):
    """The state lags behind its levels, by half as much with twice as many, and leaves no other error."""
    errors = []
    for levels in (41, 81):
        mean, variance, t = end(path, AnnealedLangevin(langevin_steps=20), levels)
        alpha, sigma = (float(v) for v in path(t))
        assert mean == pytest.approx(alpha * 0.7, abs=1e-6)
        errors.append(variance / (alpha**2 * 0.25 + sigma**2) - 1)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.3)
    assert abs(2 * errors[1] - errors[0]) < 0.03


@pytest.mark.parametrize(
    "settings", [{"langevin_steps": 0}, {"step_size": 0.0}, {"step_size": 4.0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        AnnealedLangevin(**settings)
