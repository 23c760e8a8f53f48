"""Presets by name, overrides in order, recipe files."""

import json
from dataclasses import fields, replace

import pytest
import torch
import yaml

from scorefield.core.ddpm import DDPM, CosineBetas
from scorefield.core.parameterizations import EDM
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.data.base import DataSpec
from scorefield.data.mnist import MNIST, MNIST10k
from scorefield.data.toy import Mixture, Moons, Spiral
from scorefield.errors import InputError
from scorefield.nets.mlp import MLPConfig
from scorefield.nets.unet import UNetConfig
from scorefield.recipes import RECIPES, Recipe, find_recipe, from_dict, to_dict
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import Karras

IMAGES = DataSpec((1, 28, 28), 10, mean=(-0.74,), sigma_data=0.62)
COLOUR = DataSpec((3, 32, 32), 10, mean=(-0.05, -0.04, -0.1), sigma_data=0.5)
SMALL = DataSpec((1, 8, 8), 10, 17, mean=(-0.39,), sigma_data=0.75)
POINTS = DataSpec((2,), 0, None, None, None, (0.0, 0.0), 1.0)
LINE = DataSpec((1,), 0, None, None, None, (0.0,), 1.0)
PROMISED = [
    *("mnist", "mnist10k", "mnist-vp", "mnist-subvp", "mnist-ve", "mnist-ddpm", "mnist-flow"),
    *("fashion-mnist", "kmnist", "cifar10", "cifar100", "digits"),
    *("moons", "spiral", "mixture-1d"),
]


def differing(one, other):
    return {f.name for f in fields(Recipe) if getattr(one, f.name) != getattr(other, f.name)}


@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_is_found_travels_and_computes(name):
    recipe = find_recipe(name)
    assert recipe is RECIPES[name]
    assert from_dict(Recipe, json.loads(json.dumps(to_dict(recipe)))) == recipe
    kinds = {"mnist": IMAGES, "cifar": COLOUR, "digits": SMALL, "1d": LINE}
    spec = next((spec for word, spec in kinds.items() if word in name), POINTS)
    denoiser = recipe.build(spec)
    label = {"label": torch.tensor([3])} if spec.classes else {}
    x0 = denoiser(torch.randn(1, *spec.shape), torch.tensor(0.5), **label)
    assert x0.shape == (1, *spec.shape)
    assert x0.isfinite().all()
    assert denoiser.mean == spec.mean
    assert denoiser.parameterization.sigma_data == spec.sigma_data


def test_the_promised_presets_are_there():
    assert set(PROMISED) <= RECIPES.keys()


def test_presets_are_what_their_names_say():
    assert {name: type(RECIPES[f"mnist-{name}"].schedule) for name in ("vp", "subvp", "flow")} == {
        "vp": VP,
        "subvp": SubVP,
        "flow": Flow,
    }
    assert type(RECIPES["mnist-ve"].schedule) is VE
    assert RECIPES["mnist-ddpm"].schedule == DDPM()
    assert differing(RECIPES["mnist-vp"], RECIPES["mnist-subvp"]) == {"schedule"}
    assert differing(RECIPES["mnist"], RECIPES["mnist10k"]) == {"data"}
    assert (RECIPES["mnist"].data, RECIPES["mnist10k"].data) == (MNIST(), MNIST10k())
    assert RECIPES["mnist"].network.conditional
    assert RECIPES["mnist"].objective.drop > 0
    data = {name: type(RECIPES[name].data) for name in ("moons", "spiral", "mixture-1d")}
    assert data == {"moons": Moons, "spiral": Spiral, "mixture-1d": Mixture}


@pytest.mark.parametrize(
    ("name", "words", "changes"),
    [
        ("mnist-vp", ["schedule=subvp"], {"schedule": SubVP()}),
        # a kind alone is that kind's defaults: nothing of the preset's own VE is kept
        ("mnist", ["schedule=ve"], {"schedule": VE()}),
        ("mnist-vp", ["schedule.beta_max=18"], {"schedule": VP(beta_max=18.0)}),
        ("mnist", ["schedule=ddpm", "schedule.betas=cosine"], {"schedule": DDPM(betas=CosineBetas())}),
        (
            "mnist",
            ["schedule=ddpm", "schedule.steps=50", "schedule.betas=cosine", "schedule.betas.offset=0.01"],
            {"schedule": DDPM(50, CosineBetas(offset=0.01))},
        ),
        (
            "mnist",
            ["network.multipliers=[1,2,4]", "network.attention=[]", "network.width=64"],
            {"network": UNetConfig(width=64, multipliers=(1, 2, 4), attention=())},
        ),
        ("moons", ["network={kind: mlp, width: 7}"], {"network": MLPConfig(width=7)}),
        ("moons", ["data=spiral", "data.size=99"], {"data": Spiral(size=99)}),
        ("mnist", ["data.root=some/where"], {"data": MNIST(root="some/where")}),
        ("mnist", ["data.root=2024"], {"data": MNIST(root="2024")}),
        ("mnist", ["network.width=8", "network.width=16"], {"network": UNetConfig(width=16)}),
    ],
)  # fmt: skip
def test_overrides(name, words, changes):
    found = find_recipe(name, words)
    assert found == replace(RECIPES[name], **changes)


def test_overrides_of_nested_objects():
    found = find_recipe(
        "moons",
        ["sampling.sampler=heun", "sampling.sampler.grid=karras", "sampling.sampler.grid.rho=5"],
    )
    assert found.sampling == replace(RECIPES["moons"].sampling, sampler=Heun(grid=Karras(rho=5.0)))
    found = find_recipe("moons", ["sampling.sampler.grid=karras"])
    assert found.sampling.sampler == replace(RECIPES["moons"].sampling.sampler, grid=Karras())
    found = find_recipe("moons", ["training.seed=5", "training.lr=1e-4", "training.batch=32"])
    assert found.training == replace(RECIPES["moons"].training, seed=5, lr=1e-4, batch=32)


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("mnst", [], ["unknown recipe 'mnst'", "did you mean 'mnist'", "mixture-1d"]),
        ("", [], ["unknown recipe ''", "mnist10k"]),
        ("recipe.toml", [], ["unknown recipe 'recipe.toml'", "mnist10k"]),
        ("mnist", ["schedul=vp"], ["'schedul'", "did you mean 'schedule'", "network"]),
        ("mnist", ["network.widht=8"], ["'widht'", "network", "did you mean 'width'", "heads"]),
        ("mnist", ["schedule=subpv"], ["unknown schedule 'subpv'", "'subvp'", "flow"]),
        ("mnist", ["schedule=heun"], ["unknown schedule 'heun'", "subvp"]),
        ("mnist", ["sampling.sampler=dpm"], ["unknown sampler 'dpm'", "dpm++", "euler"]),
        ("mnist", ["network.width=wide"], ["network.width must be a whole number, got 'wide'"]),
        ("mnist", ["network.width=64.5"], ["network.width must be a whole number, got 64.5"]),
        ("mnist", ["network.width=true"], ["network.width must be a whole number, got True"]),
        ("mnist", ["training.lr=fast"], ["training.lr must be a number, got 'fast'"]),
        ("mnist", ["training=5"], ["training must be a mapping", "5"]),
        ("mnist", ["data=null"], ["data must be one of mnist, mnist10k", "None"]),
        ("mnist", ["training.batch=0"], ["training: batch must be at least 1, got 0"]),
        ("mnist", ["training.budget=soon"], ["'soon' is not a budget", "90s", "600k images"]),
        ("mnist", ["schedule={kind: [vp]}"], ["schedule", "vp", "subvp"]),
        ("mnist", ["network.width"], ["'network.width' is not an override"]),
        ("moons", ["schedule=ddpm", "schedule.beta_max=2"], ["'beta_max'", "steps, betas"]),
    ],
)
def test_errors_name_the_bad_value_and_the_good_ones(name, words, says):
    with pytest.raises(InputError) as caught:
        find_recipe(name, words)
    assert "\n" not in str(caught.value)
    for word in says:
        assert word in str(caught.value)


FILE = """
base: mnist-vp
schedule: subvp
network: {width: 24}
objective:
  times: {kind: log-normal, mean: -1.0}
training:
  budget: 600k images
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.yml", "recipe.json"])
def test_a_file_lays_its_keys_on_a_preset(recipe_file, name):
    content = json.dumps(yaml.safe_load(FILE)) if name.endswith("json") else FILE
    found = find_recipe(recipe_file(name, content), ["network.heads=2"])
    expected = find_recipe(
        "mnist-vp",
        [
            "schedule=subvp",
            "network.width=24",
            "network.heads=2",
            "objective.times={kind: log-normal, mean: -1.0}",
            "training.budget=600k images",
        ],
    )
    assert found == expected


def test_another_kind_in_a_file_replaces_the_whole_object(recipe_file):
    text = "base: mnist\nschedule: {kind: vp, beta_max: 15}\n"
    assert find_recipe(recipe_file("r.yaml", text)).schedule == VP(beta_max=15.0)
    text = "base: mnist-ve\nschedule: {kind: ve, sigma_max: 15}\n"
    found = find_recipe(recipe_file("r.yaml", text)).schedule
    assert found == replace(RECIPES["mnist-ve"].schedule, sigma_max=15.0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_whole_recipe_in_a_file(recipe_file, name):
    assert find_recipe(recipe_file("r.json", json.dumps(to_dict(RECIPES[name])))) == RECIPES[name]
    text = yaml.safe_dump(to_dict(RECIPES[name]))
    assert find_recipe(recipe_file("r.yaml", text)) == RECIPES[name]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("r.yaml", "a: [1, 2", ["r.yaml is not YAML"]),
        ("r.json", '{"base": ', ["r.json is not YAML"]),
        ("r.yaml", b"\xff\xfe\x00binary\x9c", ["r.yaml is not YAML"]),
        ("r.yaml", "", ["r.yaml must hold the keys of a recipe"]),
        ("r.yaml", "- 1\n- 2\n", ["r.yaml must hold the keys of a recipe", "[1, 2]"]),
        ("r.yaml", "base: mnst\n", ["unknown recipe 'mnst'", "did you mean 'mnist'"]),
        ("r.yaml", "base: [mnist]\n", ["recipe", "mnist"]),
        ("r.yaml", "base: mnist\nscedule: vp\n", ["'scedule'", "did you mean 'schedule'"]),
        ("r.yaml", "base: mnist\nnetwork: {widt: 3}\n", ["'widt'", "did you mean 'width'"]),
        ("r.yaml", "base: mnist\nnetwork: {kind: unett}\n", ["'unett'", "did you mean 'unet'"]),
        ("r.yaml", "schedule: vp\n", ["lacks data, network"]),
    ],
)
def test_broken_files(recipe_file, name, content, says):
    with pytest.raises(InputError) as caught:
        find_recipe(recipe_file(name, content))
    assert "\n" not in str(caught.value)
    for word in says:
        assert word in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "folder.yaml").mkdir()
    for name in ("none.yaml", "folder.yaml"):
        with pytest.raises(InputError, match=f"cannot read the recipe .*{name}"):
            find_recipe(str(tmp_path / name))


def test_fitted_measures_sigma_data_unless_it_was_set():
    recipe = replace(RECIPES["mnist"], parameterization=EDM())
    fitted = recipe.fitted(IMAGES)
    assert fitted == replace(recipe, parameterization=EDM(sigma_data=0.62))
    assert fitted.fitted(POINTS) == fitted
    chosen = find_recipe("mnist", ["parameterization.sigma_data=0.5"])
    assert chosen.fitted(IMAGES) is chosen
