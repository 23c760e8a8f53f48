"""Distances against closed forms and against other libraries."""

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from scorefield.errors import InputError
from scorefield.evaluation import (
    Gaussian,
    frechet_distance,
    frechet_from_moments,
    frechet_infinity,
    frechet_interval,
    gaussian_of,
)


def draw(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + seed


def test_gaussians_with_one_set_of_axes():
    # Then the distance is that of the standard deviations: |m - n|² + Σ (s - r)².
    m, n = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([0.0, 2.0, 0.5]).double()
    s, r = torch.tensor([1.0, 3.0, 0.0]).double(), torch.tensor([2.0, 3.0, 0.5]).double()
    axes = torch.linalg.qr(draw(3, 3, 1)).Q
    covs = [axes @ torch.diag(v**2) @ axes.T for v in (s, r)]
    found = frechet_from_moments(m, covs[0], n, covs[1])
    assert found == pytest.approx(17 + 1 + 0 + 0.25, rel=1e-7)


@pytest.mark.parametrize(("n", "d"), [(400, 8), (3000, 40)])
def test_against_the_matrix_root(n, d):
    a, b = draw(n, d, 1), draw(n + 7, d, 2)
    ca, cb = (torch.cov(x.T) for x in (a, b))
    root = linalg.sqrtm((ca @ cb).numpy()).real.trace()
    expected = (a.mean(0) - b.mean(0)).square().sum() + ca.trace() + cb.trace() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(float(expected), rel=1e-9)


def test_against_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Same(nn.Module):
        num_features = 16

        def forward(self, x):
            return x.flatten(1)

    a, b = (draw(500, 16, seed).reshape(-1, 1, 4, 4) for seed in (3, 4))
    other = FrechetInceptionDistance(feature=Same(), normalize=True, input_img_size=(1, 4, 4))
    other.set_dtype(torch.float64)
    other.update(a, real=True)
    other.update(b, real=False)
    found = frechet_distance(a.flatten(1), b.flatten(1))
    assert found == pytest.approx(float(other.compute()), rel=1e-5)


def test_fewer_rows_than_columns():
    a = draw(10, 30, 5)
    # 21 of 30 eigenvalues are 0 but for rounding, 1e-16 of the largest, whose root is 1e-8 of it.
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6 * float(torch.cov(a.T).trace()))
    assert frechet_distance(a, a + 1) == pytest.approx(30, rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(5, 3), r"at least 2 rows of features, got shape \(1, 3\)"),
        (torch.zeros(5, 3), torch.zeros(5), r"at least 2 rows of features, got shape \(5,\)"),
        (torch.zeros(5, 3), torch.zeros(5, 4), "equal width, got 3 and 4 numbers"),
    ],
)
def test_bad_features(a, b, message):
    with pytest.raises(InputError, match=message):
        frechet_distance(a, b)


def gaussians(n, shift, seed):
    """Samples whose population is known, and the reference they are held to."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return x * 1.2 + shift, Gaussian(torch.zeros(6).double(), torch.eye(6).double())


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_moments():
    x = draw(50, 4, 1)
    mean, covariance = gaussian_of(x)
    assert torch.allclose(mean, x.mean(0), rtol=1e-13)
    assert torch.allclose(covariance, torch.from_numpy(np.cov(x.numpy(), rowvar=False)))
    assert gaussian_of(x[:, :1]).covariance.shape == (1, 1)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_interval_is_as_wide_as_repetitions_are_spread(shift):
    """For 150 sets of samples: half the width of a 95 % interval is 1.96 standard deviations of d²."""
    sets = [gaussians(400, shift, seed) for seed in range(150)]
    spread = torch.tensor([frechet_from_moments(*gaussian_of(x), *r) for x, r in sets]).std()
    wide = [frechet_interval(*sets[s], seeded(s), resamples=100) for s in range(8)]
    half = sum(w.high - w.low for w in wide) / 16
    assert half / 1.96 == pytest.approx(float(spread), rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "most"), [(0.3, 0.86), (0.0, 0.96)])
def test_the_interval_holds_the_mean_as_often_as_it_says(shift, most):
    """Level 0.8, of 300 intervals: ± 0.023 of chance; near the floor more often than it says."""
    sets = [gaussians(300, shift, seed) for seed in range(2000)]
    mean = sum(frechet_from_moments(*gaussian_of(x), *r) for x, r in sets) / len(sets)
    held = [frechet_interval(*sets[s], seeded(s), level=0.8, resamples=100) for s in range(300)]
    assert 0.74 < sum(i.low < mean < i.high for i in held) / len(held) < most


def test_the_interval_is_seeded_and_about_the_distance():
    x, reference = gaussians(200, 0.3, 0)
    one = frechet_interval(x, reference, seeded(1))
    assert one == frechet_interval(x, reference, seeded(1))
    assert one != frechet_interval(x, reference, seeded(2))
    assert one.low < frechet_from_moments(*gaussian_of(x), *reference) < one.high
    wider = frechet_interval(x, reference, seeded(1), level=0.99)
    assert wider.low < one.low < one.high < wider.high


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_endless_samples(shift):
    """Its mean is the population's distance, from which the distance of the samples is far."""
    exact = 6 * shift**2 + 6 * 0.2**2
    sets = [gaussians(400, shift, seed) for seed in range(120)]
    found = [frechet_infinity(x, r, seeded()) for x, r in sets]
    plain = torch.tensor([frechet_from_moments(*gaussian_of(x), *r) for x, r in sets])
    values, errors, degrees = torch.tensor(found).T
    assert set(degrees.tolist()) == {7}  # of the mean over 8 parts
    chance = float(values.std()) / len(sets) ** 0.5
    assert abs(float(values.mean()) - exact) < 3 * chance
    assert float(plain.mean()) - exact > 5 * chance
    assert 0.9 < float(errors.mean() / values.std()) < 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, r: frechet_interval(x[:1], r, seeded()), r"at least 2 rows .* \(1, 6\)"),
        (lambda x, r: frechet_interval(x, r, seeded(), level=1), "got 1 and 200"),
        (lambda x, r: frechet_interval(x, r, seeded(), resamples=1), "got 0.95 and 1"),
        (lambda x, r: frechet_infinity(x[:15], r, seeded()), r"at least 16 rows .* \(15, 6\)"),
        (lambda x, r: frechet_infinity(x[:, :5], r, seeded()), "equal width, got 5 and 6"),
        (lambda x, r: frechet_distance(x, x / 0), "finite numbers"),
    ],
)
def test_what_cannot_be_measured(call, message):
    with pytest.raises(InputError, match=message):
        call(*gaussians(40, 0, 0))
