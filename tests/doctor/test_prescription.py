"""Recipes fitted to data: like the presets where those were measured, and moved where data differ."""

import dataclasses
import math

import pytest
import torch

from scorefield.core.schedules import VE, VP
from scorefield.data.base import described
from scorefield.data.digits import Digits
from scorefield.data.toy import Moons
from scorefield.doctor import Examination, chosen, prescribe, training_rate
from scorefield.doctor.choices import batch_for, rounded_up
from scorefield.doctor.speed import Pace, operations
from scorefield.errors import InputError
from scorefield.nets.mlp import MLPConfig
from scorefield.recipes import RECIPES


def steady(rate):
    """A machine that trains the presets' network at a rate."""
    return lambda recipe, spec: rate


@pytest.fixture(scope="module")
def digits():
    return Examination(Digits()).diagnosis


def like(diagnosis, *, shape, count=60_000, sigma_data=0.5, levels=256, far=30.0):
    """A diagnosis of other images."""
    spec = dataclasses.replace(
        diagnosis.spec,
        shape=shape,
        sigma_data=sigma_data,
        levels=levels,
        mean=(0.0,) * shape[0],
    )
    distance = dataclasses.replace(diagnosis.distance, value=far, bound=far)
    return dataclasses.replace(diagnosis, spec=spec, count=count, distance=distance)


def test_for_images_like_mnist_it_is_the_preset_but_for_the_ends_of_the_noise(digits):
    known = like(digits, shape=(1, 28, 28), sigma_data=0.6162, far=32.74)
    preset = RECIPES["mnist"]
    recipe = prescribe(known, preset.data, "5m", measure=steady(400.0)).recipe
    assert (recipe.network, recipe.training) == (preset.network, preset.training)
    assert (recipe.objective, recipe.sampling) == (preset.objective, preset.sampling)
    # σ_max is the largest distance, rounded up; σ_min the preset's
    assert recipe.schedule == VE(preset.schedule.sigma_min, 33.0)
    assert recipe.parameterization.sigma_data == 0.6162


def test_colour_has_the_noise_and_the_form_of_the_colour_preset(digits):
    preset = RECIPES["cifar10"]
    recipe = prescribe(
        like(digits, shape=(3, 32, 32)), preset.data, "2h", measure=steady(200.0)
    ).recipe
    assert recipe.objective.times == preset.objective.times
    width = recipe.network.width
    assert dataclasses.replace(recipe.network, width=preset.network.width) == preset.network
    assert width > RECIPES["mnist"].network.width


@pytest.mark.parametrize("side", [9, 128, 250])
def test_images_of_every_size_have_a_network_that_ends_coarse(digits, side):
    known = like(digits, shape=(1, side, side - 1))
    recipe = prescribe(known, Digits(), "1h", measure=steady(100.0)).recipe
    network, training = recipe.network, recipe.training
    coarsest = math.ceil(side / network.patch) / 2 ** (len(network.multipliers) - 1)
    assert 4 <= coarsest <= 8
    numbers = side**2 // network.patch**2 * network.width * training.batch / training.accumulate
    assert numbers <= 4.1e6
    assert training.batch % training.accumulate == 0
    operations(network, known.spec)  # it can be built and takes such images


def test_more_budget_means_a_wider_network_that_sees_more(digits):
    known = like(digits, shape=(1, 28, 28))
    found = [
        prescribe(known, Digits(), budget, measure=steady(300.0))
        for budget in ("20s", "6m", "2h", "1d", "200k images", "120 steps")
    ]
    widths = [p.recipe.network.width for p in found]
    assert widths == [32, 48, 96, 96, 64, 32]
    assert [p.recipe.training.lr for p in found[:3]] == [0.012, 0.012, 0.0085]
    assert (found[1].seen, found[4].seen, found[5].seen) == (108_000, 200_000, 120 * 64)
    (reason,) = (c.reason for c in found[0].choices if c.key == "network")
    assert "44,444 are wanted" in reason
    for one in found:
        assert one.epochs == one.seen / 60_000
        assert one.recipe.training.warmup <= one.seen // 64 // 10 or one.seen > 64_000


def test_few_images_have_a_small_network_with_dropout(digits):
    few = like(digits, shape=(1, 28, 28), count=300)
    network = prescribe(few, Digits(), "1h", measure=steady(300.0)).recipe.network
    assert (network.width, network.dropout) == (32, 0.1)
    small = prescribe(digits, Digits(), "1h", measure=steady(1000.0)).recipe.network
    assert (small.patch, small.dropout) == (1, 0.1)  # as in the preset for these digits
    assert prescribe(digits, Digits(), "1m", measure=steady(1000.0)).recipe.network.dropout == 0
    tiny = like(digits, shape=(1, 28, 28), count=50)
    assert prescribe(tiny, Digits(), "1m", measure=steady(1.0)).recipe.training.batch == 32


def test_noise_reaches_from_rounding_to_the_largest_distance(digits):
    def path(**known):
        found = like(digits, shape=(3, 32, 32), **known)
        return prescribe(found, Digits(), "1m", measure=steady(1.0)).recipe.schedule

    assert path(far=101.2) == VE(0.002, 110.0)
    assert path(far=3.0) == VE(0.002, 10.0)  # 20 σ_data
    assert path(levels=65_536).sigma_min == 0.0005  # 0.001 σ_data
    assert path(sigma_data=0.25).sigma_min == 0.001  # 0.004 σ_data


def test_mirrored_images_are_for_symmetric_colour_that_is_not_writing(digits):
    def flip(shape, gap, classes=0, class_names=()):
        found = like(digits, shape=shape)
        scan = dataclasses.replace(found.scan, mirror=gap)
        spec = dataclasses.replace(found.spec, classes=classes, class_names=class_names)
        found = dataclasses.replace(found, scan=scan, spec=spec)
        return prescribe(found, Digits(), "1m", measure=steady(1.0)).recipe.augmentation.flip

    assert flip((1, 28, 28), 0.0) == 0
    assert flip((3, 32, 32), 0.5) == 0
    assert flip((3, 32, 32), 0.02) == 0.5
    assert flip((3, 32, 32), 0.02, 2, ("cat", "dog")) == 0.5
    assert flip((3, 32, 32), 0.02, 2, ("7", "8")) == 0
    assert flip((3, 32, 32), 0.02, 2, ("a", "b")) == 0
    assert flip((3, 32, 32), 0.02, 2) == 0


def test_points_have_the_preset_for_toys():
    preset = RECIPES["moons"]
    recipe = prescribe(Examination(Moons()).diagnosis, Moons(), "30s", measure=steady(3e4)).recipe
    assert recipe == dataclasses.replace(preset, parameterization=recipe.parameterization)


@pytest.mark.parametrize(("width", "kind"), [(0.001, VE), (1.0, VP), (10.0, VP), (1000.0, VE)])
def test_noise_covers_vectors_of_every_width(generator, width, kind, diagnosed):
    x = width * torch.randn(3000, 20, generator=generator)
    found = diagnosed(described(x, levels=None, low=None, high=None))
    recipe = prescribe(found, Moons(), "30s", measure=steady(1e4)).recipe
    path = recipe.schedule
    assert isinstance(path, kind)
    assert recipe.network == MLPConfig(width=256)
    start, end = (math.exp(-0.5 * float(path.log_snr(t))) for t in (path.t_min, 1.0))
    assert start < 0.1 * found.spec.sigma_data
    assert end >= found.distance.value
    few = prescribe(dataclasses.replace(found, count=500), Moons(), "30s", measure=steady(1e4))
    assert (few.recipe.network.width, few.recipe.training.batch) == (128, 256)


def test_what_is_asked_for_is_in_the_recipe_with_that_reason(digits):
    wishes = ["network.width=40", "training.budget=2h", "schedule=vp", "network.dropout=0.2"]
    found = prescribe(digits, Digits(), "1m", wishes, measure=steady(100.0))
    recipe = found.recipe
    assert (recipe.network.width, recipe.network.dropout, recipe.schedule) == (40, 0.2, VP())
    assert recipe.training.budget == "2h"
    # the budget is what all is fitted to, and speed is told of the network that was asked for
    fitted = dataclasses.replace(recipe.network, width=48)
    share = operations(fitted, digits.spec) / operations(recipe.network, digits.spec)
    assert found.rate == pytest.approx(100.0 * share)
    assert found.seen == pytest.approx(7200 * found.rate, rel=1e-3)
    basis = {c.key: c.basis for c in found.choices}
    assert basis["schedule"] == basis["network.width"] == basis["network.dropout"] == "given"
    assert "schedule.sigma_max" not in basis
    assert basis["network"] == "rule of thumb"
    assert basis["training.budget"] == "measured"
    for wish in ("network.widht=3", "training.budget=soon", "schedule=vq"):
        with pytest.raises(InputError):
            prescribe(digits, Digits(), "1m", [wish], measure=steady(100.0))


def test_every_choice_stands_in_the_recipe(digits):
    found = prescribe(digits, Digits(), "1h", measure=steady(1000.0))
    values = {c.key: chosen(found.recipe, c.key) for c in found.choices}
    assert values["training.batch"] == "64"
    assert values["network"] == "unet width=96 patch=1 dropout=0.1"
    assert values["augmentation.flip"] == "0.0"
    assert len(values) == len(found.choices)


def test_speed_is_measured_once_and_counted_after(digits):
    calls = []

    def measure(recipe, spec):
        calls.append(recipe)
        return 120.0

    pace, base = Pace(digits.spec, measure), RECIPES["digits"]
    twice = dataclasses.replace(base.network, width=2 * base.network.width)
    wide = dataclasses.replace(base, network=twice)
    assert pace.rate(base) == pytest.approx(120.0)
    ratio = operations(wide.network, digits.spec) / operations(base.network, digits.spec)
    assert 3.5 < ratio < 4  # in proportion to the square of the width, nearly
    assert pace.rate(wide) == pytest.approx(120.0 / ratio)
    assert calls == [base]


def test_counting_agrees_with_paper_and_pencil():
    # layers of an MLP are products: 2 operations a weight of its matrices
    spec = Moons(size=50).load().spec
    module = MLPConfig(width=32).build(spec.shape, 0)
    weights = sum(p.numel() for p in module.parameters() if p.ndim == 2)
    assert operations(MLPConfig(width=32), spec) == 2 * weights


def test_a_rate_is_measured(monkeypatch):
    monkeypatch.setattr("scorefield.doctor.speed.SECONDS", 0.01)
    state = torch.get_rng_state()
    assert training_rate(RECIPES["moons"], Moons(size=50).load().spec, device="cpu") > 100
    assert torch.equal(state, torch.get_rng_state())


def test_round_numbers():
    assert [batch_for(64, count) for count in (1, 2, 63, 64, 10**6)] == [1, 2, 32, 64, 64]
    assert [rounded_up(v) for v in (32.74, 0.0301, 101.0, 20.0, 9.6)] == [33, 0.031, 110, 20, 9.6]
