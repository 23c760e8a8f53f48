"""Restart: the published algorithm on its own path, and the law on every other."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.errors import InputError
from scorefield.recipes import from_dict, to_dict
from scorefield.samplers.base import Sampler, sample, trajectory
from scorefield.samplers.flow import Heun
from scorefield.samplers.noise import unseeded
from scorefield.samplers.restart import Restart


def levels_of(high, low, count):
    i = np.arange(count)
    return (high ** (1 / 7) + i / (count - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7


def test_it_is_its_papers_algorithm(mixture, normal):
    """Xu et al. 2023, Algorithm 2 in σ, with two intervals: the second restarts first."""
    path, steps = VE(0.002, 80.0), 12
    denoiser, x = mixture(path), 80 * normal(4, 2)

    def slope(y, sigma):
        t = math.log(sigma / 0.002) / math.log(80 / 0.002)
        return (y - denoiser(y, torch.tensor(t, dtype=torch.float64))) / sigma

    def heun(y, levels):
        for now, following in pairwise(levels):
            first = slope(y, now)
            guess = y + (following - now) * first
            y = y + (following - now) * (first + slope(guess, following)) / 2
        return y

    intervals = ((0.05, 0.4, 2, 3), (1.0, 6.0, 3, 2))
    levels = levels_of(80.0, 0.002, steps)
    z, y = unseeded(torch.Generator().manual_seed(5)), x
    for now, following in pairwise(levels):
        y = heun(y, [now, following])
        for low, high, repeats, count in intervals:
            if following == levels[np.abs(levels - low).argmin()]:
                for _ in range(repeats):
                    y = y + math.sqrt(high**2 - following**2) * z(y)
                    y = heun(y, levels_of(high, following, count + 1))
    noise = unseeded(torch.Generator().manual_seed(5))
    *_, last = trajectory(denoiser, x, Restart(intervals=intervals), steps, noise=noise)
    assert torch.allclose(last.x, y, rtol=1e-8, atol=1e-9)


def test_a_start_below_an_interval_gets_no_more_noise_than_it_had(mixture, normal):
    """An edit starts where the picture is half noise: what lies above is not to be walked again."""
    path = VE(0.002, 80.0)
    start = float(path.time(-2 * torch.log(torch.tensor(0.1, dtype=torch.float64))))
    seen = []

    class Watched(type(mixture(path))):
        def forward(self, x, t, **cond):
            seen.append(float(path(t)[1]))
            return super().forward(x, t, **cond)

    denoiser = mixture(path)
    denoiser.__class__ = Watched
    x = 0.1 * normal(4, 2)
    sampler = Restart(intervals=((0.05, 0.3, 2, 3), (0.2, 0.4, 1, 2)))
    sample(denoiser, x, sampler, 6, start=start)
    assert max(seen) <= 0.1 * (1 + 1e-6)
    assert len(seen) == 2 * 5 + 1 + 2 * 2 * 3  # the second interval lies above the start
    heun = Restart(intervals=((0.2, 0.4, 1, 2),))
    same = [sample(mixture(path), x, s, 6, start=start) for s in (heun, Heun())]
    assert torch.equal(*same)


def test_without_intervals_it_is_heun(schedule, mixture, normal):
    denoiser, x = mixture(schedule), normal(4, 2)
    sampler = Restart(intervals=())
    assert not sampler.stochastic
    assert torch.equal(sample(denoiser, x, sampler, 6), sample(denoiser, x, Heun(), 6))


def law(path, sampler, steps, mean=0.7, variance=0.25):
    """Relative error of the variance at the end for Gaussian data, a row for each unit of noise."""
    numbers = (torch.tensor(v, dtype=torch.float64) for v in ([mean], [[variance]]))
    denoiser = GaussianDenoiser(path, *numbers)
    alpha, sigma = path(1.0)
    x = (alpha * mean).expand(40, 1).clone()
    x[1] += torch.sqrt(alpha**2 * variance + sigma**2)
    calls = iter(range(2, 40))

    def unit(state):
        z = torch.zeros_like(state)
        z[next(calls)] = 1
        return z

    *_, last = trajectory(denoiser, x, sampler, steps, noise=unit)
    alpha, sigma = path(last.t)
    assert float(last.x[0] - alpha * mean) == pytest.approx(0, abs=0.01)
    got = ((last.x[1:] - last.x[0]) ** 2).sum()
    return float(got / (alpha**2 * variance + sigma**2) - 1)


@pytest.mark.parametrize("path", [VP(), SubVP(), VE(), Flow()], ids=lambda p: type(p).__name__)
def test_the_law_is_kept_with_the_declared_order(path):
    """Twice the steps of the grid and of the intervals leave a quarter of the error."""

    def error(n):
        intervals = ((0.06, 0.3, 2, n), (0.5, 2.0, 3, n))
        return law(path, Restart(intervals=intervals), 8 * n + 1)

    coarse, fine = error(10), error(20)
    assert math.log2(abs(coarse / fine)) == pytest.approx(2, abs=0.3)
    assert abs(fine) < 0.01


def test_restarts_contract_what_was_wrong_before():
    """States that start twice too wide end nearer to the law with restarts than without."""
    path = VE(0.002, 80.0)
    denoiser = GaussianDenoiser(
        path, torch.zeros(1, dtype=torch.float64), torch.eye(1, dtype=torch.float64)
    )
    x = 160 * torch.ones(1, 1, dtype=torch.float64)

    def quiet(state):
        return torch.zeros_like(state)

    sampler = Restart(intervals=((0.3, 3.0, 4, 4),))
    plain = sample(denoiser, x, Heun(), 20)
    again = sample(denoiser, x, sampler, 20, noise=quiet)
    assert float(again) < 0.2 * float(plain)


def test_intervals_survive_json():
    thing = Restart(intervals=((0.05, 0.4, 2, 3), (1.0, 6.0, 3, 2)))
    assert from_dict(Sampler, to_dict(thing)) == thing


def test_an_interval_below_the_grid_is_refused(mixture, normal):
    sampler = Restart(intervals=((0.001, 0.002, 1, 1),))
    with pytest.raises(InputError, match=r"no time of the grid lies below the upper level 0\.002"):
        sample(mixture(VP()), normal(2, 2), sampler, 5)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.3, 0.06, 1, 1), "each of intervals needs 0 < low < high, got 0.3 and 0.06"),
        ((0.0, 1.0, 1, 1), "each of intervals needs 0 < low < high, got 0.0 and 1.0"),
        ((0.1, 0.3, 2), r"each of intervals is \(low, high, K, N\), got \(0.1, 0.3, 2\)"),
        ((0.1, 1.0, 0, 1), "K of each of intervals must be at least 1, got 0"),
        ((0.1, 1.0, 1.5, 2), "K of each of intervals must be a whole number, at least 1, got 1.5"),
        ((0.1, 1.0, 1, 0), "N of each of intervals must be at least 1, got 0"),
    ],
)
def test_impossible_intervals_are_refused(interval, words):
    with pytest.raises(InputError, match=words):
        Restart(intervals=(interval,))
