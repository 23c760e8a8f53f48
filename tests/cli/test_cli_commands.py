"""The commands, from training to pictures, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

import scorefield
from scorefield.cli.main import FOR_TORCH, main
from scorefield.models import load
from scorefield.recipes import CATALOG, RECIPES, find_recipe, to_dict
from scorefield.samplers.residual import GaussianResidual


def colours(path):
    with Image.open(path) as picture:
        return len(set(picture.convert("RGB").get_flattened_data()))


@pytest.mark.parametrize("name", FOR_TORCH)
def test_torch_is_told_what_makes_it_fast_unless_the_user_says_otherwise(name, monkeypatch, run):
    monkeypatch.setenv(name, "0")
    run("list", "recipes")
    assert os.environ[name] == "0"
    monkeypatch.delenv(name)
    run("list", "recipes")
    assert os.environ[name] == "1"


FAULTS = """
import ctypes, resource, sys
from scorefield.cli.memory import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def step():
    block = libc.malloc(50 << 20)
    ctypes.memset(block, 1, 50 << 20)
    libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc")
@pytest.mark.parametrize(
    ("way", "told", "least", "most"),
    [
        ("kept", {}, 0, 500),
        ("plain", {}, 1_000, 10**9),
        ("kept", {"MALLOC_TRIM_THRESHOLD_": "131072"}, 1_000, 10**9),  # the user's word counts
    ],
)
def test_freed_memory_is_kept_for_the_next_step(way, told, least, most):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, way],
        env={**clean, **told},
        capture_output=True,
        text=True,
        check=True,
    )
    assert least <= int(done.stdout) <= most


def test_train_says_where_the_run_is_and_what_to_try_next(here, run, small, previews):
    first, second = run("train", "moons", *small, "--budget", "6steps", "-o", "new/run")
    assert first.startswith("new/run: trained for 6 steps, 96 images")
    assert second.startswith("next: scorefield sample new/run")
    assert {path.name for path in (here / "new" / "run").iterdir()} >= {
        *("model.safetensors", "recipe.json", "log.jsonl", "state", "samples")
    }
    # what it says to try is a command that works
    words = second.removeprefix("next: scorefield ").split()
    run(*words)
    assert (here / words[-1]).is_file()


def test_the_recipe_is_the_one_that_was_asked_for(work):
    recipe = load(work / "images").recipe
    assert (recipe.network.width, recipe.training.batch, recipe.sampling.steps) == (8, 16, 4)
    assert recipe.training.budget == "6steps"
    assert recipe.data.root.endswith("digits")


def test_naming_the_sampler_that_a_model_has_keeps_its_settings(work, run):
    own = load("images").recipe.sampling.sampler
    assert own == GaussianResidual.for_networks()
    run("sample", "images", "-n", "3", "-o", "own.npz")
    run("sample", "images", "-n", "3", "--sampler", "gaussian-residual", "-o", "named.npz")
    run("sample", "images", "-n", "3", "sampler=gaussian-residual", "-o", "fresh.npz")
    named, fresh = (np.load(f"{name}.npz")["images"] for name in ("named", "fresh"))
    assert np.array_equal(np.load("own.npz")["images"], named)
    assert not np.array_equal(named, fresh)


@pytest.mark.parametrize(
    ("budget", "step"), [("3steps", 3), ("40 images", 3), ("0.001s", 1), ("2", 2)]
)
def test_budgets_of_every_form(here, run, budget, step, small, strict):
    *_, last = run("train", "moons", *small, "--budget", budget, "-o", "r", "--json")
    done = strict(last)
    assert (done["event"], done["run"], done["images"]) == ("done", "r", 16 * done["step"])
    if budget == "0.001s":  # as many steps as it takes
        assert done["seconds"] >= 0.001
    else:
        assert done["step"] == step


def test_train_from_a_file(here, run):
    (here / "recipe.yaml").write_text("base: moons\nnetwork: {width: 8}\ndata: {size: 64}\n")
    run("train", "recipe.yaml", "schedule=subvp", "--budget", "1step", "-o", "r")
    recipe = load("r").recipe
    assert recipe.network == find_recipe("moons", ["network.width=8"]).network
    assert to_dict(recipe.schedule)["kind"] == "subvp"
    run("train", "r/recipe.json", "-o", "again")
    assert load("again").recipe == recipe


def test_resume_goes_on_and_a_finished_run_is_done(work, run, small):
    weights = load("points").denoiser.network.state_dict()
    words = ["train", "moons", *small, "--budget", "6steps", "-o", "points", "--resume"]
    for again in (words, ["train", "--resume", "-o", "points"]):
        first, *_ = run(*again)
        assert "trained for 6 steps" in first
    after = load("points").denoiser.network.state_dict()
    assert all(torch.equal(weights[name], after[name]) for name in weights)


def test_resume_starts_a_run_where_there_is_none(here, run, small):
    run("train", "moons", *small, "--budget", "2steps", "-o", "r", "--resume")
    assert load("r").step == 2


def test_a_grid(work, run):
    (line,) = run("sample", "images", "-n", "6", "--columns", "3", "-o", "new/grid.png")
    assert line.startswith("new/grid.png: 6 samples in")
    with Image.open("new/grid.png") as picture:
        # 2 rows and 3 columns of 12×12 with 2 pixels around and between: 44 × 30
        assert picture.width * 30 == picture.height * 44
    assert colours("new/grid.png") > 50


def test_samples_in_a_precision(work, run):
    images = {}
    for precision in ("fp32", "bf16"):
        words = ["--precision", precision, "--compile", "off", "-o", f"{precision}.npz", "--json"]
        *_, line = run("sample", "images", "-n", "50", *words)
        assert json.loads(line)["engine"] == f"{precision}, channels-last, eager"
        images[precision] = np.load(f"{precision}.npz")["images"].astype(int)
    model = load("images", precision="fp32", compile="off")
    assert np.array_equal(images["fp32"], model.spec.to_arrays(model.sample(50)))
    apart = np.abs(images["fp32"] - images["bf16"])
    assert 0 < apart.mean() < 4  # of 256 levels


def duration(path):
    """Milliseconds of an animation: frames that are alike are stored as one that stays longer."""
    with Image.open(path) as picture:
        assert picture.n_frames > 1
        total = 0
        for i in range(picture.n_frames):
            picture.seek(i)
            picture.load()
            total += picture.info["duration"]
        return total


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_an_animation(work, run, ending):
    run("sample", "images", "-n", "4", "--steps", "5", "--fps", "10", "-o", f"a.{ending}")
    # a frame for each time, of which this sampler has one more, and the samples for a second and a half
    assert duration(f"a.{ending}") == 6 * 100 + 100 + 1500


def test_a_film(work, run):
    run("sample", "points", "-n", "50", "--steps", "3", "--fps", "4", "-o", "a.mp4")
    with av.open("a.mp4") as film:
        frames = list(film.decode(video=0))
    assert len(frames) == 4 + round(1.5 * 4)  # the last one stays for a second and a half


def test_arrays_of_images(work, run):
    run("sample", "images", "-n", "12", "-o", "samples.npz")
    with np.load("samples.npz") as found:
        assert sorted(found) == ["images", "labels"]
        images, labels = found["images"], found["labels"]
    assert (images.dtype, images.shape) == (np.uint8, (12, 12, 12, 1))
    assert (labels.dtype, labels.tolist()) == (np.int64, [*range(10), 0, 1])
    model = load("images")
    assert np.array_equal(images, model.spec.to_arrays(model.sample(12)))


def test_arrays_of_points(work, run):
    run("sample", "points", "-n", "7", "-o", "samples.npz")
    with np.load("samples.npz") as found:
        assert list(found) == ["samples"]
        assert (found["samples"].dtype, found["samples"].shape) == (np.float32, (7, 2))
        assert np.array_equal(found["samples"], load("points").sample(7).numpy())


def test_a_folder_of_images(work, run):
    run("sample", "images", "-n", "3", "--first", "9", "-o", "folder")
    names = sorted(path.name for path in (work / "folder").iterdir())
    assert names == ["000009-9.png", "000010-0.png", "000011-1.png"]
    expected = load("images").spec.to_arrays(load("images").sample(3, first=9))
    for name, image in zip(names, expected, strict=True):
        with Image.open(work / "folder" / name) as picture:
            assert np.array_equal(np.asarray(picture), image[..., 0])


def test_a_scatter_plot_of_points(work, run):
    run("sample", "points", "-n", "200", "-o", "points.png")
    assert colours("points.png") > 20


def images_of(run, *words):
    run("sample", "images", *words, "-o", "x.npz")
    with np.load("x.npz") as found:
        return found["images"].astype(int), found["labels"]


def test_a_sample_is_the_same_however_many_are_drawn(work, run):
    images, labels = images_of(run, "-n", "6", "--seed", "3")
    for words, part in (
        (["-n", "2", "--first", "4"], slice(4, 6)),
        (["-n", "6", "--batch", "4"], slice(0, 6)),
        (["-n", "1"], slice(0, 1)),
    ):
        found, its = images_of(run, *words, "--seed", "3")
        assert np.abs(found - images[part]).max() <= 1  # one level of 256, by rounding
        assert np.array_equal(its, labels[part])
    other, _ = images_of(run, "-n", "6", "--seed", "4")
    assert np.abs(other - images).max() > 20


def test_one_class(work, run):
    _, labels = images_of(run, "-n", "3", "--label", "7")
    assert labels.tolist() == [7, 7, 7]
    _, labels = images_of(run, "-n", "2", "--label", "-1")
    assert labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    "sampler",
    ["ddim", "ddpm", "euler", "heun", "dpm++", "dpm++sde", "euler-maruyama", "pc", "dopri5"],
)
def test_every_sampler_by_its_name(work, run, sampler, strict):
    words = ["-n", "2", "--sampler", sampler, "--steps", "3", "--json", "-o", "x.npz"]
    *_, last = run("sample", "points", *words)
    done = strict(last)
    assert (done["event"], done["out"], done["samples"]) == ("done", "x.npz", 2)
    assert (done["sampler"]["kind"], done["steps"], done["seed"]) == (sampler, 3, 0)
    with np.load("x.npz") as found:
        assert np.isfinite(found["samples"]).all()


def test_settings_of_the_sampler(work, run, strict):
    words = ["--sampler", "ddim", "sampler.eta=0.5", "sampler.grid=karras", "sampler.grid.rho=5"]
    *_, last = run("sample", "points", "-n", "1", *words, "steps=6", "--json")
    done = strict(last)
    assert done["sampler"] == {
        "kind": "ddim",
        "grid": {"kind": "karras", "rho": 5.0},
        "eta": 0.5,
    }
    assert done["steps"] == 6
    assert (work / "samples.png").is_file()


def test_guidance(work, run, strict):
    model = load("images")
    plain = model.spec.to_arrays(model.sample(3, guidance=1.0))
    for words in (["--guidance", "1"], ["guidance=1"]):
        assert np.array_equal(images_of(run, "-n", "3", *words)[0], plain)
    *_, last = run("sample", "images", "-n", "3", "--guidance", "3", "-o", "x.npz", "--json")
    assert strict(last)["guidance"] == 3
    with np.load("x.npz") as found:
        expected = load("images").sample(3, guidance=3.0)
        assert np.array_equal(found["images"], load("images").spec.to_arrays(expected))


def test_guidance_can_be_left_out(work, run, strict):
    """Of a model that has some of its own; what is said is what is done."""
    model = load("images")
    assert model.sampling.guidance == 1.5
    plain = model.spec.to_arrays(model.sample(3, guidance=1.0))
    *_, last = run("sample", "images", "-n", "3", "guidance=null", "-o", "x.npz", "--json")
    assert strict(last)["guidance"] is None
    with np.load("x.npz") as found:
        assert np.array_equal(found["images"], plain)


def test_a_model_file_alone(work, run):
    (work / "points" / "model.safetensors").rename("alone.safetensors")
    run("sample", "alone.safetensors", "-n", "2", "-o", "x.npz")
    assert any("mlp" in line for line in run("show", "alone.safetensors"))


def test_show(work, run):
    text = "\n".join(run("show", "images"))
    for word in ("step 6", scorefield.__version__, "1 × 12 × 12", "10 classes", "unet", "width=8"):
        assert word in text
    for word in (
        "ve",
        "edm",
        "log-normal",
        "muon",
        "gaussian-residual",
        "4 steps",
        "96 images",
        "loss",
    ):
        assert word in text
    assert "verdict  too early to tell" in text


def test_show_for_programs(work, run, strict):
    (line,) = run("show", "points", "--json")
    facts = strict(line)
    assert facts["run"] == "points"
    assert (facts["step"], facts["scorefield"]) == (6, scorefield.__version__)
    assert facts["recipe"] == to_dict(load("points").recipe)
    assert facts["spec"] == to_dict(load("points").spec)
    assert facts["training"]["images"] == 96
    assert facts["training"]["loss"] > 0
    assert facts["verdict"].keys() == {"kind", "reason", "advice"}


def test_report(work, run, strict):
    path, verdict = run("report", "points")
    assert path == str(Path("points", "report.html"))
    assert verdict.startswith("too early to tell")
    (line,) = run("report", "points", "-o", "page.html", "--json")
    assert strict(line)["report"] == "page.html"
    assert Path("page.html").read_bytes() == Path(path).read_bytes()


def test_show_an_old_model(work, run):
    """A header with only what has no default, as `load` takes it."""
    from safetensors.torch import load_file, save_file

    recipe = {"data": {"kind": "moons"}, "network": to_dict(load("points").recipe.network)}
    header = {"format": "1", "scorefield": "0.1.0", "step": "5", "recipe": json.dumps(recipe)}
    header["spec"] = json.dumps({"shape": [2]})
    save_file(load_file("points/model.safetensors"), "old.safetensors", metadata=header)
    text = "\n".join(run("show", "old.safetensors"))
    for word in ("step 5", "moons", "mlp", "vp", "dpm++"):
        assert word in text


@pytest.mark.parametrize(
    ("augmentation", "said"),
    [
        ({}, None),
        ({"flip": 0.5, "dequantise": True}, "augments  flip=0.5 dequantise=True"),
        ({"told": 0.1, "transformations": ["shift"]}, "told=0.1 transformations=['shift']"),
    ],
)
def test_show_what_was_done_to_the_data(work, run, augmentation, said):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open("points/model.safetensors", framework="pt") as content:
        header = content.metadata()
    recipe = {**json.loads(header["recipe"]), "augmentation": augmentation}
    header["recipe"] = json.dumps(recipe)
    save_file(load_file("points/model.safetensors"), "told.safetensors", metadata=header)
    text = "\n".join(run("show", "told.safetensors"))
    assert (said in text) if said else ("augments" not in text)


PLURALS = {
    {"times": "times", "betas": "betas", "loss": "losses"}.get(noun, f"{noun}s"): k
    for noun, k in CATALOG.values()
}


def test_list_everything(here, run, strict):
    text = "\n".join(run("list"))
    for kinds in (RECIPES, *PLURALS.values()):
        for name in kinds:
            assert name in text
    (line,) = run("list", "--json")
    found = strict(line)
    assert found.keys() == {"recipes", *PLURALS}
    for section, kinds in PLURALS.items():
        assert [row["name"] for row in found[section]] == list(kinds)
    assert [row["name"] for row in found["recipes"]] == list(RECIPES)


@pytest.mark.parametrize("section", ["recipes", *PLURALS])
def test_list_a_section(here, run, section, strict):
    text = "\n".join(run("list", section))
    (line,) = run("list", section, "--json")
    found = strict(line)
    assert list(found) == [section]
    for row in found[section]:
        assert row["name"] in text
        assert len(row["summary"]) > 5
        if section != "recipes":
            assert row["settings"].keys() == row["meaning"].keys()
            assert f"{row['name']}, in Python {row['python']}" in text
            assert PLURALS[section][row["name"]].__name__ == row["python"]
            assert row["reference"]
            assert all(key in text for key in row["settings"])


def test_list_says_what_samplers_cost(here, run, strict):
    (line,) = run("list", "samplers", "--json")
    facts = {row["name"]: row for row in strict(line)["samplers"]}
    assert (facts["heun"]["order"], facts["heun"]["evaluations"]) == (2, 2)
    assert (facts["euler"]["order"], facts["euler"]["evaluations"]) == (1, 1)
    assert facts["dopri5"]["evaluations"] == 0
    assert "adaptive" in "\n".join(run("list", "samplers"))  # as many as the tolerance asks
    stochastic = {name for name, row in facts.items() if row["stochastic"]}
    assert {"ddpm", "dpm++sde", "euler-maruyama", "pc"} <= stochastic
    assert not {"euler", "dpm++", "ddim", "dopri5"} & stochastic


def test_plot_a_grid_of_data(here, run, digits):
    assert run("plot", "grid", "mnist10k", "-n", "4", "-o", "data.png") == ["data.png"]
    with Image.open("data.png") as picture:
        assert picture.width == picture.height
    assert colours("data.png") > 50
    assert run("plot", "grid", "moons", "-n", "300", "--json") == [
        json.dumps({"event": "done", "out": "grid.png"})
    ]
    assert colours("grid.png") > 20


def test_plot_what_training_sees(here, run, digits):
    words = ["augmentation.flip=1", "-n", "2", "-o", "seen.png"]
    assert run("plot", "augmentation", "mnist10k", *words) == ["seen.png"]
    with Image.open("seen.png") as picture:
        pixels = np.asarray(picture)
    factor = pixels.shape[1] // (10 * (28 + 2) + 2)
    sheet = pixels[::factor, ::factor]
    row = [sheet[2:30, 2 + 30 * i : 30 + 30 * i] for i in range(10)]
    assert len(np.unique(row[0])) > 10
    assert all(np.array_equal(one, row[0][:, ::-1]) for one in row[1:])


def test_plot_a_grid_of_samples(work, run):
    run("sample", "images", "-n", "4", "-o", "samples.npz")
    run("sample", "images", "-n", "4", "--columns", "2", "-o", "direct.png")
    run("plot", "grid", "samples.npz", "--columns", "2", "-o", "grid.png")
    with Image.open("grid.png") as one, Image.open("direct.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_plot_an_animation(work, run):
    words = ["-n", "4", "--sampler", "dpm++", "--steps", "3", "--label", "2", "--fps", "20"]
    assert run("plot", "animation", "images", *words) == ["animation.gif"]
    assert duration("animation.gif") == 3 * 50 + 50 + 1500


def test_plot_paths(work, run):
    words = ["--sampler", "euler-maruyama", "--steps", "7", "sampler.grid=log-snr"]
    assert run("plot", "paths", "points", *words, "-o", "p.png") == ["p.png"]
    assert colours("p.png") > 50


def test_plot_schedules(here, run):
    assert run("plot", "schedule") == ["schedules.png"]  # all of them
    assert colours("schedules.png") > 20
    assert run("plot", "schedule", "vp", "--json", "-o", "one.png")
    with Image.open("schedules.png") as one, Image.open("one.png") as other:
        assert one.size == other.size
        assert one.tobytes() != other.tobytes()


def test_plot_the_loss(work, run):
    run("plot", "loss", "images", "points", "-o", "l.png")
    assert colours("l.png") > 20


def test_every_line_for_programs_is_json(here, digits, run, strict):
    words = ["network.width=8", "network.heads=2", "training.batch=16", "sampling.sampler=heun"]
    lines = run(
        *("train", "mnist", f"data.root={digits}", *words, "--budget", "2steps"),
        "-o",
        "r",
        "--json",
    )
    events = [strict(line)["event"] for line in lines]
    assert events[-1] == "done"
    assert set(events) <= {"progress", "note", "done"}
    for words in (["show", "r"], ["sample", "r", "-n", "2"], ["plot", "paths", "r", "-n", "1"]):
        for line in run(*words, "--json"):
            strict(line)
    strict((here / "r" / "recipe.json").read_text())


def test_a_progress_bar_on_a_terminal(work, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["sample", "points", "-n", "2", "--steps", "3", "-o", "x.npz"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("x.npz: 2 samples")
    assert "sampling points" in err
    assert "samples/s" in err


def test_interrupted(work, capsys, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("scorefield.samplers.exponential.DPMSolverPP.walk", stop)
    assert main(["sample", "points", "-o", "x.npz"]) == 130
    assert capsys.readouterr().err == "scorefield: interrupted\n"
    assert not (work / "x.npz").exists()


def test_version_and_help(here, run):
    assert run("--version") == [scorefield.__version__]
    for command in (
        *("train", "sample", "show", "list", "likelihood", "latent", "latent encode"),
        *("plot", "plot grid", "plot paths"),
    ):
        text = "\n".join(run(*command.split(), "--help"))
        assert f"Usage: scorefield {command}" in text
    assert "--budget" in "\n".join(run("train", "--help"))
