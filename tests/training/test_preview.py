"""Previews: what raw and averaged weights make, side by side."""

import copy

import numpy as np
from PIL import Image

from scorefield.training import Trainer
from scorefield.training.preview import AVERAGED, GAP, RAW, side_by_side
from scorefield.viz.samples import picture


def test_pictures_stand_side_by_side_under_their_words():
    one, other = Image.new("L", (300, 200), 90), Image.new("RGB", (100, 250), (200, 0, 0))
    sheet = side_by_side({AVERAGED: one, RAW: other})
    assert sheet.width == 300 + GAP + 100
    pixels = np.asarray(sheet).astype(int)
    top = sheet.height - 250
    assert (pixels[top : top + 200, :300] == 90).all()
    assert (pixels[top:, -100:] == (200, 0, 0)).all()
    # something is written above each, and it is not the same
    words = pixels[:top, :300].min(2), pixels[:top, -100:].min(2)
    assert all((part < 128).any() for part in words)
    assert (words[0][:, :100] != words[1]).any()


def test_a_run_shows_both_weights(tmp_path, recipe, previews):
    trainer = Trainer(recipe("images"), tmp_path)
    list(trainer)
    with Image.open(tmp_path / "samples" / "step-00000006.png") as sheet:
        pixels = np.asarray(sheet.convert("L")).astype(int)
    averaged = trainer.model
    raw = copy.deepcopy(averaged)
    raw.denoiser.network.load_state_dict(trainer.run.network.state_dict())
    samples = (model.sample(25, steps=10, seed=0, batch=25) for model in (averaged, raw))
    left, right = (np.asarray(picture(x, trainer.spec)) for x in samples)
    height, width = left.shape
    assert (pixels[-height:, :width] == left).all()
    assert (pixels[-height:, -width:] == right).all()
    assert (left != right).any()


def test_a_sampler_that_takes_no_other_steps_has_previews_and_training_goes_on(
    tmp_path, recipe, previews
):
    given = "sampling.sampler.grid={kind: given, numbers: [1, .5, .1, .001]}"
    *_, last = Trainer(recipe("images", "sampling.steps=4", given), tmp_path / "a")
    assert (tmp_path / "a" / "samples" / "step-00000006.png").is_file()
    few = "sampling.sampler={kind: dopri5, max_steps: 1, rtol: 1e-12, atol: 1e-12}"
    *_, last = Trainer(recipe("images", few), tmp_path / "b")
    assert last.step == 6
    assert (tmp_path / "b" / "model.safetensors").is_file()
