"""Precision, recall, density and coverage against loops over all pairs, and against their laws."""

import math

import pytest
import torch
from scipy.spatial.distance import cdist

from scorefield.errors import InputError
from scorefield.evaluation import density_coverage, distances, precision_recall


def draw(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def balls(points, k):
    return [sorted(row)[k] for row in cdist(points, points).tolist()]


@pytest.mark.parametrize("k", [1, 3])
def test_against_loops(k, monkeypatch):
    monkeypatch.setattr(distances, "ENTRIES", 500)
    y, x = 1.2 * draw(70, 4, 1) + 0.3, draw(90, 4, 2)
    apart, of_x, of_y = cdist(y, x).tolist(), balls(x, k), balls(y, k)
    within = [[apart[j][i] <= of_x[i] for i in range(90)] for j in range(70)]
    precision = sum(any(row) for row in within) / 70
    recall = sum(any(apart[j][i] <= of_y[j] for j in range(70)) for i in range(90)) / 90
    assert precision_recall(y, x, k=k) == pytest.approx((precision, recall))
    density = sum(map(sum, within)) / (k * 70)
    coverage = sum(any(column) for column in zip(*within, strict=True)) / 90
    assert density_coverage(y, x, k=k) == pytest.approx((density, coverage))


@pytest.mark.parametrize(("n", "m"), [(300, 300), (600, 200)])
def test_one_law(n, m):
    found = torch.tensor(
        [density_coverage(draw(n, 3, 2 * s), draw(m, 3, 2 * s + 1)) for s in range(40)]
    )
    coverage = 1 - math.prod((m - 1 - j) / (m + n - 1 - j) for j in range(5))
    for values, expected in zip(found.T, (1, coverage), strict=True):
        assert abs(float(values.mean()) - expected) < 4 * float(values.std()) / math.sqrt(40)


def test_what_each_of_them_sees():
    data = torch.cat([draw(300, 2, 1), draw(300, 2, 2) + 20])
    one_mode, far = draw(600, 2, 3), draw(600, 2, 4) + 200
    precision, recall = precision_recall(one_mode, data)
    assert precision > 0.9
    assert recall < 0.55
    assert density_coverage(one_mode, data).coverage < 0.55
    assert precision_recall(far, data) == (0, 0)
    assert density_coverage(far, data) == (0, 0)


def test_repeated_points_far_from_the_origin():
    """Their balls have no radius, and copies of them are inside all the same."""
    points = (draw(20, 3, 1) + 1e3).repeat(8, 1)
    assert precision_recall(points, points) == (1, 1)
    assert density_coverage(points[:20], points).coverage == 1
    assert density_coverage(points + 1, points).coverage == 0


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_what_cannot_be_measured(measure):
    x = draw(5, 2, 0)
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        measure(x, x, k=0)
    with pytest.raises(InputError, match=r"at least 6 rows of features, got shape \(5, 2\)"):
        measure(x, x, k=5)
