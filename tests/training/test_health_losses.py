"""Losses at noise levels and what they are held against, by closed forms."""

import math
from itertools import pairwise

import pytest
import torch

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.moments import moments_of
from scorefield.core.oracles import EmpiricalDenoiser, GaussianDenoiser
from scorefield.core.parameterizations import EDM, Noise, Velocity
from scorefield.core.schedules import VE, VP, Flow
from scorefield.core.times import LogNormalTimes, UniformTimes
from scorefield.training.health.floors import gaussian_loss, ideal_loss
from scorefield.training.health.losses import (
    Samples,
    check_times,
    level_losses,
    network_loss,
    noise_levels,
)

CPU = torch.device("cpu")
COVARIANCE = torch.tensor([[2.0, 0.6, 0.0], [0.6, 0.5, 0.1], [0.0, 0.1, 0.2]], dtype=torch.float64)
MEAN = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
WAYS = [(VP(), EDM(0.9)), (VE(), EDM(0.9)), (Flow(), Velocity()), (VP(), Noise())]


def gaussian(n, seed=0):
    draw = GaussianDenoiser(VP(), MEAN, COVARIANCE).mixture.draw
    return draw(n, torch.Generator().manual_seed(seed))


def test_levels_are_evenly_spread_in_log_over_the_training_times():
    t = check_times(LogNormalTimes(-1.2, 1.2), VE(0.002, 80.0))
    levels = noise_levels(VE(0.002, 80.0), t)
    # the 1st and the 99th percentile of the normal law are 2.326 standard deviations from its mean
    ends = [math.exp(-1.2 - 2.3263 * 1.2), math.exp(-1.2 + 2.3263 * 1.2)]
    assert [levels[0], levels[-1]] == pytest.approx(ends, rel=0.03)
    ratios = [b / a for a, b in pairwise(levels)]
    assert len(levels) == 8
    assert ratios == pytest.approx([ratios[0]] * 7)


@pytest.mark.parametrize("schedule", [VP(), VE(), Flow()])
def test_levels_are_ascending_and_usable_on_every_path(schedule):
    t = check_times(UniformTimes(), schedule)
    levels = noise_levels(schedule, t)
    assert list(levels) == sorted(set(levels))
    assert schedule.t_min <= float(t.min()) < float(t.max()) <= 1


@pytest.mark.parametrize(("schedule", "parameterization"), WAYS)
def test_the_loss_of_a_network_that_says_nothing_is_the_power_of_its_target(
    schedule, parameterization
):
    silent = NetworkDenoiser(
        lambda x, c: torch.zeros_like(x), schedule, parameterization, MEAN.tolist()
    )
    t = check_times(UniformTimes(), schedule)
    x0 = gaussian(20000)
    found = level_losses(network_loss(silent, CPU), Samples(x0, None, 0), t, 5000)
    a, b = parameterization.target(schedule, t)
    power = a**2 * COVARIANCE.diagonal().mean() + b**2
    assert found == pytest.approx(power.tolist(), rel=0.03)


def test_losses_are_the_same_in_parts_and_at_every_time_of_asking():
    state = torch.random.get_rng_state()
    denoiser = NetworkDenoiser(lambda x, c: x, VP(), EDM(1.0))
    loss, t = network_loss(denoiser, CPU), check_times(UniformTimes(), VP())
    samples = Samples(gaussian(50), None, 3)
    first = level_losses(loss, samples, t, 50)
    assert level_losses(loss, samples, t, 50) == first
    assert level_losses(loss, samples, t, 7) == pytest.approx(first, rel=1e-12)
    assert level_losses(loss, Samples(samples.x0, None, 4), t, 50) != first
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(("schedule", "parameterization"), WAYS)
def test_the_affine_loss_is_that_of_the_exact_denoiser_of_gaussian_data(schedule, parameterization):
    t = check_times(UniformTimes(), schedule)
    exact = GaussianDenoiser(schedule, MEAN, COVARIANCE)
    x0, generator = gaussian(40000), torch.Generator().manual_seed(1)
    moments = moments_of(MEAN, COVARIANCE)
    for time, found in zip(t, gaussian_loss(moments, schedule, parameterization, t), strict=True):
        alpha, sigma = schedule(time)
        _, out = parameterization.inversion(schedule, time)
        x = alpha * x0 + sigma * torch.randn(x0.shape, generator=generator, dtype=torch.float64)
        error = (exact(x, time) - x0).square().mean()
        assert found == pytest.approx(float(error / out**2), rel=0.03)


def test_classes_have_affine_losses_of_their_own():
    one, two = (moments_of(MEAN, scale * torch.eye(3).double()) for scale in (1.0, 4.0))
    both = type(one)(
        one.basis,
        torch.cat([one.mean] * 3),
        torch.cat([one.variances, two.variances, two.variances]),
        torch.tensor([2]),
    )
    t = check_times(UniformTimes(), VP())
    first, second = (gaussian_loss(m, VP(), EDM(1.0), t) for m in (one, two))
    found = gaussian_loss(both.given(torch.tensor([0, 1, 0, 0])), VP(), EDM(1.0), t)
    assert found == pytest.approx([0.75 * a + 0.25 * b for a, b in zip(first, second, strict=True)])
    assert gaussian_loss(both, VP(), EDM(1.0), t) == pytest.approx(second)


@pytest.mark.parametrize(("schedule", "parameterization"), WAYS)
def test_the_ideal_loss_is_that_of_the_oracle(schedule, parameterization):
    train, t = gaussian(60), check_times(UniformTimes(), schedule)
    oracle = EmpiricalDenoiser(schedule, train)
    samples = Samples(train[:20], None, 5)
    found = level_losses(ideal_loss(train, None, schedule, parameterization), samples, t, 20)
    for (time, eps), loss in zip(samples.noisy(t), found, strict=True):
        alpha, sigma = schedule(time)
        _, out = parameterization.inversion(schedule, time)
        error = oracle(alpha * samples.x0 + sigma * eps, time) - samples.x0
        assert loss == pytest.approx(float((error / out).square().mean()), rel=1e-6, abs=1e-12)


def test_the_ideal_of_a_class_is_that_of_its_samples_alone():
    train, t = gaussian(60), check_times(UniformTimes(), VP())
    label = torch.arange(60) % 3
    together = ideal_loss(train, label, VP(), EDM(1.0))
    alone = ideal_loss(train[label == 1], None, VP(), EDM(1.0))
    x0 = train[label == 1]
    found = level_losses(together, Samples(x0, label[label == 1], 0), t, 60)
    assert found == pytest.approx(level_losses(alone, Samples(x0, None, 0), t, 60))


def test_no_denoiser_is_below_the_ideal_on_the_training_set():
    train, t = gaussian(200), check_times(UniformTimes(), VP())
    samples = Samples(train.repeat(50, 1), None, 0)
    moments = moments_of(train.mean(0), torch.cov(train.T, correction=0))
    ideal = level_losses(ideal_loss(train, None, VP(), EDM(1.0)), samples, t, 2000)
    affine = gaussian_loss(moments, VP(), EDM(1.0), t)
    assert all(low <= 1.02 * high for low, high in zip(ideal, affine, strict=True))
    assert (
        ideal[0] < 0.15 * affine[0]
    )  # with little noise the nearest sample is mostly the right one
