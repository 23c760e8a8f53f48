"""Toy sets against the formulae they are drawn from."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from scorefield.data.toy import Checkerboard, Mixture, Moons, Ramp, Spiral, SwissRoll
from scorefield.data.toy_modes import EightGaussians, Pinwheel, Rings
from scorefield.errors import InputError

KINDS = [Mixture, Ramp, Spiral, Moons, Checkerboard, SwissRoll, EightGaussians, Pinwheel, Rings]
SIGNIFICANT = 1e-3  # a fixed seed either passes or does not; a wrong law has p < 1e-10 here


@pytest.fixture
def sources():
    rng = np.random.default_rng(7)
    return torch.from_numpy(rng.random((20_000, 3))), torch.from_numpy(rng.normal(size=(20_000, 2)))


def follows(sample, cdf):
    return stats.kstest(np.asarray(sample), cdf).pvalue > SIGNIFICANT


def test_the_test_of_laws_can_fail(sources):
    u, _ = sources
    assert follows(u[:, 0], stats.uniform.cdf)
    assert not follows(u[:, 0] ** 1.1, stats.uniform.cdf)


def test_ramp_has_a_linear_density(sources):
    x = Ramp().draw(*sources)
    assert x.shape == (20_000, 1)
    assert follows(x[:, 0], lambda v: 1 - (1 - v) ** 2)


@pytest.mark.parametrize(("left", "std"), [(0.3, 0.2), (0.8, 0.05)])
def test_mixture_is_two_gaussians_at_minus_and_plus_one_half(sources, left, std):
    x = Mixture(left=left, std=std).draw(*sources)
    assert x.shape == (20_000, 1)

    def cdf(v):
        return left * stats.norm.cdf(v, -0.5, std) + (1 - left) * stats.norm.cdf(v, 0.5, std)

    assert follows(x[:, 0], cdf)


def test_spiral_lies_between_its_two_arms(sources):
    x = Spiral().draw(*sources).numpy()
    rho = np.hypot(x[:, 0], x[:, 1])
    # ρ - 0.25 = 0.65 u + 0.15 v with θ = 3πu: at the angle θ (mod 2π) one of the turns fits.
    angle = np.arctan2(x[:, 1], x[:, 0]) % (2 * math.pi)
    fits = [
        (angle + turn <= 3 * math.pi + 1e-9)
        & (rho - 0.25 >= 0.65 * (angle + turn) / (3 * math.pi) - 1e-9)
        & (rho - 0.25 <= 0.65 * (angle + turn) / (3 * math.pi) + 0.15 + 1e-9)
        for turn in (0, 2 * math.pi)
    ]
    assert np.logical_or(*fits).all()
    # the radius is the sum of two independent uniforms: a trapezium on [0.25, 1.05]
    trapezium = stats.trapezoid(0.15 / 0.8, 0.65 / 0.8, loc=0.25, scale=0.8)
    assert follows(rho, trapezium.cdf)


def test_moons_are_two_half_circles(sources):
    x = Moons(noise=0.0).draw(*sources).numpy()
    upper = (np.abs(np.hypot(x[:, 0], x[:, 1]) - 1) < 1e-9) & (x[:, 1] >= -1e-9)
    lower = (np.abs(np.hypot(x[:, 0] - 1, x[:, 1] - 0.5) - 1) < 1e-9) & (x[:, 1] <= 0.5 + 1e-9)
    assert (upper | lower).all()
    assert stats.binomtest(int(upper.sum()), len(x), 0.5).pvalue > SIGNIFICANT
    assert follows(np.arctan2(x[upper, 1], x[upper, 0]) / math.pi, stats.uniform.cdf)
    noisy = Moons(noise=0.3).draw(*sources).numpy() - x
    assert follows(noisy.ravel() / 0.3, stats.norm.cdf)


def test_checkerboard_is_uniform_on_alternate_squares(sources):
    x = Checkerboard().draw(*sources).numpy()
    assert (np.abs(x) <= 2).all()
    column, row = np.floor(x).astype(int).T
    assert ((column + row) % 2 == 0).all()
    squares, counts = np.unique(column * 4 + row, return_counts=True)
    assert len(squares) == 8
    assert stats.chisquare(counts).pvalue > SIGNIFICANT
    assert follows(x[:, 0] % 1, stats.uniform.cdf)
    assert follows(x[:, 1] % 1, stats.uniform.cdf)


def test_swiss_roll_is_an_archimedean_spiral(sources):
    x = SwissRoll(noise=0.0).draw(*sources).numpy()
    theta = np.hypot(x[:, 0], x[:, 1])
    assert np.allclose(x, np.stack([theta * np.cos(theta), theta * np.sin(theta)], 1), atol=1e-9)
    assert follows(theta, stats.uniform(1.5 * math.pi, 3 * math.pi).cdf)
    noisy = SwissRoll(noise=0.5).draw(*sources).numpy() - x
    assert follows(noisy.ravel() / 0.5, stats.norm.cdf)


@pytest.mark.parametrize("kind", KINDS)
def test_loaded_points_are_standardized_and_reproducible(kind):
    arrays = kind(size=2000, seed=4).load()
    points = arrays.x.double()
    assert arrays.x.dtype == torch.float32
    assert len(arrays) == 2000
    assert points.mean(0).abs().max() < 1e-6
    assert points.std(0).sub(1).abs().max() < 1e-6
    assert arrays.spec.sigma_data == pytest.approx(1, abs=1e-3)
    assert (arrays.spec.levels, arrays.spec.classes, arrays.label) == (None, 0, None)
    assert torch.equal(kind(size=2000, seed=4).load().x, arrays.x)


@pytest.mark.parametrize("kind", KINDS)
def test_splits_and_seeds_are_different_draws_of_one_law(kind):
    data = kind(size=3000)
    draws = [d.load(s).x for d in (data, kind(size=3000, seed=1)) for s in ("train", "test")]
    for i, one in enumerate(draws):
        for other in draws[i + 1 :]:
            # 3,000 independent pairs: the correlation is 0 give or take 1/√3000 = 0.018
            assert abs(np.corrcoef(one[:, 0], other[:, 0])[0, 1]) < 0.08
            assert stats.ks_2samp(one[:, 0].numpy(), other[:, 0].numpy()).pvalue > SIGNIFICANT


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Moons(size=1), "size must be at least 2, got 1"),
        (lambda: Moons(noise=-0.1), "noise must be at least 0, got -0.1"),
        (lambda: SwissRoll(noise=float("nan")), "noise must be at least 0, got nan"),
        (lambda: Mixture(left=0.0), "left must lie strictly between 0 and 1, got 0.0"),
        (lambda: Mixture(left=1.0), "left must lie strictly between 0 and 1, got 1.0"),
        (lambda: Mixture(std=0.0), "std must be above 0, got 0.0"),
        (lambda: Spiral().load("valid"), "split must be 'train' or 'test', got 'valid'"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
