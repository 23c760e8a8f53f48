"""Levels as listed, for the Gaussian-residual sampler."""

import math

import pytest

from scorefield.core.schedules import VP
from scorefield.errors import InputError
from scorefield.samplers.residual_grid import NoiseLevels


def level(path, t):
    alpha, sigma = path(t)
    return float(sigma / alpha)


def test_listed_levels_come_after_the_start():
    """In units of σ_data; the start's own, written in a few digits, is the start to the bit."""
    path = VP()
    times = NoiseLevels((8.0, 2.0, 0.3)).times(path, 3, 1.0, 0.5)
    assert times[0] == 1
    assert [level(path, t) for t in times[1:]] == pytest.approx([4.0, 1.0, 0.15])
    highest = level(path, 0.3)
    given = float(f"{highest / 0.5:.6g}"), 0.1
    times = NoiseLevels(given).times(path, 2, 0.3, 0.5)
    assert times[0] == times[1] == 0.3


@pytest.mark.parametrize(
    ("numbers", "n", "start", "sentence"),
    [
        ((2.0, 1.0), 3, 1.0, "2 levels were given for 3 steps"),
        ((1000.0, 1.0), 2, 1.0, "the first level given, 1000, must be"),
        ((1.0, 0.5), 2, 0.3, "that of the start"),
        ((2.0, 0.001), 2, 1.0, "the last level given, 0.001, must be at least"),
    ],
)
def test_levels_that_a_path_does_not_have_are_refused(numbers, n, start, sentence):
    with pytest.raises(InputError, match=sentence):
        NoiseLevels(numbers).times(VP(), n, start, 0.5)


@pytest.mark.parametrize("numbers", [(1.0, 2.0), (1.0, 1.0), (1.0, 0.0), (math.inf, 1.0)])
def test_levels_that_do_not_decrease_are_refused(numbers):
    with pytest.raises(InputError):
        NoiseLevels(numbers)
