"""The sliced Wasserstein distance against scipy and closed forms."""

import math

import pytest
import torch
from scipy import stats

from scorefield.errors import InputError
from scorefield.evaluation import sliced_wasserstein


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=seeded(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (60, 40), (97, 31), (1, 8)])
def test_one_dimension_against_scipy(n, m):
    x, y = draw(n, 1, 1), 2 * draw(m, 1, 2) + 1
    expected = stats.wasserstein_distance(x[:, 0].numpy(), y[:, 0].numpy())
    found = sliced_wasserstein(x, y, seeded(), projections=3, order=1)
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_shift_and_a_scale_of_one_set():
    """Sorted projections then go with each other, so the integral is a sum over the samples."""
    x, shift = draw(400, 5), torch.tensor([1.0, -2, 0, 0.5, 3]).double()
    directions = torch.randn(64, 5, generator=seeded(9), dtype=torch.float64)
    directions /= directions.norm(dim=1, keepdim=True)
    off = (0.5 * x - shift) @ directions.T  # x - (0.5 x + shift), seen from each direction
    expected = off.square().mean().sqrt()
    found = sliced_wasserstein(x, 0.5 * x + shift, seeded(9), projections=64)
    assert found == pytest.approx(float(expected), rel=1e-12)


def test_gaussians():
    # From direction θ: (θ·m)² + (|A θ| - |θ|)², with E (θ·m)² = |m|²/D; here A = 2 I.
    shift = torch.tensor([0.6, 0.0, -0.8, 1.0]).double()
    x, y = draw(3000, 4, 1), 2 * draw(3000, 4, 2) + shift
    found = sliced_wasserstein(x, y, seeded(), projections=1000)
    assert found == pytest.approx(math.sqrt(2 / 4 + 1), rel=0.03)


def test_it_is_seeded_and_symmetric():
    x, y = draw(120, 3, 1), draw(70, 3, 2) + 1
    one = sliced_wasserstein(x, y, seeded(1))
    assert one == sliced_wasserstein(x, y, seeded(1)) != sliced_wasserstein(x, y, seeded(2))
    assert sliced_wasserstein(y, x, seeded(1)) == pytest.approx(one, rel=1e-12)
    assert sliced_wasserstein(x, x.flip(0).repeat(2, 1), seeded()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    "settings", [{"projections": 0}, {"order": 0}], ids=lambda s: next(iter(s))
)
def test_what_cannot_be_measured(settings):
    with pytest.raises(InputError, match="at least 1"):
        sliced_wasserstein(draw(5, 2), draw(5, 2), seeded(), **settings)
