"""KID, MMD and the energy distance against closed forms, torchmetrics and scipy."""

import math

import pytest
import torch
from scipy import stats
from scipy.spatial.distance import pdist
from torch import nn

from scorefield.errors import InputError
from scorefield.evaluation import (
    distances,
    energy_distance,
    kernel_distance,
    median_bandwidth,
    mmd,
)


def draw(n, d, seed=0):
    return torch.randn(n, d, generator=seeded(seed), dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Same(nn.Module):
    """Feature module for torchmetrics: images that are the features."""

    num_features = 12

    def forward(self, x):
        return x.flatten(1)


@pytest.mark.filterwarnings("ignore:Metric `:UserWarning")
def test_kid_against_torchmetrics():
    """Its estimate on all of a small set is ours on each of two blocks of the same rows."""
    from torchmetrics.image.kid import KernelInceptionDistance

    a, b = draw(60, 12, 1), 1.3 * draw(60, 12, 2) + 0.2
    expected = []
    shuffles = seeded(5)
    orders = [torch.randperm(60, generator=shuffles) for _ in range(2)]
    for half in (slice(0, 30), slice(30, 60)):
        other = KernelInceptionDistance(feature=Same(), subsets=1, subset_size=30, normalize=True)
        other.set_dtype(torch.float64)
        other.update(a[orders[0][half]].view(-1, 1, 3, 4), real=False)
        other.update(b[orders[1][half]].view(-1, 1, 3, 4), real=True)
        expected.append(float(other.compute()[0]))
    found = kernel_distance(a, b, seeded(5), blocks=2)
    assert found.value == pytest.approx(sum(expected) / 2, rel=1e-6)
    assert found.error == pytest.approx(abs(expected[0] - expected[1]) / 2, rel=1e-5)


def gaussian_mmd(shift, spread, h):
    """MMD² of N(0, I) and N(shift, spread² I) under the Gaussian kernel: Gaussian integrals."""
    d = len(shift)

    def mean(variance, apart):
        wide = h**2 + variance
        return (h**2 / wide) ** (d / 2) * math.exp(-apart / (2 * wide))

    apart = float(shift.square().sum())
    return mean(2, 0) + mean(2 * spread**2, 0) - 2 * mean(1 + spread**2, apart)


@pytest.mark.parametrize("spread", [1.0, 1.4])
def test_mmd_of_gaussians(spread):
    shift = torch.tensor([0.3, -0.2, 0.5]).double()
    found = mmd(draw(2500, 3, 1), spread * draw(2000, 3, 2) + shift, bandwidths=(1.0, 2.5))
    expected = sum(gaussian_mmd(shift, spread, h) for h in (1.0, 2.5))
    assert abs(found.value - expected) < 3 * found.error < 0.3 * expected


def test_energy_distance_of_gaussians():
    # E|z| of N(m, s²) is s √(2/π) exp(-m²/2s²) + m erf(m/(s √2)).
    def absolute(m, s):
        return s * math.sqrt(2 / math.pi) * math.exp(-((m / s) ** 2) / 2) + m * math.erf(
            m / s / math.sqrt(2)
        )

    expected = 2 * absolute(0.7, math.hypot(1, 1.5)) - absolute(0, 2**0.5) * (1 + 1.5)
    found = energy_distance(draw(3000, 1, 1), 1.5 * draw(2500, 1, 2) + 0.7)
    assert abs(found.value - expected) < 3 * found.error < 0.3 * expected


def test_energy_distance_against_scipy(monkeypatch):
    monkeypatch.setattr(distances, "ENTRIES", 1000)  # many blocks, of which the last is not full
    x, y = draw(173, 1, 1), draw(90, 1, 2) * 2 + 1
    # scipy gives the root, and counts each row as a pair with itself.
    squared = stats.energy_distance(x[:, 0].numpy(), y[:, 0].numpy()) ** 2
    own = pdist(x.numpy()).mean() / len(x) + pdist(y.numpy()).mean() / len(y)
    assert energy_distance(x, y).value == pytest.approx(squared - own, rel=1e-6)


def test_far_from_the_origin():
    x, y = draw(150, 3, 1), draw(120, 3, 2) + 0.5
    for measure in (energy_distance, mmd):
        assert measure(x + 1e6, y + 1e6) == pytest.approx(measure(x, y), rel=1e-6)


@pytest.mark.parametrize("apart", [0.0, 0.4])
def test_standard_errors(apart):
    """They are the spread over repetitions; where both laws are one they may be too large."""
    measures = {
        "mmd": lambda x, y: mmd(x, y, bandwidths=(1.5,)),
        "energy": energy_distance,
        "kid": lambda x, y: kernel_distance(x, y, seeded(0)),
    }
    sets = [(draw(200, 2, 2 * s), draw(160, 2, 2 * s + 1) + apart) for s in range(150)]
    for measure in measures.values():
        found = torch.tensor([tuple(measure(x, y)) for x, y in sets])
        ratio = float(found[:, 1].mean() / found[:, 0].std())
        assert (0.8 < ratio < 1.25) if apart else (0.8 < ratio < 2)
        if not apart:  # unbiased
            assert abs(found[:, 0].mean()) < 4 * found[:, 0].std() / len(sets) ** 0.5


def test_median_bandwidth():
    x = draw(300, 4) + 1e3
    assert median_bandwidth(x, most=300) == pytest.approx(
        torch.tensor(pdist(x.numpy())).median().item(), rel=1e-9
    )
    assert mmd(x, x + 1) == mmd(x, x + 1, bandwidths=(median_bandwidth(x + 1),))
    assert median_bandwidth(draw(5000, 4)) == pytest.approx(median_bandwidth(x), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: kernel_distance(x, x, seeded(), blocks=1), "at least 2 blocks, got 1"),
        (
            lambda x: kernel_distance(x, x[:19], seeded()),
            r"at least 20 rows .* got shape \(19, 2\)",
        ),
        (lambda x: mmd(x, x, bandwidths=(1.0, 0.0)), r"positive numbers, got \(1.0, 0.0\)"),
        (lambda x: mmd(x, torch.ones(9, 2)), "all rows are equal"),
        (lambda x: energy_distance(x, x[:, :1]), "equal width, got 2 and 1"),
        (lambda x: energy_distance(x, x / 0), "finite numbers, got NaN or infinity"),
    ],
)
def test_what_cannot_be_measured(call, message):
    with pytest.raises(InputError, match=message):
        call(draw(40, 2))


def test_a_bandwidth_is_a_distance_even_where_most_rows_are_equal():
    x = torch.zeros(10, 2)
    x[8:] = torch.tensor([[3.0, 4.0], [6.0, 8.0]])  # 8 pairs at 5, 8 at 10, 1 at 5, the others at 0
    assert median_bandwidth(x) == pytest.approx(5)
