"""Classifier-free guidance of a model: what is led, by how much, and who cannot be."""

from dataclasses import replace
from math import erf, sqrt

import pytest
import torch

from scorefield.core.schedules import VE
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.guidance.cfg import CFG
from scorefield.models import Model, load, save
from scorefield.recipes import Sampling, find_recipe
from scorefield.samplers.base import sample
from scorefield.samplers.flow import Heun
from scorefield.samplers.noise import seeded


@pytest.fixture
def led(labelled):
    recipe = find_recipe("mnist", ["sampling.sampler=heun", "sampling.steps=60"])
    spec = DataSpec((1,), 2, None, None, None)
    return Model(labelled(VE(0.002, 80.0)), recipe, spec, 1)


def test_labels_are_obeyed_as_often_as_the_normal_law_says(led):
    """The guided law is N(w m_c, 1), so a sample is on its label's side with Φ(w/2)."""
    n, shares = 2000, []
    label = led.labels(n)
    for w in (0.0, 1.0, 2.0, 4.0):
        x = led.sample(n, guidance=w, batch=n)[:, 0].double()
        side = 2 * label - 1
        assert float((x * side).mean()) == pytest.approx(w / 2, abs=0.07)
        assert float((x - w / 2 * side).std()) == pytest.approx(1.0, abs=0.05)
        shares.append(float((x * side > 0).double().mean()))
        assert shares[-1] == pytest.approx((1 + erf(w / 2 / sqrt(2))) / 2, abs=0.035)
    assert shares == sorted(shares)


def test_guidance_0_and_1_are_the_model_without_a_label_and_with_it(images):
    assert torch.equal(images.sample(4, guidance=1.0), images.sample(4))
    assert torch.equal(images.sample(4, guidance=0.0), images.sample(4, label=-1))
    assert not torch.allclose(images.sample(4, guidance=3.0), images.sample(4), atol=1e-2)


def test_it_is_the_guided_denoiser_that_is_walked_with(images):
    direct = sample(
        CFG(images.denoiser, 2.5),
        (5, *images.spec.shape),
        Heun(),
        3,
        noise=seeded(4, range(5)),
        label=torch.arange(5) % 3,
    )
    assert torch.equal(images.sample(5, guidance=2.5, sampler=Heun(), steps=3, seed=4), direct)
    *_, last = images.trajectory(5, guidance=2.5, sampler=Heun(), steps=3, seed=4)
    assert torch.equal(last.x0, direct)


def test_the_recipe_leads_unless_asked_otherwise(images, tmp_path):
    sampling = replace(images.recipe.sampling, guidance=2.0)
    always = replace(images, recipe=replace(images.recipe, sampling=sampling))
    assert torch.equal(always.sample(3), images.sample(3, guidance=2.0))
    assert torch.equal(always.sample(3, guidance=1.0), images.sample(3))
    save(tmp_path / "model.safetensors", always)
    assert load(tmp_path).recipe.sampling.guidance == 2.0


def test_the_recipe_says_where_guidance_ends(images, tmp_path):
    """A level above every other leaves the conditional model, one below every other changes nothing."""
    asked = {"sampler": Heun(), "steps": 4}
    for least, alike in ((1e9, 1.0), (1e-9, 2.0)):
        always = images.drawn_by(Sampling(guidance=2.0, guidance_least=least))
        assert torch.equal(always.sample(3, **asked), images.sample(3, guidance=alike, **asked))
    level = 1.0
    always = images.drawn_by(Sampling(guidance=2.0, guidance_least=level))
    expected = CFG(images.denoiser, 2.0, least=level)
    found = always.sample(3, seed=2, **asked)
    noise, shape = seeded(2, range(3)), (3, *images.spec.shape)
    direct = sample(expected, shape, Heun(), 4, noise=noise, label=images.labels(3))
    assert torch.equal(found, direct)
    assert not torch.equal(found, images.sample(3, seed=2, guidance=2.0, **asked))
    save(tmp_path / "model.safetensors", always)
    assert load(tmp_path).recipe.sampling.guidance_least == level


def _undropped(recipe):
    return replace(recipe, objective=replace(recipe.objective, drop=0.0))


def test_a_model_that_cannot_be_led(images, points):
    with pytest.raises(InputError, match="guidance needs a model that knows labels"):
        points.sample(2, guidance=1.0)
    told = replace(images, recipe=_undropped(images.recipe))
    with pytest.raises(InputError, match="that was trained with some labels dropped"):
        told.sample(2, guidance=2.0)


def test_a_recipe_s_guidance_is_for_models_that_can_be_led(images, points):
    for model in (points, replace(images, recipe=_undropped(images.recipe))):
        asked = replace(model.recipe, sampling=replace(model.recipe.sampling, guidance=2.0))
        assert asked.guidance(model.spec) is None
        assert replace(model, recipe=asked).sampling == replace(asked.sampling, guidance=None)
        assert torch.equal(replace(model, recipe=asked).sample(2), model.sample(2))
    asked = find_recipe("mnist", ["sampling.guidance=2"])
    assert asked.guidance(images.spec) == 2.0


def test_guidance_is_a_finite_number():
    for word in ("inf", "nan"):
        with pytest.raises(InputError, match=f"guidance must be a finite number, got {word}"):
            find_recipe("mnist", [f"sampling.guidance={word}"])


@pytest.mark.parametrize("word", ["-1", "inf", "nan"])
def test_a_least_noise_level_is_one(word):
    with pytest.raises(InputError, match="guidance_least must be at least 0 and finite, got"):
        find_recipe("mnist", [f"sampling.guidance_least={word}"])
