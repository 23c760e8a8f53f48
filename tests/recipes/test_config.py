"""The one door for what comes from outside: what it lets in, and what it says of the rest."""

import json
import math

import pytest

from scorefield.core.ddpm import DDPM, CosineBetas, GivenBetas
from scorefield.core.objective import Objective
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP, SubVP
from scorefield.core.times import LogNormalTimes
from scorefield.data.base import DataSpec
from scorefield.data.toy import Moons
from scorefield.errors import InputError, unknown
from scorefield.nets.mlp import MLPConfig
from scorefield.nets.unet import UNetConfig
from scorefield.recipes import RECIPES, Recipe, Sampling, Training, from_dict, override, to_dict
from scorefield.samplers.ancestral import Ancestral
from scorefield.samplers.base import Sampler
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import Karras, Knots
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector


def refused(*args):
    with pytest.raises(InputError) as caught:
        from_dict(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_objects_are_plain_and_say_their_kind():
    kept = {"kind": "vp", "beta_min": 0.1, "beta_max": 18.0, "t_min": 1e-3}
    assert to_dict(VP(beta_max=18.0)) == kept
    assert to_dict(UNetConfig(width=8, heads=2))["multipliers"] == [1, 2]
    assert to_dict(Sampling(sampler=Heun(grid=Karras(rho=5.0)), steps=18)) == {
        "sampler": {
            **to_dict(Heun()),
            "grid": {"kind": "karras", "rho": 5.0},
        },
        "steps": 18,
        "guidance": None,
        "guidance_least": 0.0,
    }


@pytest.mark.parametrize(
    "thing",
    [
        Recipe(
            data=Moons(size=7), network=MLPConfig(width=3), schedule=DDPM(betas=CosineBetas(0.1))
        ),
        Recipe(data=Moons(), network=UNetConfig(multipliers=(1, 2, 4), attention=(0, 2))),
        Training(budget="600k images", lr=1e-4, optimizer="muon", ema=0.0),
        Sampling(sampler=DPMSolverPP(grid=Karras(rho=3.0)), steps=7),
        Objective(times=LogNormalTimes(mean=0.5), drop=0.0),
        DataSpec((3, 4, 5), 7, None, None, None, (0.1, 0.2, 0.3), 0.7),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_json_round_trip(thing):
    plain = json.loads(json.dumps(to_dict(thing), allow_nan=False))
    found = from_dict(type(thing), plain)
    assert found == thing
    assert hash(found) == hash(thing)


def test_missing_keys_take_the_defaults():
    plain = {"data": "moons", "network": {"kind": "mlp", "width": 9}}
    assert from_dict(Recipe, plain) == Recipe(data=Moons(), network=MLPConfig(width=9))


def test_a_name_stands_for_the_defaults_of_its_kind():
    assert from_dict(Schedule, "subvp") == from_dict(Schedule, {"kind": "subvp"}) == SubVP()


def test_numbers_are_understood_as_people_write_them():
    found = from_dict(Training, {"lr": "1e-3", "batch": "64", "budget": 120, "clip": 2})
    assert (found.lr, found.batch, found.budget, found.clip) == (1e-3, 64, "120", 2.0)
    assert isinstance(found.clip, float)
    assert from_dict(Sampler, {"kind": "heun", "churn_max": "inf"}).churn_max == math.inf
    betas = {"kind": "given", "numbers": [0.1, 0.2]}
    found = from_dict(Schedule, {"kind": "ddpm", "steps": 2, "betas": betas})
    assert found == DDPM(2, GivenBetas((0.1, 0.2)))


@pytest.mark.parametrize(
    ("cls", "given", "words"),
    [
        (Schedule, "subpv", ["unknown schedule 'subpv'", "did you mean 'subvp'", "flow", "ddpm"]),
        (Schedule, "heun", ["unknown schedule 'heun'", "vp, subvp, ve"]),
        (Schedule, {"kind": "vp", "beta_maxx": 1}, ["'beta_maxx'", "'beta_max'", "beta_min"]),
        (Schedule, {"beta_max": 1}, ["one of vp, subvp", "kind", "beta_max"]),
        (Schedule, 3, ["schedule must be one of vp, subvp", "got 3"]),
        (Schedule, None, ["schedule must be one of vp, subvp", "got None"]),
        (Schedule, {"kind": ["vp"]}, ["schedule", "vp, subvp"]),
        (Schedule, {"kind": {"vp": 1}}, ["schedule", "vp, subvp"]),
        (Schedule, {"kind": None}, ["schedule 'None'", "vp, subvp"]),
        (Schedule, {"kind": "vp", "beta_max": 0.01}, ["beta_min < beta_max", "beta_max=0.01"]),
        (Schedule, {"kind": "vp", "beta_max": "big"}, ["beta_max must be a number, got 'big'"]),
        (Sampling, {"steps": 0}, ["steps must be at least 1, got 0"]),
        (Sampling, {"steps": 2.5}, ["steps must be a whole number, got 2.5"]),
        (Sampling, {"steps": True}, ["steps must be a whole number, got True"]),
        (Sampling, {"sampler": {"kind": "dpm+"}}, ["unknown sampler 'dpm+'", "'dpm++'", "heun"]),
        (Sampling, ["steps"], ["Sampling must be a mapping of its keys", "steps"]),
        (Training, {"lrr": 1}, ["'lrr'", "did you mean 'lr'", "batch"]),
        (Training, {"lr": True}, ["lr must be a number, got True"]),
        (Training, {"lr": None}, ["lr must be a number, got None"]),
        (Training, {"lr": [1]}, ["lr must be a number, got [1]"]),
        (Training, {"optimizer": "adam"}, ["optimizer must be one of adamw, muon, got 'adam'"]),
        (Training, {"budget": ["5m"]}, ["budget must be text, got ['5m']"]),
        (Training, {7: 1}, ["'7'", "batch"]),
        (Recipe, {}, ["Recipe lacks data, network"]),
        (Recipe, {"data": "moons"}, ["lacks network"]),
        (
            Recipe,
            {"data": "moons", "network": {"kind": "unet", "multipliers": 3}},
            ["network.multipliers must be a list, each a whole number, got 3"],
        ),
        (
            Recipe,
            {"data": "moons", "network": {"kind": "unet", "multipliers": [1, "x"]}},
            ["network.multipliers must be a list, each a whole number, got [1, 'x']"],
        ),
        (
            Recipe,
            {"data": "moons", "network": {"kind": "unet", "conditional": "maybe"}},
            ["network.conditional must be true or false, got 'maybe'"],
        ),
        (
            Recipe,
            {"data": "moons", "network": {"kind": "unet", "width": 0}},
            ["network: width must be at least 1, got 0"],
        ),
        (
            Recipe,
            {"data": "moons", "network": "mlp", "objective": {"times": {"kind": "knots", "steps": "a"}}},
            ["objective.times.steps must be a whole number, got 'a'"],
        ),
        (DataSpec, {"shape": [2], "clases": 3}, ["'clases'", "did you mean 'classes'"]),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_what_would(cls, given, words):
    sentence = refused(cls, given)
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("field", "bad", "sentence"),
    [
        ("batch", 0, "batch must be at least 1, got 0"),
        ("accumulate", 3, "accumulate must divide the batch of 128, got 3"),
        ("accumulate", 0, "accumulate must divide the batch of 128, got 0"),
        ("lr", 0.0, "lr must be above 0 and finite, got 0.0"),
        ("lr", float("nan"), "lr must be above 0 and finite, got nan"),
        ("clip", -1.0, "clip must be above 0 and finite, got -1.0"),
        ("weight_decay", -0.1, "weight_decay must be at least 0 and finite, got -0.1"),
        ("warmup", -1, "warmup must be at least 0 and finite, got -1"),
        ("decay", 1.1, "decay must lie between 0 and 1, got 1.1"),
        ("ema", 0.28, "ema must lie from 0 to below 0.28, got 0.28"),
        ("budget", "soon", "'soon' is not a budget"),
        ("checkpoint_every", "0s", "a budget must be above 0, got '0s'"),
    ],
)
def test_training_refuses_what_cannot_be_trained(field, bad, sentence):
    with pytest.raises(InputError, match=sentence):
        Training(**{field: bad})


def test_a_predictor_is_any_sampler_by_its_name():
    plain = to_dict(Sampling(sampler=PredictorCorrector()))
    found = from_dict(Sampling, override(plain, "sampler.predictor=ddpm")).sampler
    assert found == PredictorCorrector(predictor=Ancestral())
    found = from_dict(Sampling, override(plain, "sampler.predictor=euler-maruyama")).sampler
    assert found == PredictorCorrector(predictor=EulerMaruyama())
    eta = {"kind": "pc", "predictor": {"kind": "euler-maruyama", "eta": 0.5, "grid": "knots"}}
    assert from_dict(Sampler, eta).predictor == EulerMaruyama(Knots(), eta=0.5)
    assert from_dict(Sampler, {"kind": "pc", "predictor": "heun"}).predictor == Heun()


@pytest.mark.parametrize("name", ["vp", "nothing"])
def test_a_predictor_that_is_no_sampler_is_refused(name):
    said = refused(Sampler, {"kind": "pc", "predictor": name})
    assert f"unknown sampler '{name}'" in said
    assert "euler-maruyama" in said


def test_override_sets_one_key_and_leaves_the_rest():
    plain = to_dict(RECIPES["mnist"])
    before = json.dumps(plain)
    found = override(plain, "network.width=64")
    assert found["network"] == {**plain["network"], "width": 64}
    assert {k: v for k, v in found.items() if k != "network"} == {
        k: v for k, v in plain.items() if k != "network"
    }
    assert json.dumps(plain) == before


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("a=3", "a", 3),
        ("a=0.5", "a", 0.5),
        ("a=[1, 2]", "a", [1, 2]),
        ("a=true", "a", True),
        ("a=null", "a", None),
        ("a=5m", "a", "5m"),
        ("a=1:30", "a", "1:30"),
        ("a=0123", "a", "0123"),
        ("a=1_000", "a", "1_000"),
        ("a=2024-01-05", "a", "2024-01-05"),
        ("a=2024-13-01", "a", "2024-13-01"),
        ("a=.", "a", "."),
        ("a=-5", "a", -5),
        ("a=1e-3", "a", 1e-3),
        ("a=-.5", "a", -0.5),
        ("a=1.0e+7", "a", 1e7),
        ("a=.inf", "a", math.inf),
        ("a=x=y", "a", "x=y"),
        ("a={kind: vp}", "a", {"kind": "vp"}),
    ],
)
def test_override_values_are_yaml(assignment, key, value):
    assert override({"a": 0, "b": 1}, assignment) == {key: value, "b": 1}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("network.width", ["'network.width' is not an override", "key=value"]),
        ("=3", ["'=3' is not an override"]),
        ("netwrok.width=3", ["'netwrok.width'", "did you mean 'network'", "schedule"]),
        ("training.budget.unit=3", ["training.budget.unit", "leads nowhere", "'5m'"]),
        ("network.width=[3", ["network.width", "not YAML", "[3"]),
    ],
)
def test_override_errors(assignment, words):
    with pytest.raises(InputError) as caught:
        override(to_dict(RECIPES["mnist"]), assignment)
    for word in words:
        assert word in str(caught.value)


def test_did_you_mean():
    known = ["vp", "subvp", "flow"]
    assert str(unknown("schedule", "flwo", known)) == (
        "unknown schedule 'flwo'; did you mean 'flow'? (known: vp, subvp, flow)"
    )
    assert str(unknown("schedule", "zzz", known)) == (
        "unknown schedule 'zzz' (known: vp, subvp, flow)"
    )
    assert str(unknown("schedule", 3, [])) == "unknown schedule '3' (known: none)"


def test_a_kind_brings_its_own_defaults():
    assert from_dict(Schedule, {"kind": "ve"}) == VE()
