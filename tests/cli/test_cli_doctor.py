"""``scorefield doctor`` and ``scorefield train --auto``, as a user types them."""

import json

import numpy as np
import pytest
from PIL import Image

from scorefield.cli.main import main
from scorefield.models import load
from scorefield.recipes import find_recipe

LEFT = {"recipe.yaml", "doctor.json", "doctor.md", "contact.png", "histograms.png"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A second of timing is long for a test."""
    monkeypatch.setattr("scorefield.doctor.speed.SECONDS", 0.01)


@pytest.fixture
def glyphs(here):
    """Few images of digits' size with labels, two of them copies, written by numpy."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 12, 12), dtype=np.uint8)
    images[17] = images[3]
    np.savez(here / "glyphs.npz", images=images, labels=np.arange(40) % 2)
    return "glyphs.npz"


def test_doctor_prints_what_it_found_and_what_to_try_next(here, run, glyphs):
    lines = run("doctor", glyphs, "-o", "new/found", "--budget", "50steps")
    text = "\n".join(lines)
    for words in ("40", "1×12×12", "3 and 17", "problem: few samples", "schedule.sigma_max"):
        assert words in text
    assert {path.name for path in (here / "new" / "found").iterdir()} == LEFT
    for name in ("contact.png", "histograms.png"):
        with Image.open(here / "new" / "found" / name) as picture:
            picture.load()
    # what it says to try is a command that works
    words = lines[-1].removeprefix("next: scorefield ").split()
    small = ["training.budget=2steps", "network.width=8", "training.compile=off"]
    run(*words, *small, "training.precision=fp32")
    assert load("runs/mine").recipe.data.path == glyphs


def test_doctor_writes_nothing_unless_asked(here, run, strict):
    *_, last = run("doctor", "moons", "data.size=300", "--json")
    found = strict(last)
    assert (found["event"], found["count"], found["recipe"]["data"]["size"]) == ("done", 300, 300)
    assert list(here.iterdir()) == []


def test_a_folder_called_as_a_data_set_is_not_inside_it(here, run):
    run("doctor", "moons", "data.size=300", "-o", "moons")
    assert "recipe.yaml" in {path.name for path in (here / "moons").iterdir()}


def test_train_auto_fits_trains_and_keeps_the_report(here, run, strict):
    words = ["data.size=300", "network.width=8", "network.depth=1", "--budget", "6steps"]
    *_, last = run("train", "--auto", "moons", *words, "-o", "r", "--json")
    assert (strict(last)["step"], strict(last)["run"]) == (6, "r")
    assert {path.name for path in (here / "r" / "doctor").iterdir()} == LEFT
    recipe = load("r").recipe
    assert recipe == find_recipe("r/doctor/recipe.yaml")
    assert (recipe.data.size, recipe.network.width, recipe.training.batch) == (300, 8, 256)
    run("sample", "r", "-n", "5", "-o", "points.npz")


def test_train_auto_on_images_says_what_is_wrong_with_them(here, capsys, glyphs):
    small = ["network.width=8", "training.compile=off", "training.precision=fp32"]
    assert main(["train", "--auto", glyphs, *small, "--budget", "2steps", "-o", "r"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("r: trained for 2 steps, 64 images")
    assert "problem: few samples: 39 different images" in err
    assert "warning: copies: 1 copy" in err


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((30, 12, 12, 3), np.uint8),
        pytest.param((30, 12, 12), np.uint16, marks=pytest.mark.slow),
        # a signal longer than principal directions are worth
        pytest.param((30, 2, 700), np.float32, marks=pytest.mark.slow),
    ],
)
def test_train_auto_on_arrays_of_every_kind(here, shape, dtype):
    x = np.random.default_rng(0).normal(size=shape)
    np.save(here / "x.npy", (np.abs(x) * 60).astype(dtype))
    words = ["network.width=8", "training.compile=off", "training.precision=fp32"]
    assert main(["train", "--auto", "x.npy", *words, "--budget", "1step", "-o", "r"]) == 0
    assert load("r").recipe == find_recipe("r/doctor/recipe.yaml")
    assert (here / "r" / "doctor" / "contact.png").is_file()


def test_the_same_command_with_resume_goes_on(here, run, strict, capsys):
    words = ["train", "--auto", "moons", "data.size=300", "network.width=8", "-o", "r"]
    run(*words, "--budget", "3steps", "--resume")
    file = here / "r" / "doctor" / "recipe.yaml"
    before = file.stat().st_mtime_ns
    run(*words, "--budget", "3steps", "--resume")
    assert file.stat().st_mtime_ns == before
    for changed in (["--budget", "4steps"], ["--budget", "3steps", "data.noise=0.5"]):
        assert main([*words, *changed, "--resume"]) == 2
        assert "has another recipe" in capsys.readouterr().err
    assert main([*words, "--budget", "3steps"]) == 2
    assert "already has a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["doctor", "nothing.npz"], "no file or folder 'nothing.npz'"),
        (["doctor", "mons"], "moons"),
        (["doctor", "moons", "--budget", "soon", "-o", "found"], "'soon' is not a budget"),
        (["doctor", "moons", "network.widht=3", "-o", "found"], "widht"),
        (["doctor", "moons", "data.sise=3", "-o", "found"], "sise"),
        (["doctor", "moons", "moons"], "is not an override"),
        (["train", "mnist10k", "--auto", "moons", "-o", "r"], "not both, got 'mnist10k'"),
        (["train", "--auto", "nothing/at/all", "-o", "r"], "no file or folder"),
        (["train", "--auto", "moons", "network.widht=3", "-o", "r"], "widht"),
        (["train", "-o", "r"], "--auto"),
    ],
)
def test_errors_are_one_sentence_and_leave_nothing(here, capsys, words, sentence):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert sentence in err
    assert list(here.rglob("*")) == []


def test_a_doctor_without_matplotlib_does_the_rest(here, glyphs, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert main(["doctor", glyphs, "-o", "found", "--budget", "5steps", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any("matplotlib" in line.get("text", "") for line in lines)
    left = {path.name for path in (here / "found").iterdir()}
    assert left == LEFT - {"histograms.png"}
