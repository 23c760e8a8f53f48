"""Samples on disk: the model's own, in pieces, with the same bits after any interruption."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from scorefield.core.schedules import VP
from scorefield.data.base import DataSpec
from scorefield.data.toy import Moons
from scorefield.errors import InputError
from scorefield.evaluation.samples import (
    Drawing,
    Kept,
    determined_by,
    drawn,
    folder_of,
    pieces,
    weights_hash,
)
from scorefield.models.computing import Computing
from scorefield.models.model import Model
from scorefield.nets.mlp import MLPConfig
from scorefield.recipes import Recipe, Sampling
from scorefield.samplers.ancestral import DDIM, Ancestral

SPEC = DataSpec((2,), levels=None, low=None, high=None)


def made(seed=0):
    recipe = Recipe(data=Moons(), network=MLPConfig(width=16, depth=1), schedule=VP())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        denoiser = recipe.build(SPEC)
        for parameter in denoiser.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return Model(denoiser.eval().requires_grad_(False), recipe, SPEC, 7)


@pytest.fixture(scope="module")
def model():
    return made()


DRAWING = Drawing(sampling=Sampling(sampler=Ancestral(), steps=3), seed=4, batch=5)


def whole(folder, count, batch=5):
    return torch.cat(list(Kept(count, batch, folder)))


def test_they_are_the_model_s_samples(model, tmp_path):
    shares = list(drawn(model, DRAWING, 12, tmp_path))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    expected = model.sample(12, sampler=Ancestral(), steps=3, seed=4, batch=5)
    assert torch.equal(whole(tmp_path, 12), expected)
    assert [len(piece) for piece in Kept(12, 5, tmp_path)] == [5, 5, 2]
    some = torch.tensor([11, 0, 7, 0])
    assert torch.equal(Kept(12, 5, tmp_path).some(some), expected[some])


def test_an_interrupted_set_goes_on_with_the_same_bits(model, tmp_path):
    list(drawn(model, DRAWING, 12, tmp_path / "straight"))
    broken = tmp_path / "broken"
    for share in drawn(model, DRAWING, 12, broken):
        if share > 0.6:
            break  # within the second piece
    assert len(list(broken.glob("*.npy"))) == 1
    first = next(broken.glob("*.npy"))
    when = first.stat().st_mtime_ns
    list(drawn(model, DRAWING, 12, broken))
    assert first.stat().st_mtime_ns == when  # it was not drawn again
    assert torch.equal(whole(broken, 12), whole(tmp_path / "straight", 12))
    assert list(drawn(model, DRAWING, 12, broken)) == []


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"nonsense"])
def test_a_damaged_piece_is_drawn_again(model, tmp_path, damage):
    list(drawn(model, DRAWING, 7, tmp_path))
    before = whole(tmp_path, 7)
    (tmp_path / "00000005-00000007.npy").write_bytes(damage)
    list(drawn(model, DRAWING, 7, tmp_path))
    assert torch.equal(whole(tmp_path, 7), before)


def test_a_piece_of_another_shape_is_drawn_again(model, tmp_path):
    np.save(tmp_path / "00000000-00000005.npy", np.zeros((5, 3), np.float32))
    list(drawn(model, DRAWING, 5, tmp_path))
    assert whole(tmp_path, 5).shape == (5, 2)


def test_a_larger_set_uses_a_smaller_one(model, tmp_path):
    list(drawn(model, DRAWING, 10, tmp_path))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}
    list(drawn(model, DRAWING, 20, tmp_path))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(whole(tmp_path, 20)) == 20


def test_all_that_samples_depend_on_gives_another_folder(model, tmp_path):
    changes = [
        replace(DRAWING, seed=5),
        replace(DRAWING, batch=6),
        replace(DRAWING, sampling=Sampling(sampler=Ancestral(), steps=4)),
        replace(DRAWING, sampling=Sampling(sampler=DDIM(), steps=3)),
    ]
    found = {folder_of(tmp_path, determined_by(model, one)) for one in [DRAWING, *changes]}
    found |= {folder_of(tmp_path, determined_by(made(seed=1), DRAWING))}
    rounded = replace(model, computing=Computing("bf16"))
    found |= {folder_of(tmp_path, determined_by(rounded, DRAWING))}
    assert len(found) == 7
    # The budget that a model was trained for does not matter to one that is there.
    other = replace(model.recipe, training=replace(model.recipe.training, budget="1steps"))
    same = determined_by(replace(model, recipe=other), DRAWING)
    assert folder_of(tmp_path, same) == folder_of(tmp_path, determined_by(model, DRAWING))
    assert weights_hash(made()) == weights_hash(model) != weights_hash(made(seed=1))


def test_the_folder_says_what_is_in_it(model, tmp_path):
    list(drawn(model, DRAWING, 5, tmp_path))
    said = json.loads((tmp_path / "drawn.json").read_text())
    assert said == json.loads(json.dumps(determined_by(model, DRAWING)))
    assert said["sampling"]["sampler"]["kind"] == "ddpm"


def test_bad_counts():
    with pytest.raises(InputError, match="samples must be at least 1, got 0"):
        pieces(0, 5)
    with pytest.raises(InputError, match="batch must be at least 1, got 0"):
        Drawing(sampling=Sampling(), batch=0)
