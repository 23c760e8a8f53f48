"""The benchmarks' problems and data are what they claim."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from scorefield.core.ddpm import DDPM
from scorefield.core.oracles import MixtureDenoiser

FOLDER = Path(__file__).parent.parent / "benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


problems, scores, loaders = module("problems"), module("scores"), module("loaders")
module("tables")  # which scaling imports
scaling = module("scaling")
MADE = {name: make for name, (make, _) in problems.PROBLEMS.items() if name != "digits64"}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def test_levels_are_the_chain_s():
    alpha, sigma = DDPM()(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    assert np.allclose(problems.chain_levels(), sigma / alpha, rtol=1e-10)


@pytest.mark.parametrize("name", MADE)
def test_denoiser_is_the_library_s(name, rng):
    mixture, schedule, t = MADE[name](rng), DDPM(), torch.tensor(0.3, dtype=torch.float64)
    parts = (mixture.weights, mixture.means, mixture.covariances)
    denoiser = MixtureDenoiser(schedule, *map(torch.from_numpy, parts))
    alpha, sigma = (float(v) for v in schedule(t))
    x = mixture.draw(8, rng)
    x += sigma / alpha * rng.standard_normal(x.shape)
    ours = denoiser(alpha * torch.from_numpy(x), t).numpy()
    assert np.allclose(mixture.denoiser()(x, sigma / alpha), ours, atol=1e-9)


def test_flow_of_a_gaussian_is_the_closed_form(rng):
    mean, sigma = np.array([0.4, -0.7, 0.2]), problems.chain_levels()[-1]
    basis, spread = problems.random_rotation(3, rng), np.array([0.03, 0.4, 1.1])
    covariance = basis @ np.diag(spread**2) @ basis.T
    x = mean + sigma * rng.standard_normal((16, 3))
    end = problems.flow(problems.Mixture(np.ones(1), mean[None], covariance[None]), x, sigma)
    # mean + U √(Λ/(Λ + σ²)) Uᵀ (x - mean)
    exact = mean + (x - mean) @ basis * (spread / np.hypot(spread, sigma)) @ basis.T
    assert np.abs(end - exact).max() < 1e-8


def test_flow_on_the_line_is_the_quantile_map(rng):
    mixture, sigma = problems.mix1d(rng), problems.chain_levels()[-1]
    x = mixture.draw(16, rng) + sigma * rng.standard_normal((16, 1))
    means, spread = mixture.means[:, 0], np.sqrt(mixture.covariances[:, 0, 0])

    def cumulative(x, level):
        return mixture.weights @ norm.cdf(x, means, np.hypot(spread, level))

    exact = [
        brentq(lambda y, u=u: cumulative(y, 0) - cumulative(u, sigma), -5, 5, xtol=1e-12)
        for u in x[:, 0]
    ]
    assert np.abs(problems.flow(mixture, x, sigma)[:, 0] - exact).max() < 1e-7


def test_flow_ends_in_the_mixture_s_law(rng):
    mixture, sigma, n = problems.gmm2d(rng), problems.chain_levels()[-1], 600
    x = mixture.draw(n, rng) + sigma * rng.standard_normal((n, 2))
    end = problems.flow(mixture, x, sigma, rtol=1e-6)
    # Counts in the cells of the nearest mean, against those of exact draws.
    cells = [
        np.bincount(np.linalg.norm(y[:, None] - mixture.means, axis=2).argmin(1), minlength=6)
        for y in (end, mixture.draw(100 * n, rng))
    ]
    expected = cells[1] / 100
    assert ((cells[0] - expected) ** 2 / expected).sum() < chi2.ppf(0.999, 5)
    assert scores.sliced_w2(end, mixture.draw(n, rng)) < 0.15


def test_scores_of_a_shift(rng):
    x, shift = rng.standard_normal((500, 3)), np.array([0.3, -0.4, 1.2])
    assert scores.rms(x + shift, x) == pytest.approx(1.3 / np.sqrt(3))
    # E (uᵀ shift)² = ‖shift‖²/D over directions
    assert scores.sliced_w2(x + shift, x) == pytest.approx(1.3 / np.sqrt(3), rel=0.15)


def test_clock_leaves_the_network_out():
    clock = scores.Clock(lambda n: sum(range(n)))

    def run():
        clock.calls, clock.seconds = 0, 0.0
        for _ in range(3):
            clock(300_000)
        return clock

    run()
    assert clock.calls == 3
    assert scores.net_seconds(run) < 0.1 * clock.seconds / 3


def test_every_loader_gives_the_pictures_that_were_written(tmp_path):
    given = loaders.sources(tmp_path, 24)
    rng = np.random.default_rng(0)
    small, large = (loaders.pictures(24, side, rng) for side in (32, 64))
    jpeg = np.stack([np.array(Image.open(file)) for file in given.files["JPEG, 64×64"]])
    assert np.abs(jpeg.astype(float) - large).mean() < 12  # lossy, and the same pictures
    for name, data in given.data.items():
        expected = (jpeg if "64" in name else small).transpose(0, 3, 1, 2)
        assert np.array_equal(data.stored(torch.arange(24)), expected)
        # an epoch of each way holds every picture once
        values = np.sort((expected / 127.5 - 1).mean((1, 2, 3)))
        ways = [loaders.ours(data, 8), loaders.ahead(data, 8)]
        if name in given.files:
            ways.append(loaders.plain(given.files[name], 8, workers=0))
        for walk in ways:
            means = torch.cat([next(walk) for _ in range(3)]).double().mean((1, 2, 3))
            assert np.allclose(np.sort(means), values, atol=1e-6)


def test_rates_are_images_a_second():
    runs = {"slow": lambda: time.sleep(0.01), "fast": lambda: time.sleep(0.002)}
    found = loaders.rates(runs, batch=10, rounds=3)
    assert found["slow"] <= 1000
    assert found["slow"] < found["fast"] <= 5000


@pytest.mark.parametrize("p", [0.8, 1.0, 2.0])
@pytest.mark.parametrize("fixed", [0.0, 30.0])
def test_exponents_are_those_of_growth_beyond_a_fixed_cost(p, fixed, rng):
    sizes = [512 * 2**i for i in range(11)]
    noise = np.exp(0.02 * rng.standard_normal(11))
    found = scaling.exponent(sizes, list(noise * (fixed + 1e-3 * np.array(sizes) ** p)))
    assert found == pytest.approx(p, abs=0.05)


def test_scaling_goes_from_small_to_large():
    asked = scaling.settings()
    assert {side for _, side, _ in asked} == {8, 16, 32, 64, 128}
    assert {batch for _, _, batch in asked} == {1, 8, 64, 512}
    # a batch of 10^6 pixels at 10 kB each is 10 GB: too much of 16, not of 32
    rows = [{"work": "sampling", "pixels": 8192, "megabytes": 80.0}]
    assert not scaling.fits("sampling", 10**6, rows, 16_000)
    assert scaling.fits("sampling", 10**6, rows, 32_000)
    assert scaling.fits("training step", 10**6, rows, 16_000)


@pytest.mark.slow
def test_processes_are_compared():
    words = ["network.width=8", "network.heads=2", "training.batch=16", "training.compile=off"]
    small = [*words, "training.precision=fp32", "training.budget=8steps"]
    one, many = module("processes").compared(2, small, rounds=1)
    assert one[0] > 0
    assert many[0] > 0
