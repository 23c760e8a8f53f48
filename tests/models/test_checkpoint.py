"""Model files: they say everything about themselves, and nothing in them is ever executed."""

import json
import os
import pickle
import random
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import scorefield
from scorefield.core.moments import moments_of
from scorefield.core.parameterizations import EDM
from scorefield.core.schedules import VP
from scorefield.data.toy import Moons
from scorefield.errors import InputError
from scorefield.models import Card, load, read_card, save, store_sampling
from scorefield.nets.mlp import MLPConfig
from scorefield.recipes import Recipe, Sampling, from_dict, to_dict
from scorefield.samplers.flow import Heun

FILE = "model.safetensors"


def parsed(path):
    """Header and tensors' places, read as the safetensors format says, without its library."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    return metadata, header, content[8 + length :]


def written(path, header, tensors):
    """A safetensors file with a header of our choice, written by hand."""
    places, body = {"__metadata__": header}, b""
    for name, tensor in tensors.items():
        part = tensor.contiguous().numpy().tobytes()
        places[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [len(body), len(body) + len(part)],
        }
        body += part
    head = json.dumps(places).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)
    return path


@pytest.fixture
def saved(tmp_path, points):
    save(tmp_path / FILE, points)
    return tmp_path / FILE


@pytest.fixture
def changed(saved, points):
    """The file of a model with some keys of its header replaced (None: left out)."""

    def change(**keys):
        header = {**parsed(saved)[0], **keys}
        header = {key: value for key, value in header.items() if value is not None}
        return written(saved, header, points.denoiser.network.state_dict())

    return change


def sentence_of(path):
    with pytest.raises(InputError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_round_trip(tmp_path, model):
    save(tmp_path / FILE, model)
    for path in (tmp_path, tmp_path / FILE, str(tmp_path), str(tmp_path / FILE)):
        found = load(path, precision="fp32")
        assert (found.recipe, found.spec, found.step) == (model.recipe, model.spec, model.step)
    before, after = (m.denoiser.network.state_dict() for m in (model, found))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.allclose(found.sample(3, seed=1), model.sample(3, seed=1), atol=1e-5)
    assert not found.denoiser.training
    assert not any(p.requires_grad for p in found.denoiser.parameters())


def test_loading_twice_gives_equal_samples(tmp_path, model):
    save(tmp_path / FILE, model)
    assert torch.equal(load(tmp_path).sample(3), load(tmp_path / FILE).sample(3))


def test_random_features_are_part_of_the_file(tmp_path, images):
    recipe = from_dict(Recipe, {**to_dict(images.recipe), "network": "scorenet"})
    scores = type(images)(recipe.build(images.spec), recipe, images.spec, 1)
    save(tmp_path / FILE, scores)
    torch.manual_seed(123)
    found = load(tmp_path).denoiser.network.features.frequencies
    assert torch.equal(found, scores.denoiser.network.features.frequencies)


def test_the_header_says_what_is_needed(tmp_path, model):
    save(tmp_path / FILE, model)
    header, places, body = parsed(tmp_path / FILE)
    card = Card(model.recipe, model.spec, 120, scorefield.__version__)
    assert read_card(tmp_path) == read_card(str(tmp_path / FILE)) == card
    assert header["format"] == "2"
    assert header["scorefield"] == scorefield.__version__
    assert json.loads(header["recipe"]) == to_dict(model.recipe)
    assert json.loads(header["spec"]) == to_dict(model.spec)
    assert header["step"] == "120"
    # the file is the header and raw numbers, to the last byte
    moments = model.denoiser.moments.tensors()
    weights = model.denoiser.network.state_dict()
    weights |= {f"moments.{name}": values for name, values in moments.items()}
    assert places.keys() == weights.keys()
    assert len(body) == sum(4 * w.numel() for w in weights.values())
    for name, place in places.items():
        begin, end = place["data_offsets"]
        assert body[begin:end] == weights[name].contiguous().numpy().tobytes()


def test_saving_does_not_change_the_model(tmp_path, model):
    before = model.sample(2)
    save(tmp_path / FILE, model)
    assert torch.equal(model.sample(2), before)


TUNED = {"measure": "Fréchet distance", "distance": 0.25, "sure": 0.9, "front": [[5, 0.5]]}
HEUN = Sampling(sampler=Heun(churn=2.0), steps=7)


def test_a_way_of_sampling_is_stored_with_how_it_was_found(tmp_path, model):
    save(tmp_path / FILE, model)
    header, places, body = parsed(tmp_path / FILE)
    store_sampling(tmp_path, HEUN, TUNED)
    assert list(tmp_path.iterdir()) == [tmp_path / FILE]
    after, its_places, its_body = parsed(tmp_path / FILE)
    # of the header only what it is for is new, and of the weights nothing
    assert (its_places, its_body) == (places, body)
    assert json.loads(after.pop("tuned")) == TUNED
    told = json.loads(header.pop("recipe")) | {"sampling": to_dict(HEUN)}
    assert json.loads(after.pop("recipe")) == told
    assert after == header
    assert read_card(tmp_path).tuned == TUNED
    found = load(tmp_path, precision="fp32")
    assert found.recipe == replace(model.recipe, sampling=HEUN)
    expected = model.sample(2, sampler=HEUN.sampler, steps=7)
    assert torch.allclose(found.sample(2), expected, atol=1e-5)
    store_sampling(tmp_path, Sampling(steps=3), {})
    assert (read_card(tmp_path).tuned, load(tmp_path).recipe.sampling.steps) == ({}, 3)


def test_an_old_file_can_be_told_how_to_sample(tmp_path):
    weights = MLPConfig(width=8, depth=1).build((2,), 0).state_dict()
    path = written(tmp_path / FILE, OLD_HEADER, weights)
    assert read_card(path).tuned is None
    store_sampling(path, HEUN, TUNED)
    assert load(path).recipe.sampling == HEUN
    assert parsed(path)[0]["format"] == "1"


def test_a_way_of_sampling_that_the_model_cannot_have_leaves_the_file_as_it_is(tmp_path, points):
    save(tmp_path / FILE, points)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InputError, match="guidance needs a model that knows labels"):
        store_sampling(tmp_path, Sampling(guidance=2.0), TUNED)
    with pytest.raises(ValueError, match="not JSON"):
        store_sampling(tmp_path, HEUN, {"distance": float("nan")})
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("length", [0, 4, 8, 200, -1000, -1])
def test_a_file_that_is_cut_off(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    assert sentence_of(saved).startswith(f"{saved} is damaged or not a safetensors file")


@pytest.mark.parametrize(
    "content",
    [random.Random(0).randbytes(5000), b"PK\x03\x04 a zip file", b"{}", b"\xff" * 64, b"\x00" * 64],
    ids=["random", "zip", "json", "ones", "zeros"],
)
def test_a_file_of_another_kind(saved, content):
    saved.write_bytes(content)
    assert str(saved) in sentence_of(saved)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"title": "cats"}])
def test_a_file_of_another_program(saved, metadata):
    save_file({"weight": torch.zeros(3)}, saved, metadata=metadata)
    assert sentence_of(saved) == f"{saved} was not written by Scorefield: its header has no recipe"


class Trap:
    """What a pickle can do when it is loaded."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_pickle_is_not_opened(tmp_path, saved):
    trap = tmp_path / "sprung"
    pickled = pickle.dumps(Trap(str(trap)))
    torch.save({"weights": Trap(str(trap))}, tmp_path / "torch.safetensors")
    saved.write_bytes(pickled)
    for path in (saved, tmp_path / "torch.safetensors"):
        sentence_of(path)
    assert not trap.exists()
    pickle.loads(pickled)
    assert trap.exists()  # the trap works: loading would have sprung it


@pytest.mark.parametrize("version", ["3", "17"])
def test_a_newer_format(changed, version):
    sentence = sentence_of(changed(format=version, scorefield="9.9.9"))
    assert f"format {version}, written by Scorefield 9.9.9" in sentence
    assert "this version reads up to 2" in sentence


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"format": "one"}, ["format one"]),
        ({"format": "²"}, ["format ²"]),
        ({"format": "-1"}, ["format -1"]),
        ({"recipe": None}, ["was not written by Scorefield"]),
        ({"step": None}, ["was not written by Scorefield"]),
        ({"recipe": "{"}, ["recipe"]),
        ({"recipe": "[]"}, ["recipe must be a mapping"]),
        ({"spec": "not json"}, ["spec"]),
        ({"spec": '{"shape": "wide"}'}, ["spec.shape", "'wide'"]),
        ({"spec": '{"shape": [2], "size": 4}'}, ["'size'", "spec", "shape"]),
        ({"spec": "{}"}, ["spec lacks shape"]),
        ({"step": "many"}, ["step", "many"]),
        ({"tuned": "{"}, ["tuned"]),
        ({"tuned": "7"}, ["tuned is 7"]),
    ],
)
def test_a_header_that_makes_no_sense(changed, keys, words):
    path = changed(**keys)
    sentence = sentence_of(path)
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("schedule", {"kind": "vp2"}, ["unknown schedule 'vp2'", "did you mean 'vp'"]),
        ("schedule", {"kind": "os.system"}, ["unknown schedule 'os.system'", "subvp"]),
        ("schedule", {"kind": "vp", "gamma": 1}, ["'gamma'", "beta_min, beta_max"]),
        ("guidance", 3, ["'guidance'", "schedule"]),
        ("training", {"budget": "5m", "epochs": 3}, ["'epochs'", "budget"]),
    ],
)
def test_a_recipe_that_this_version_does_not_know(changed, points, key, value, words):
    path = changed(recipe=json.dumps({**to_dict(points.recipe), key: value}))
    sentence = sentence_of(path)
    for word in words:
        assert word in sentence


def test_weights_of_another_network(changed, points):
    recipe = to_dict(points.recipe)
    recipe["network"]["width"] = 16
    assert "do not fit its recipe" in sentence_of(changed(recipe=json.dumps(recipe)))


def test_weights_that_are_missing(saved, points):
    header, weights = parsed(saved)[0], points.denoiser.network.state_dict()
    left = dict(list(weights.items())[:-1])
    assert "do not fit its recipe" in sentence_of(written(saved, header, left))
    more = {**weights, "unheard_of": torch.zeros(1)}
    assert "do not fit its recipe" in sentence_of(written(saved, header, more))


# As the first version wrote it, cut down to the keys that have no default.
OLD_HEADER = {
    "format": "1",
    "scorefield": "0.1.0",
    "recipe": '{"data": {"kind": "moons"}, "network": {"kind": "mlp", "width": 8, "depth": 1}, '
    '"schedule": {"kind": "vp", "beta_max": 18.0}, "sampling": {"steps": 9}}',
    "spec": '{"shape": [2], "levels": null, "low": null, "high": null}',
    "step": "20000",
}


def test_an_old_header_is_filled_with_defaults(tmp_path):
    weights = MLPConfig(width=8, depth=1).build((2,), 0).state_dict()
    model = load(written(tmp_path / FILE, OLD_HEADER, weights))
    assert model.step == 20_000
    assert model.recipe.data == Moons()
    assert model.recipe.network == MLPConfig(width=8, depth=1)
    assert model.recipe.schedule == VP(beta_max=18.0)
    assert model.recipe.parameterization == EDM()
    assert model.recipe.sampling.steps == 9
    assert model.recipe.training == Recipe(data=Moons(), network=MLPConfig()).training
    assert (model.spec.shape, model.spec.classes, model.spec.mean) == ((2,), 0, (0.0,))
    assert model.sample(3).shape == (3, 2)


def test_an_old_file_has_the_moments_of_its_description(tmp_path):
    weights = MLPConfig(width=8, depth=1).build((2,), 0).state_dict()
    spec = (
        '{"shape": [2], "levels": null, "low": null, "high": null, "mean": [1, 2], "sigma_data": 3}'
    )
    moments = load(written(tmp_path / FILE, {**OLD_HEADER, "spec": spec}, weights)).denoiser.moments
    assert moments.mean.tolist() == [[1, 2]]
    assert moments.variances.tolist() == [[9, 9]]


def test_moments_are_part_of_the_file(tmp_path, points, normal, monkeypatch):
    factor = normal(2, 2)
    known = moments_of(normal(2), factor @ factor.T)
    monkeypatch.setattr(points.denoiser, "moments", known)
    save(tmp_path / FILE, points)
    found, expected = load(tmp_path).denoiser.moments, points.denoiser.moments
    assert torch.allclose(found.mean, expected.mean, rtol=1e-6)
    assert torch.allclose(found.variances, expected.variances, rtol=1e-6)
    x = normal(3, 2)
    expected_coordinates = expected.basis.coordinates(x)
    assert torch.allclose(found.basis.coordinates(x), expected_coordinates, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "moments",
    [
        {"mean": torch.zeros(1, 3), "variances": torch.ones(1, 3), "vectors": torch.eye(3)},
        {"mean": torch.zeros(1, 2), "variances": torch.ones(1, 2), "channels": torch.eye(2)},
        {"mean": torch.zeros(0, 2), "variances": torch.ones(0, 2), "vectors": torch.eye(2)},
        {"variances": torch.ones(1, 2), "vectors": torch.eye(2)},
    ],
)
def test_moments_that_do_not_fit(saved, points, moments):
    tensors = points.denoiser.network.state_dict()
    tensors |= {f"moments.{name}": values for name, values in moments.items()}
    assert "moments of samples of shape (2,) cannot" in sentence_of(
        written(saved, parsed(saved)[0], tensors)
    )


def test_there_is_no_model(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "nowhere" / FILE):
        assert sentence_of(path).startswith(f"no model at {path}")


def test_a_path_that_cannot_be_written(tmp_path, points):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / FILE, tmp_path / "folder"):
        with pytest.raises(InputError, match=f"cannot write {path}"):
            save(path, points)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_failed_save_keeps_the_old_file(saved, points, monkeypatch):
    before = saved.read_bytes()

    def full(*args, **options):
        args[1].write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scorefield.models.tensors.save_file", full)
    with pytest.raises(InputError, match=r"cannot write .*No space left on device"):
        save(saved, points)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [FILE]


FULL = """
import resource, sys
from pathlib import Path
import torch
from scorefield.errors import InputError
from scorefield.models.tensors import write_tensors
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_tensors(Path(sys.argv[1]), {"x": torch.zeros(300_000)}, {})
except InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_file_that_finds_no_room_says_how_much_it_needs(tmp_path):
    path = tmp_path / FILE
    words = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == f"cannot write {path}: File too large, 1.2 MB needed\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_could_not_be_loaded_is_not_saved(tmp_path, points):
    class Quarter(VP):
        """A path of one's own."""

    own = replace(points, recipe=replace(points.recipe, schedule=Quarter()))
    with pytest.raises(InputError, match=r"recipe\.schedule must be one of vp"):
        save(tmp_path / FILE, own)
    assert list(tmp_path.iterdir()) == []
