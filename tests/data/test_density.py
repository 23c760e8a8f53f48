"""Points of a density given as a function, and a picture of each toy."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from scorefield.cli.main import main
from scorefield.data.arrays import ArrayFile
from scorefield.data.density import draw_density
from scorefield.data.toy import Toy
from scorefield.errors import InputError
from scorefield.recipes import CATALOG

SIGNIFICANT = 1e-3
TOYS = [
    name
    for noun, kinds in CATALOG.values()
    for name, cls in kinds.items()
    if noun == "dataset" and issubclass(cls, Toy)
]


def test_exact_to_the_grid():
    def steps(x):
        return torch.floor(4 * x[:, 0]) * 7  # 0, 7, 14, 21 on quarters: the grid has them exactly

    x = draw_density(steps, 40_000, low=[0], high=[1], cells=4)[:, 0]
    counts = np.bincount((4 * x).long(), minlength=4)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:], np.array([1, 2, 3]) / 6 * 40_000).pvalue > SIGNIFICANT
    assert stats.kstest(4 * x % 1, stats.uniform.cdf).pvalue > SIGNIFICANT


def test_a_density_on_a_line():
    x = draw_density(lambda x: 5 * x[:, 0] ** 2, 50_000, low=[0], high=[2], cells=4000, seed=1)
    assert x.shape == (50_000, 1)
    assert stats.kstest(x[:, 0], lambda v: (v / 2) ** 3).pvalue > SIGNIFICANT


def banana(x, y):
    return np.exp(-0.5 * (x**2 + 4 * (y - x**2 / 2) ** 2))


def test_a_density_in_a_plane():
    low, high, bins = (-3.0, -2.0), (3.0, 4.0), 12
    points = draw_density(
        lambda p: torch.from_numpy(banana(*p.T.numpy())), 60_000, low=low, high=high, cells=600
    )
    edges = [np.linspace(a, b, bins + 1) for a, b in zip(low, high, strict=True)]
    counts, *_ = np.histogram2d(*points.T.numpy(), bins=edges)
    expected = np.array(
        [
            [
                integrate.dblquad(lambda y, x: banana(x, y), a, b, c, d, epsabs=1e-7)[0]
                for c, d in zip(edges[1], edges[1][1:], strict=False)
            ]
            for a, b in zip(edges[0], edges[0][1:], strict=False)
        ]
    )
    expected *= 60_000 / expected.sum()
    common = expected > 5
    observed = [*counts[common], counts[~common].sum()]
    wanted = [*expected[common], expected[~common].sum()]
    assert counts.sum() == 60_000
    assert stats.chisquare(observed, wanted).pvalue > SIGNIFICANT
    assert stats.chisquare(observed, np.roll(wanted, 1)).pvalue < 1e-10


def test_points_are_the_seeds_and_train_from_a_file(tmp_path):
    def ring(x):
        return torch.exp(-20 * (x.norm(dim=1) - 1) ** 2)

    one, again, other = (
        draw_density(ring, 500, low=[-2, -2], high=[2, 2], seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    np.save(tmp_path / "ring.npy", one)
    assert ArrayFile(str(tmp_path / "ring.npy")).load().spec.shape == (2,)


@pytest.mark.parametrize(
    ("density", "settings", "sentence"),
    [
        (lambda x: x[:, 0], {"low": [-1], "high": [1]}, "at least 0 everywhere"),
        (lambda x: 0 * x[:, 0], {}, "somewhere above 0"),
        (lambda x: 1 / (0 * x[:, 0]), {}, "must be finite"),
        (lambda x: x, {}, r"one value a point, shape \(512,\); got \(512, 1\)"),
        (lambda x: x[:, 0], {"low": [1]}, r"low must be below high, got \[1.0\] and \[1.0\]"),
        (lambda x: x[:, 0], {"low": [0] * 3, "high": [1] * 3}, "each of 1 or 2 directions"),
        (lambda x: x[:, 0], {"low": [0, 0]}, "each of 1 or 2 directions"),
        (lambda x: x[:, 0], {"cells": 0}, "cells must give a grid"),
        (
            lambda x: x[:, 0],
            {"low": [0, 0], "high": [1, 1], "cells": 5000},
            "cells must give a grid",
        ),
        (lambda x: x[:, 0], {"size": 0}, "size must be at least 1, got 0"),
    ],
)
def test_what_is_no_density(density, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        draw_density(density, **{"size": 5, "low": [0], "high": [1], **settings})


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_has_a_picture(name, tmp_path):
    assert main(["plot", "grid", name, "-o", str(tmp_path / "t.png"), "-n", "500"]) == 0
    assert (tmp_path / "t.png").stat().st_size > 1000
