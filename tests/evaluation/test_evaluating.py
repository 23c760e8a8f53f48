"""An evaluation from end to end: its stages, its result, its page, and going on after a stop."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from scorefield.data.arrays import ArrayFile
from scorefield.data.base import described
from scorefield.data.mnist import MNIST10k
from scorefield.data.toy import Moons
from scorefield.errors import InputError
from scorefield.evaluation import Drawing, Evaluation, evaluate, write_page
from scorefield.evaluation.features import Pixels
from scorefield.evaluation.figures import MEANING
from scorefield.evaluation.neighbours import closeness
from scorefield.evaluation.page import page
from scorefield.evaluation.reference import drained
from scorefield.evaluation.splits import Splits, splits_of
from scorefield.models.model import Model
from scorefield.nets.mlp import MLPConfig
from scorefield.recipes import Recipe, Sampling, find_recipe
from scorefield.samplers.ancestral import DDIM

DRAWING = Drawing(sampling=Sampling(sampler=DDIM(), steps=2), batch=16)


def model_of(recipe, dataset):
    spec = dataset.load().spec
    recipe = replace(recipe, data=dataset).fitted(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = recipe.build(spec)
    return Model(denoiser.eval().requires_grad_(False), recipe, spec, 7)


@pytest.fixture(scope="module")
def points():
    return model_of(Recipe(data=Moons(), network=MLPConfig(width=8, depth=1)), Moons(size=120))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A model of digits of which 60 are for training and 40 for tests."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    data = MNIST10k().load()
    x, label = data.x[:100, 0].numpy(), data.label[:100].numpy()
    np.savez(path, images=x[:60], labels=label[:60], test_images=x[60:], test_labels=label[60:])
    words = ["network.width=8", "network.heads=2"]
    return model_of(find_recipe("mnist-vp", words), ArrayFile(path=str(path)))


def result_of(stages):
    *_, last = stages
    return last.result


@pytest.fixture(scope="module")
def of_points(points, tmp_path_factory):
    root = tmp_path_factory.mktemp("points")
    return list(evaluate(points, Evaluation(drawing=DRAWING, count=50), root))


@pytest.fixture(scope="module")
def of_images(images, tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    return result_of(evaluate(images, Evaluation(drawing=DRAWING, count=24), root))


def test_stages_come_in_order_and_the_last_has_the_result(of_points):
    names = list(dict.fromkeys(stage.name for stage in of_points))
    assert names.index("real samples") < names.index("drawing") < names.index("figures")
    assert all(0 <= stage.share <= 1 for stage in of_points)
    assert [stage.result is None for stage in of_points] == [True] * (len(of_points) - 1) + [False]


def test_vectors_have_a_likelihood_and_no_classes(of_points):
    result = of_points[-1].result
    names = [figure.name for figure in result.scores.figures]
    assert names == ["energy distance", "MMD²", "sliced Wasserstein", "log-likelihood in nats"]
    assert [figure.name for figure in result.floor.figures] == names[:-1]
    assert result.classes is None
    assert result.about["features"]["name"] == "pixels"
    # Samples of an untrained network are further from the data than the data from one another.
    assert result.scores["energy distance"].value > 3 * result.floor["energy distance"].value


def test_the_result_is_plain_json(of_points, of_images):
    for result in (of_points[-1].result, of_images):
        plain = result.plain()
        assert json.loads(json.dumps(plain, allow_nan=False)).keys() == plain.keys()
        assert {"count", "seed", "sampler", "steps", "guidance", "weights"} <= plain.keys()
        assert {"data", "features", "versions", "seconds"} <= plain.keys()
        assert all(
            figure["floor"] is not None
            for name, figure in plain["figures"].items()
            if name != "log-likelihood in nats"
        )


def test_real_samples_of_other_classes_have_no_mix_in_common(images, tmp_path):
    data = MNIST10k().load()
    x, label = data.x[:100, 0].numpy(), data.label[:100].numpy()
    told = {"labels": label[:60] + 1, "test_labels": label[60:] + 1}
    names = np.array([f"class {k}" for k in range(11)])
    path = tmp_path / "eleven.npz"
    np.savez(path, images=x[:60], test_images=x[60:], class_names=names, **told)
    asked = Evaluation(drawing=DRAWING, count=24, data=ArrayFile(path=str(path)))
    assert result_of(evaluate(images, asked, tmp_path)).about["data"]["mix"] is None


def test_digits_are_judged_by_their_classifier(of_images):
    about = of_images.about
    assert about["features"]["name"] == "digits"
    assert about["data"]["reference"] == 60
    assert about["data"]["floor"] == 24  # as many as there are samples
    real = MNIST10k().load().label[:60].tolist()  # of which each class has some
    apart = sum(max(0, real.count(k) / 60 - 0.1) for k in range(10))
    assert about["data"]["mix"] == pytest.approx(apart, abs=1e-4)
    assert of_images.floor["labels obeyed"].value > 0.9
    assert of_images.scores["labels obeyed"].value < 0.5  # the network is untrained
    assert of_images.classes.known > 0.9
    assert sum(of_images.classes.samples) == sum(of_images.classes.held_out) == 24
    assert of_images.gallery.near.shape == of_images.gallery.nearest.shape == (16, 28, 28, 1)


def test_a_page_needs_nothing_else(of_images, images, tmp_path):
    write_page(of_images, images.spec, "runs/<b>&", tmp_path / "e.html")
    text = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert text == page(of_images, images.spec, "runs/<b>&")
    assert "<h1>Evaluation of runs/&lt;b&gt;&amp;</h1>" in text
    assert len(re.findall(r"src='data:image/png;base64,iVBOR", text)) == 3
    assert not re.search(r"https?://|<script|<link|url\(", text)
    for name in ("Fréchet distance", "precision", "labels obeyed"):
        assert f"<td>{name}</td>" in text
        assert f"<td>{MEANING[name]}</td>" in text


def test_a_page_of_points(of_points, points):
    text = page(of_points[-1].result, points.spec, "points")
    assert text.count("src='data:image/png") == 2
    assert "log-likelihood in nats" in text


def test_an_evaluation_that_was_stopped_goes_on(points, tmp_path, of_points):
    asked = Evaluation(drawing=DRAWING, count=50)
    for stage in evaluate(points, asked, tmp_path):
        if stage.name == "drawing" and stage.share > 0.5:
            break
    assert 0 < len(list(tmp_path.rglob("*.npy"))) < 4
    found = result_of(evaluate(points, asked, tmp_path))
    expected = of_points[-1].result
    assert (found.scores, found.floor, found.memory) == (
        *(expected.scores, expected.floor),
        expected.memory,
    )


def test_other_data_and_features_can_be_asked_for(points, tmp_path):
    asked = Evaluation(drawing=DRAWING, count=16, features=Pixels(1), data=Moons(size=90, seed=3))
    about = result_of(evaluate(points, asked, tmp_path)).about
    assert about["data"]["dataset"]["seed"] == 3
    assert about["data"]["reference"] == 90


def test_data_that_are_not_the_model_s_are_refused(points, tmp_path):
    asked = Evaluation(drawing=DRAWING, count=16, data=MNIST10k())
    with pytest.raises(InputError, match=r"shape is \(1, 28, 28\), not \(2,\)"):
        list(evaluate(points, asked, tmp_path))
    assert list(tmp_path.iterdir()) == []
    for size in (15, 16):
        asked = Evaluation(drawing=DRAWING, count=16, data=Moons(size=size))
        if size < 16:
            with pytest.raises(
                InputError, match="reference needs at least 16 real samples, got 15"
            ):
                list(evaluate(points, asked, tmp_path))
        else:
            assert result_of(evaluate(points, asked, tmp_path)).floor.count == 16
    with pytest.raises(InputError, match="at least 16 samples, got 15"):
        Evaluation(drawing=DRAWING, count=15)


def test_copies_are_found_and_new_images_are_not_taken_for_them(generator):
    """Planted: every third sample is a training image with a little noise."""
    x = torch.randint(0, 256, (900, 1, 6, 6), generator=generator).byte()
    train, unseen, new = (described(part) for part in x.split(300))
    splits = Splits(train, train, unseen, True, "")
    noise = torch.randint(-2, 3, new.x.shape, generator=generator)
    copies = (train.x.int() + noise).clamp(0, 255).byte()
    planted = torch.where((torch.arange(300) % 3 == 0)[:, None, None, None], copies, new.x)
    for samples, verdict in ((new.x, "none found"), (planted, "copies")):
        pieces = samples.movedim(1, -1).split(64)
        found = drained(closeness(pieces, splits))
        assert found.plain()["verdict"] == verdict
    nearest = found.nearest[found.samples.argsort()[:100]]
    assert torch.equal(nearest.sort().values, torch.arange(0, 300, 3))
    assert found.plain()["share"] == pytest.approx(1 / 3, abs=0.02)
    halved = replace(splits, unseen=False)
    assert drained(closeness(pieces, halved)).plain()["verdict"] == "cannot tell"


def test_splits_are_told(of_images, of_points):
    assert splits_of(Moons(size=10)).words == of_points[-1].result.about["data"]["splits"]
    assert "test split" in of_images.about["data"]["splits"]
