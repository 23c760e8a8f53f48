"""A model's best setting is found where mathematics says which it is."""

from dataclasses import replace

import pytest
import torch

from scorefield.core.denoisers import Denoiser
from scorefield.core.schedules import VE
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.models import Model
from scorefield.recipes import Sampling, find_recipe
from scorefield.samplers.base import sample
from scorefield.samplers.residual import GaussianResidual
from scorefield.tuning import Purse, own_setting, parse_purse, race, tune, verdict
from scorefield.tuning.settings import settings_at, ways
from scorefield.tuning.tune import LEVELS, guidances_of


def tuned(model, judge, samples, asked=None):
    *_, last = tune(model, judge, Purse(samples=samples), asked=asked)
    return verdict(last, judge, own_setting(model), asked)


def test_the_sampler_that_is_exact_wins(exact, frechet):
    """Gaussian-residual is the exact flow of Gaussian data; DDIM misses its spread."""
    found = tuned(exact, frechet, 2000, asked=4)
    assert isinstance(found.winner.sampling.sampler, GaussianResidual)
    assert found.winner.evaluations == 4
    assert found.sure > 0.9
    assert found.before.evaluations == 4
    assert found.before.distance > 10 * found.winner.distance


def test_the_cheapest_exact_sampler_wins_if_no_number_is_asked_for(exact, frechet):
    found = tuned(exact, frechet, 3000)
    assert found.winner.evaluations == min(LEVELS)
    assert isinstance(found.winner.sampling.sampler, GaussianResidual)


def test_the_same_budget_of_samples_finds_the_same(exact, frechet):
    assert tuned(exact, frechet, 500, asked=6) == tuned(exact, frechet, 500, asked=6)


class Counted(Denoiser):
    """Counts what it is asked."""

    def __init__(self, denoiser):
        super().__init__(denoiser.schedule, denoiser.moments)
        self.denoiser, self.calls = denoiser, 0

    def forward(self, x, t, **cond):
        self.calls += 1
        return self.denoiser(x, t, **cond)


@pytest.mark.parametrize("level", [5, 10, 23, 40])
def test_settings_take_what_they_may_and_say_how_much(exact, level):
    offered = settings_at(level, ways(image=False), moments=True)
    assert len(offered) == len(set(offered)) == sum(way.least <= level for way in ways(image=True))
    for setting in offered:
        counted = Counted(exact.denoiser)
        sample(counted, (2, 2), setting.sampling.sampler, setting.sampling.steps)
        assert counted.calls == setting.evaluations
        assert level - setting.sampling.sampler.evaluations_per_step < counted.calls <= level


def test_guidance_costs_two_evaluations_but_at_0_and_1():
    plain = Sampling(steps=9)
    costs = {w: replace(plain, guidance=w).evaluations for w in (None, 0.0, 1.0, 1.5, -1.0)}
    assert costs == {None: 9, 0.0: 9, 1.0: 9, 1.5: 18, -1.0: 18}
    led = [
        s
        for s in settings_at(20, ways(image=True), moments=True, guidances=(None, 1.5))
        if s.sampling.guidance
    ]
    assert led
    assert {s.sampling.steps for s in led if s.sampling.sampler.evaluations_per_step == 1} >= {10}
    assert all(s.evaluations <= 20 for s in led)


def test_what_a_model_cannot_do_is_not_offered(exact):
    needs = [s.sampling.sampler.needs for s in settings_at(20, ways(image=True), moments=False)]
    assert needs
    assert not any(needs)
    assert guidances_of(exact) == (None,)
    led = Model(exact.denoiser, find_recipe("mnist"), DataSpec((2,), 3), 1)
    assert None in guidances_of(led)
    assert len(guidances_of(led)) > 1


def test_all_settings_start_from_the_same_noise(exact, frechet):
    """The flow of Gaussian data maps noise to samples one to one, so good solvers end in the same place."""
    *_, last = tune(exact, frechet, Purse(samples=1000), asked=40)
    ends = [
        entry.features[:30].flatten()
        for entry in last.entries
        if not entry.setting.sampling.sampler.stochastic and entry.setting.evaluations >= 10
    ]
    assert len(ends) > 4
    assert float(torch.corrcoef(torch.stack(ends)).min()) > 0.99


@pytest.mark.parametrize(
    ("words", "purse"),
    [
        ("90s", Purse(seconds=90.0)),
        ("5m", Purse(seconds=300.0)),
        ("20k samples", Purse(samples=20_000)),
        ("500 Samples", Purse(samples=500)),
        ("1000", Purse(samples=1000)),
        ("20k", Purse(samples=20_000)),
        ("1m samples", Purse(samples=1_000_000)),
    ],
)
def test_budgets(words, purse):
    assert parse_purse(words) == purse


@pytest.mark.parametrize(
    "words", ["soon", "0s", "-4", "", "5 steps of it", "120steps", "5k images"]
)
def test_budgets_that_are_none(words):
    with pytest.raises(InputError, match="is not a budget; give a time"):
        parse_purse(words)


def test_a_time_runs_while_the_data_are_looked_at(exact, frechet):
    assert parse_purse("60s").after(20) == Purse(seconds=40.0)
    assert Purse(samples=100).after(20) == Purse(samples=100)
    with pytest.raises(InputError, match="budget is too small: it buys 0 samples"):
        next(tune(exact, frechet, parse_purse("60s").after(70), asked=4))


def test_too_few_evaluations(exact, frechet):
    with pytest.raises(InputError, match="evaluations must be at least 3, got 2"):
        tune(exact, frechet, Purse(samples=1000), asked=2)


class Square:
    """How far the mean square is from that of N(± 1.25, 1), which guidance of 2.5 gives."""

    distance_name = "square"

    def look(self, x):
        return x.double()

    def distance(self, features):
        return abs(float(features.square().mean()) - 1 - 1.25**2)


def test_the_guidance_that_fits_wins(labelled, monkeypatch):
    monkeypatch.setattr(race, "FIRST", 24)
    path = VE(0.002, 80.0)
    words = ["sampling.sampler=dpm++", "sampling.steps=8", "sampling.guidance=null"]
    recipe = find_recipe("mnist", words)
    model = Model(labelled(path), recipe, DataSpec((1,), 2, None, None, None), 1)
    found = tuned(model, Square(), 3000, asked=8)
    assert found.winner.sampling.guidance == 2.5
    assert found.winner.evaluations <= 8
    assert found.before.sampling.guidance is None
    assert found.before.distance == pytest.approx(1.25**2 - 0.5**2, abs=0.3)
