"""The command tune, through the command line."""

import json
import sys

import pytest
from PIL import Image

from scorefield.cli.main import main
from scorefield.models import load, read_card
from scorefield.recipes import Sampling, from_dict, to_dict

FEW = ["--budget", "300 samples", "--evaluations", "4"]


def test_the_winner_is_the_model_s_own_way_from_then_on(work, run, strict):
    weights = load("points").denoiser.state_dict()
    *_, last = run("tune", "points", *FEW, "-o", "tune.png", "--json")
    done = strict(last)
    winner = from_dict(Sampling, done["sampling"])
    assert load("points").recipe.sampling == winner
    assert (done["event"], done["stored"], done["run"]) == ("done", True, "points")
    note = read_card("points").tuned
    assert done["tuned"] == note
    assert (note["measure"], note["features"], note["seed"]) == ("energy distance", "pixels", 0)
    assert note["evaluations"] <= 4
    assert note["before"]["evaluations"] == 4
    assert to_dict(winner) in note["tried"]
    distances = [p["distance"] for p in done["points"] if p["apart"] is not None]
    assert note["distance"] == min(distances)
    with Image.open("tune.png") as picture:
        assert picture.width > 600
    after = load("points").denoiser.state_dict()
    assert all((after[name] == weights[name]).all() for name in weights)
    # and it is what sample uses and show tells
    *_, last = run("sample", "points", "-n", "2", "-o", "x.npz", "--json")
    assert (
        from_dict(Sampling, {k: strict(last)[k] for k in ("sampler", "steps", "guidance")})
        == winner
    )
    (line,) = (line for line in run("show", "points") if line.strip().startswith("tuned"))
    assert note["words"] in line
    assert json.loads(run("show", "points", "--json")[0])["tuned"] == note


def test_a_dry_run_leaves_the_model_as_it_is(work, digits, run):
    before = (work / "images" / "model.safetensors").read_bytes()
    words = ["--features", "pixels", "--budget", "200 samples", "--evaluations", "4", "--dry-run"]
    lines = run("tune", "images", *words)
    assert (work / "images" / "model.safetensors").read_bytes() == before
    assert "Fréchet distance" in lines[0]
    assert any("winner" in line for line in lines)
    assert any("until now" in line for line in lines)
    assert lines[-1] == "images is left as it is"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["points", "--budget", "soon"], "'soon' is not a budget"),
        (["points", "--budget", "20 samples"], "the budget is too small"),
        (["points", "--evaluations", "2"], "evaluations must be at least 3, got 2"),
        (["images"], "images of shape (1, 12, 12) have no features of their own"),
        (["images", "features.size=3"], "features.size=3 needs features to set"),
        (["points", "sampler=ddim"], "tune finds the sampling itself, got sampler=ddim"),
        (["points", "data=moon"], "unknown dataset 'moon'"),
        (["nowhere"], "no model at nowhere"),
        (["points", "-o", "points/model.safetensors/x.png"], "cannot write"),
        (["points", "-o", "x.jpg"], "cannot write 'x.jpg'; the ending is .png"),
    ],
)
def test_bad_requests(work, digits, capsys, words, sentence):
    before = (work / "points" / "model.safetensors").read_bytes()
    assert main(["tune", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert (work / "points" / "model.safetensors").read_bytes() == before


def test_a_plot_that_cannot_be_is_refused_before_the_race(work, run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    before = (work / "points" / "model.safetensors").read_bytes()
    assert main(["tune", "points", *FEW, "-o", "tune.png"]) == 2
    assert "plots need matplotlib" in capsys.readouterr().err
    assert (work / "points" / "model.safetensors").read_bytes() == before
