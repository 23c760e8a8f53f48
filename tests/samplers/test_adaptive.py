"""The adaptive solver: the published algorithm for one sample, and what it owes to every sample."""

import math

import pytest
import torch

from scorefield.core.ddpm import DDPM
from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.errors import InputError
from scorefield.samplers.adaptive import AdaptiveSDE
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.noise import seeded, unseeded


class Counting(torch.nn.Module):
    def __init__(self, denoiser):
        super().__init__()
        self.denoiser, self.calls = denoiser, 0
        self.schedule, self.moments = denoiser.schedule, denoiser.moments

    def forward(self, x, t):
        self.calls += 1
        return self.denoiser(x, t)


@pytest.mark.parametrize(
    ("path", "rtol"),
    [
        (VP(), 0.02),
        (VP(), 0.3),
        (VE(), 0.3),
        pytest.param(VE(), 0.02, marks=pytest.mark.slow),
    ],
)
def test_one_sample_is_walked_by_the_papers_algorithm(path, rtol, mixture, normal):
    """Jolicoeur-Martineau et al. 2021, Algorithm 1: f and g of the forward SDE, r = θ = 0.9.

    The noise of a refused step is kept: what was cut off lies on a stack, and comes next; and h grows no
    more than twofold, nor shrinks when a step was accepted.
    """
    denoiser = mixture(path)
    x = path.sigma(torch.ones((), dtype=torch.float64)) * normal(1, 2)
    z, y, before, t, h, tried = unseeded(torch.Generator().manual_seed(5)), x, x, 1.0, 0.01, 0
    known = []  # (length, increment) ahead, nearest last
    while t - path.t_min > 1e-12:
        noise, tried = z(y), tried + 1
        if not known:
            known.append((h, math.sqrt(h) * noise))
        elif h < known[-1][0] * (1 - 1e-9):
            length, whole = known.pop()
            near = h / length * whole + math.sqrt(h * (length - h) / length) * noise
            known += [(length - h, whole - near), (h, near)]
        wanted, (h, increment) = h, known[-1]

        def slope(v, at):
            at = torch.tensor(at, dtype=torch.float64)
            return path.drift(at) * v - path.diffusion(at) ** 2 * denoiser.score(v, at)

        def spread(at):
            return path.diffusion(torch.tensor(at, dtype=torch.float64))

        low = y - h * slope(y, t) + spread(t) * increment
        high = y - h * slope(low, t - h) + spread(t - h) * increment
        high = (low + high) / 2
        delta = torch.maximum(torch.tensor(0.0078), rtol * torch.maximum(low.abs(), before.abs()))
        error = float((((low - high) / delta) ** 2).mean().sqrt())
        if error <= 1:
            y, before, t = high, low, t - h
            known.pop()
            h = max(wanted, h * min(2, 0.9 * error**-0.9))
        else:
            h = h * 0.9 * error**-0.9
        h = min(t - path.t_min, h)
    noise = unseeded(torch.Generator().manual_seed(5))
    counted = Counting(denoiser)
    first, last = trajectory(counted, x, AdaptiveSDE(rtol=rtol), 2, noise=noise)
    assert torch.equal(first.x, x)
    assert torch.allclose(last.x, y, rtol=1e-7, atol=1e-7)
    assert float(last.t) == path.t_min
    assert counted.calls == 2 + 2 * tried


@pytest.mark.parametrize("schedule", [VP(), Flow(), DDPM(20)], ids=repr)
def test_a_sample_does_not_depend_on_its_batch(schedule, mixture, normal):
    x = schedule.sigma(torch.ones((), dtype=torch.float64)) * normal(5, 2)
    together = sample(mixture(schedule), x, AdaptiveSDE(), 2, noise=seeded(0, range(5)))
    alone = sample(mixture(schedule), x[3:4], AdaptiveSDE(), 2, noise=seeded(0, [3]))
    assert torch.allclose(together[3:4], alone, rtol=1e-9, atol=1e-9)


def test_each_time_of_the_grid_is_landed_on_and_no_sample_waits(mixture, normal):
    """At every stop a sample is where it is alone, though its neighbours take other steps to it."""
    x, denoiser = normal(5, 2), mixture(VP())
    together = list(trajectory(denoiser, x, AdaptiveSDE(), 6, noise=seeded(0, range(5))))
    alone = list(trajectory(denoiser, x[3:4], AdaptiveSDE(), 6, noise=seeded(0, [3])))
    times = AdaptiveSDE().grid.times(VP(), 6)
    for found, one, t in zip(together, alone, times, strict=True):
        assert torch.equal(found.t, t)
        assert torch.equal(one.t, t)
        assert torch.allclose(found.x[3:4], one.x, rtol=1e-9, atol=1e-9)


def test_a_walk_that_is_left_early_has_done_less(mixture, normal):
    counted = Counting(mixture(VP()))
    walk = trajectory(counted, normal(3, 2), AdaptiveSDE(), 6, noise=seeded(0, range(3)))
    *_, early = (next(walk) for _ in range(3))
    before, _ = counted.calls, list(walk)
    assert float(early.t) == pytest.approx(0.6, abs=1e-3)
    assert before < 0.7 * counted.calls


@pytest.mark.parametrize("steps", [2, 5])
def test_the_law_at_a_stop_is_that_of_the_path(steps, generator):
    """Gaussian data on VP, 64 dimensions, half way: 4 standard errors, and 8 % of the spread."""
    path, n, dim = VP(), 20, 64
    eye = torch.eye(dim, dtype=torch.float64)
    denoiser = GaussianDenoiser(path, 0.7 * torch.ones_like(eye[0]), 0.25 * eye)
    alpha, sigma = path(1.0)
    x = (
        0.7 * alpha
        + torch.hypot(0.5 * alpha, sigma) * torch.randn(n, dim, generator=generator).double()
    )
    run = list(trajectory(denoiser, x, AdaptiveSDE(), steps, noise=unseeded(generator)))
    for step in run[1:]:
        alpha, sigma = (float(v) for v in path(step.t))
        off, exact = step.x - 0.7 * alpha, math.hypot(0.5 * alpha, sigma)
        assert abs(float(off.mean())) < 4 * exact / math.sqrt(n * dim)
        assert float(off.square().mean().sqrt()) / exact == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize(
    "path",
    [VP(), VE(), *(pytest.param(p, marks=pytest.mark.slow) for p in (SubVP(), Flow()))],
    ids=lambda p: type(p).__name__,
)
def test_the_law_is_kept_in_many_dimensions(path, generator):
    """Gaussian data in 64 dimensions, 1280 numbers: 4 standard errors, and 8 % of the spread."""
    dim, n, mean, spread = 64, 20, 0.7, 0.5
    eye = torch.eye(dim, dtype=torch.float64)
    denoiser = GaussianDenoiser(path, mean * torch.ones_like(eye[0]), spread**2 * eye)
    alpha, sigma = path(1.0)
    x = torch.randn(n, dim, generator=generator, dtype=torch.float64)
    x = alpha * mean + torch.hypot(alpha * spread, sigma) * x
    *_, last = trajectory(denoiser, x, AdaptiveSDE(), 2, noise=unseeded(generator))
    alpha, sigma = (float(v) for v in path(last.t))
    off, exact = last.x - alpha * mean, math.hypot(alpha * spread, sigma)
    assert abs(float(off.mean())) < 4 * exact / math.sqrt(n * dim)
    assert float(off.square().mean().sqrt()) / exact == pytest.approx(1, abs=0.08)


def test_a_tighter_tolerance_costs_more_evaluations(mixture, normal):
    x, calls = normal(3, 2), []
    for rtol in (0.3, 0.03, 0.003):
        counted = Counting(mixture(VP()))
        sample(counted, x, AdaptiveSDE(rtol=rtol, atol=rtol), 2, noise=seeded(0, range(3)))
        calls.append(counted.calls)
    assert calls[0] < calls[1] < calls[2]


def test_too_few_steps_are_reported_with_the_time_and_the_error(mixture, normal):
    words = r"max_steps = 5 are not enough: at t = 0\.\d+ the error .* is [\d.e+-]+ times the tol"
    with pytest.raises(InputError, match=words):
        sample(mixture(VP()), normal(3, 2), AdaptiveSDE(max_steps=5), 2)


def test_what_was_reached_is_returned_on_request(mixture, normal):
    """Here of two samples, each the same as alone, whose last step is in the trajectory."""
    denoiser, x = mixture(VP()), normal(2, 2)
    sampler = AdaptiveSDE(max_steps=8, unfinished="denoise")
    noises = [seeded(0, range(2)), seeded(0, [0]), seeded(0, [1])]
    ends = []
    for noise, states in zip(noises, (x, x[:1], x[1:]), strict=True):
        *_, last = trajectory(denoiser, states, sampler, 2, noise=noise)
        ends.append(last)
    together, *alone = ends
    for step in alone:
        assert VP().t_min < float(step.t) < 1
        assert torch.equal(step.x0, denoiser(step.x, step.t))
    assert float(together.t) == max(float(step.t) for step in alone)
    assert torch.allclose(together.x0, torch.cat([step.x0 for step in alone]), atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"rtol": 0.0},
        {"atol": 0.0},
        {"rtol": math.nan},
        {"atol": math.inf},
        {"max_steps": 0},
        {"unfinished": "stay"},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        AdaptiveSDE(**settings)
