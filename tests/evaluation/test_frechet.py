"""Distances against closed forms and against other libraries."""

import pytest
import torch
from scipy import linalg
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from scorefield.errors import InputError
from scorefield.evaluation import frechet_distance, frechet_from_moments


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
