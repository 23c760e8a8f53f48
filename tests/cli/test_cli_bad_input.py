"""Bad input: one clear sentence, exit code 2, no traceback, and nothing half-written."""

import contextlib
import gzip
import http.server
import json
import sys
import threading
from dataclasses import replace

import numpy as np
import pooch
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scorefield.cli.main import main
from scorefield.data import published
from scorefield.data.idx_sets import FILES

TINY = ["data.size=64", "training.batch=16", "--budget", "2steps", "-o", "out"]


def listing(folder):
    """Every path below a folder, with the content of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(capsys, here):
    """The sentence of a command that must fail, with nothing left behind."""

    def refused(*words):
        before = listing(here)
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == 2
        assert out == ""
        assert err.startswith("scorefield: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        after = listing(here)
        assert after.keys() - before.keys() == set()
        assert after == before
        return err

    return refused


def says(sentence, *words):
    missing = [word for word in words if word not in sentence]
    assert missing == [], sentence


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mnst", *TINY], ["unknown recipe 'mnst'", "did you mean 'mnist'", "moons", "spiral"]),
        (["none.yaml", *TINY], ["cannot read the recipe none.yaml", "No such file"]),
        (["moons", "netwrok.width=3", *TINY], ["'netwrok.width'", "did you mean 'network'"]),
        (["moons", "network.widht=3", *TINY], ["'widht'", "did you mean 'width'", "depth"]),
        (["moons", "network.width=wide", *TINY], ["network.width", "a whole number", "'wide'"]),
        (["moons", "schedule=subpv", *TINY], ["'subpv'", "did you mean 'subvp'", "cosine"]),
        (["moons", "sampling.sampler=dpm", *TINY], ["unknown sampler 'dpm'", "dpm++", "heun"]),
        (["moons", "schedule={kind: [vp]}", *TINY], ["schedule", "vp, subvp"]),
        (["moons", "network.width", *TINY], ["'network.width' is not an override", "key=value"]),
        (
            ["moons", "objective.coupling=minibatch-ot", "sampling.sampler=pc", *TINY],
            ["PredictorCorrector adds fresh noise", "MinibatchOT", "dpm++ or heun"],
        ),
        (["moons", "training.batch=0", *TINY], ["batch must be at least 1, got 0"]),
        (["moons", "training.lr=-1", *TINY], ["lr must be above 0 and finite, got -1.0"]),
        (["moons", "training.lr=.inf", *TINY], ["lr must be above 0 and finite, got inf"]),
        (
            ["moons", "schedule.beta_max=1e10", *TINY],
            ["beta_max=1e+10 is too large", "t_min=0.001"],
        ),
        (["moons", "data.size=!!int many", *TINY], ["the value of data.size is not YAML"]),
        (["moons", "network=" + "[" * 5000, *TINY], ["the value of network is not YAML"]),
        (
            ["moons", "data.size=1000000000000000", *TINY[1:]],
            ["not enough memory", "24,000,000.0 GB were asked for"],
        ),
        (["moons", "--budget", "", "-o", "out"], ["'' is not a budget"]),
        (["moons", *TINY[:-1], ""], ["-o must be a path, got ''"]),
        (["moons", "network=unet", *TINY], ["UNet", "(2,)", "try mlp"]),
        (["moons", "data.size=1", *TINY], ["size must be at least 2, got 1"]),
        (["moons", "--budget", "soon", "-o", "out"], ["'soon' is not a budget", "5m", "120steps"]),
        (["moons", "--budget", "0steps", "-o", "out"], ["above 0, got '0steps'"]),
        (["moons", "--device", "tpu", *TINY], ["device must be 'auto' or 'cpu', got 'tpu'"]),
        (["mnist", "data.root=nowhere", "-o", "out"], ["train-images-idx3-ubyte", "nowhere"]),
        ([*TINY], ["unknown recipe 'data.size=64'", "moons"]),
        (["-o", "out"], ["a recipe is needed", "mnist10k", "scorefield list recipes"]),
        (["moons"], ["--out"]),
        (["--resume", "-o", "out"], ["there is no run in out to resume"]),
        (["--resume", "-o", "out", "--budget", "5m"], ["keeps its recipe", "training.budget=5m"]),
        (["moons", "--bugdet", "5m", "-o", "out"], ["--bugdet", "--budget"]),
        (["moons", "--budget"], ["--budget"]),
    ],
)
def test_train(refused, words, expected):
    says(refused("train", *words), *expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("base: [1, 2", ["bad.yaml is not YAML"]),
        ("", ["bad.yaml must hold the keys of a recipe"]),
        ("base: mnst\n", ["unknown recipe 'mnst'", "did you mean 'mnist'"]),
        ("base: moons\ntraning: {lr: 1}\n", ["'traning'", "did you mean 'training'"]),
        ("base: moons\ntraining: {lr: fast}\n", ["training.lr must be a number, got 'fast'"]),
        ("data: moons\n", ["lacks network"]),
    ],
)
def test_train_from_a_broken_file(here, refused, content, expected):
    (here / "bad.yaml").write_text(content)
    says(refused("train", "bad.yaml", "-o", "out"), *expected)


@pytest.mark.slow
def test_train_on_damaged_data(here, refused, digits):
    images, labels = (digits / f"{name}.gz" for name in FILES["train"])
    folder = here / "data"
    folder.mkdir()
    (folder / images.name).write_bytes(images.read_bytes()[:-200])
    (folder / labels.name).write_bytes(labels.read_bytes())
    words = ["train", "mnist", "data.root=data", "-o", "out"]
    says(refused(*words), "cannot read", images.name)
    (folder / images.name).write_bytes(gzip.compress(b"not images"))
    says(refused(*words), images.name, "is damaged")
    (folder / images.name).write_bytes(images.read_bytes())
    (folder / labels.name).unlink()
    says(refused(*words), "no train-labels-idx1-ubyte", "data")


def test_train_where_nothing_can_be_written(here, refused):
    (here / "file").write_text("in the way")
    says(
        refused("train", "moons", *TINY[:-1], "file"),
        "cannot write a folder file",
        "a file of that",
    )
    for out in ("file/run", "file/a/b/run"):
        sentence = refused("train", "moons", *TINY[:-1], out)
        says(sentence, f"cannot write {out}")


def test_train_over_a_run(work, refused):
    words = ["train", "points/recipe.json", "-o", "points"]
    says(refused(*words), "points already has a run", "--resume")
    says(refused("train", "--resume", *words[2:], "--budget", "9steps"), "training.budget=9steps")
    for key in (
        "training.seed is 0 there and 4 here",
        "training.budget is 6steps there and 30s here",
    ):
        name, _, _, _, _, value, _ = key.split()
        says(refused(*words, f"{name}={value}", "--resume"), key)


def test_train_to_a_loss_that_is_not_finite(here, capsys):
    words = ["training.lr=1e30", "training.warmup=0", "training.clip=1e30", "training.decay=0"]
    assert main(["train", "moons", *words, *TINY[:2], "--budget", "9steps", "-o", "out"]) == 2
    *said, sentence = capsys.readouterr().err.splitlines(keepends=True)
    assert all("rolled back" in line or "back to the checkpoint" in line for line in said)
    says(sentence, "the loss is", "training.lr", "1e+30")
    assert not [path for path in here.rglob("*") if "partial" in path.name]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "/cut/" not in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b"x" * 700)  # and the line goes dead

    def log_message(self, *_):
        pass


def test_an_interrupted_download(here, refused, digits, monkeypatch, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")  # what was fetched stays there, for the next time
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with contextlib.closing(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        server.close = server.server_close
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        mirrors = (f"{address}/gone/", f"{address}/cut/")
        monkeypatch.setattr(published, "MNIST", replace(published.MNIST, mirrors=mirrors))
        monkeypatch.setattr(published, "cache_folder", lambda: cache)
        for handler in pooch.get_logger().handlers:
            monkeypatch.setattr(handler, "stream", sys.stderr)  # where a new process has it
        try:
            sentence = refused("train", "mnist", "-o", "out")
        finally:
            server.shutdown()
            thread.join()
    says(sentence, "cannot download train-images-idx3-ubyte.gz")
    says(sentence, f"{address}/gone/: 404", f"{address}/cut/: ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], ["no model at nowhere"]),
        (["images", "--sampler", "dpm+"], ["unknown sampler 'dpm+'", "did you mean 'dpm++'", "pc"]),
        (["images", "sampler.ordr=3"], ["'ordr'", "did you mean 'order'", "grid"]),
        (["images", "sampler.order=4"], ["order", "4"]),
        (["images", "--guidance", "inf"], ["guidance must be a finite number, got inf"]),
        (["points", "--guidance", "2"], ["guidance needs a model that knows labels"]),
        (["images", "sampler.grid=karas"], ["unknown grid 'karas'", "did you mean 'karras'"]),
        (["images", "stpes=3"], ["'stpes'", "did you mean 'steps'"]),
        (["images", "--steps", "0"], ["steps must be at least 1, got 0"]),
        (["images", "--steps", "-5"], ["steps must be at least 1, got -5"]),
        (["images", "--steps", "many"], ["--steps", "many", "whole number"]),
        (["images", "--steps", "1.5"], ["--steps", "1.5"]),
        (["images", "-n", "2.7"], ["-n", "2.7"]),
        (["images", "sampler.grid=knots", "--steps", "2000"], ["at most 1000", "2000"]),
        (["images", "-n", "0"], ["at least 1, got 0"]),
        (["images", "-n", "-3"], ["at least 1, got -3"]),
        (["images", "--label", "10"], ["label must lie in 0 to 9", "got 10"]),
        (["images", "--label", "-2"], ["label must lie in 0 to 9", "got -2"]),
        (["images", "--label", "seven"], ["--label", "seven"]),
        (["points", "--label", "0"], ["knows no labels, got label 0"]),
        (["images", "--batch", "0"], ["batch must be at least 1, got 0"]),
        (["images", "--precision", "fp8"], ["--precision", "fp8", "bf16"]),
        (["images", "--compile", "maybe"], ["--compile", "maybe", "auto"]),
        (["images", "--columns", "0"], ["columns must be at least 1, got 0"]),
        (["images", "--columns", "-1"], ["columns must be at least 1, got -1"]),
        (["images", "--fps", "0", "-o", "a.gif"], ["fps must be above 0 and at most 1000, got 0"]),
        (
            ["images", "--fps", "inf", "-o", "a.mp4"],
            ["fps must be above 0 and at most 1000, got inf"],
        ),
        (
            ["images", "--fps", "1e9", "-o", "a.mp4"],
            ["fps must be above 0 and at most 1000, got 1000000000.0"],
        ),
        (["images", "--first", "-1"], ["first must lie in 0 to", "got -1"]),
        (["images", "--first", str(2**63 - 1)], ["first must lie in 0 to 9223372036854775791"]),
        (["images", "--device", "nonsense"], ["device 'nonsense'", "cpu"]),
        (["images", "--device", "meta"], ["device 'meta' cannot be used", "cpu"]),
        (["images", "-o", ""], ["-o must be a path, got ''"]),
        (["n" * 300], ["cannot use nnn", "name too long"]),
        (["images", "-o", "x.jpg"], ["'x.jpg'", ".png", ".gif", ".npz", "folder"]),
        (["images", "-o", "x.PDF"], ["'x.PDF'", ".png"]),
        (["points", "-o", "folder"], ["a folder of pictures needs images", "folder.npz"]),
        (["images", "-o", "images/recipe.json/x.png"], ["cannot write images/recipe.json/x.png"]),
        (["images", "-o", "images/recipe.json/folder"], ["cannot write"]),
        (["images", "--sampler"], ["--sampler"]),
        ([], ["RUN"]),
    ],
)
def test_sample(work, refused, words, expected):
    says(refused("sample", *words), *expected)


def test_sample_onto_a_folder(work, refused):
    (work / "x.npz").mkdir()
    says(refused("sample", "points", "-n", "1", "-o", "x.npz"), "cannot write x.npz")


@pytest.fixture
def rewrite(work):
    """Change the header of the model of the points."""
    path = work / "points" / "model.safetensors"

    def rewrite(**keys):
        with safe_open(path, framework="pt") as content:
            header = {**content.metadata(), **keys}
        save_file(load_file(path), path, metadata=header)

    return rewrite


@pytest.mark.parametrize(
    "command", [["sample"], ["show"], ["plot", "paths"], ["plot", "animation"]]
)
@pytest.mark.parametrize("damage", ["cut", "random", "empty", "foreign", "newer"])
def test_models_that_cannot_be_read(work, refused, rewrite, command, damage):
    path = work / "points" / "model.safetensors"
    if damage == "foreign":
        save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    elif damage == "newer":
        rewrite(format="3", scorefield="7.0.0")
    else:
        content = {"cut": path.read_bytes()[:-9], "random": b"\x8f" * 500, "empty": b""}
        path.write_bytes(content[damage])
    expected = {
        "foreign": ["was not written by Scorefield"],
        "newer": ["format 3", "Scorefield 7.0.0", "up to 2"],
    }
    sentence = refused(*command, "points")
    says(sentence, "points/model.safetensors", *expected.get(damage, ["damaged"]))


@pytest.mark.parametrize("command", [["sample"], ["show"]])
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"recipe": "{"}, ["recipe"]),
        ({"recipe": '{"data": "moons", "network": "mlp", "guide": 1}'}, ["'guide'", "schedule"]),
        ({"recipe": '{"data": "moon", "network": "mlp"}'}, ["'moon'", "did you mean 'moons'"]),
        ({"spec": "[]"}, ["spec"]),
        ({"step": "many"}, ["step", "many"]),
        ({"step": "9" * 5000}, ["step is '9999"]),
        ({"recipe": "[" * 100_000}, ["recipe is not JSON"]),
        ({"spec": '{"shape": [2], "classes": -1}'}, ["classes must be at least 0, got -1"]),
        ({"spec": '{"shape": [2], "levels": 0}'}, ["levels must be at least 2, got 0"]),
        ({"spec": '{"shape": [0]}'}, ["shape must be of numbers of at least 1"]),
        ({"spec": '{"shape": [2], "sigma_data": NaN}'}, ["sigma_data must be above 0", "nan"]),
        ({"spec": '{"shape": [2], "low": 1, "high": 1}'}, ["low must be below high"]),
    ],
)
def test_models_whose_header_makes_no_sense(refused, rewrite, command, keys, expected):
    rewrite(**keys)
    says(refused(*command, "points"), *expected)


def test_a_model_whose_weights_do_not_fit(work, refused, rewrite):
    recipe = json.loads((work / "points" / "recipe.json").read_text())
    recipe["network"]["width"] = 16
    rewrite(recipe=json.dumps(recipe))
    says(refused("sample", "points"), "do not fit its recipe")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["show", "nowhere"], ["no model at nowhere"]),
        (["show"], ["RUN"]),
        (["report", "nowhere"], ["no run in nowhere"]),
        (["report", "points", "-o", "points/model.safetensors"], ["the ending is .html"]),
        (
            ["ema", "points", "--length", "0.1", "-o", "points/log.jsonl"],
            ["ending is .safetensors"],
        ),
        (
            ["doctor", "points", "data.memory=.inf"],
            ["memory must be at least 0 and finite, got inf"],
        ),
        (["doctor", "points", "-o", "points/doctor"], ["lies inside the data", "part of them"]),
        (["train", "moons", "-o", "new", "--track", "wanbd"], ["'wanbd'", "did you mean 'wandb'"]),
        (["list", "samplrs"], ["'samplrs'", "did you mean 'samplers'", "recipes", "grids"]),
        (["smaple", "images"], ['"smaple"', '"sample"', "train"]),
        (["plot", "gird", "moons"], ['"gird"', '"grid"', "paths"]),
        (["plot", "grid", "moon"], ["'moon'", "did you mean 'moons'", "checkerboard"]),
        (["plot", "grid", "none.npz"], ["cannot read none.npz"]),
        (["plot", "grid", "."], ["is a folder", "scorefield sample . -o grid.png"]),
        (["plot", "grid", "moons", "-n", "0"], ["at least 1, got 0"]),
        (["plot", "grid", "mnist10k", "--columns", "-2"], ["columns", "at least 1, got -2"]),
        (["plot", "grid", "moons", "-o", "grid.xyz"], ["grid.xyz", ".png"]),
        (["plot", "grid", "moons", "-o", "grid"], ["grid", ".png"]),
        (["plot", "augmentation", "moons", "augmentation.flip=1"], ["flip needs images"]),
        (["plot", "augmentation", "mnist10k", "-n", "0"], ["at least 1, got 0"]),
        (["plot", "schedule", "vp", "subpv"], ["'subpv'", "did you mean 'subvp'", "flow"]),
        (["plot", "schedule", "vp", "-o", "s.xyz"], ["s.xyz", ".png"]),
        (["plot", "schedule", "vp", "-o", "images/recipe.json/s.png"], ["cannot write"]),
        (["plot", "paths", "points", "-o", "p.xyz"], ["p.xyz", ".png"]),
        (["plot", "paths", "points", "--sampler", "hen"], ["'hen'", "did you mean 'heun'"]),
        (["plot", "paths", "points", "--label", "1"], ["knows no labels, got label 1"]),
        (["plot", "paths", "nowhere"], ["no model at nowhere"]),
        (["plot", "animation", "images", "--steps", "0"], ["at least 1, got 0"]),
        (["plot", "animation", "images", "-o", "a.avi"], ["a.avi", ".gif, .webp, .mp4"]),
        (
            ["plot", "animation", "images", "--fps", "-1"],
            ["fps must be above 0 and at most 1000, got -1"],
        ),
        (["plot", "loss"], ["a run folder is needed"]),
        (["plot", "loss", "nowhere"], ["no log.jsonl in nowhere"]),
        (["plot", "loss", "images", "nowhere"], ["no log.jsonl in nowhere"]),
        (["plot", "loss", "images", "-o", "l.xyz"], ["l.xyz", ".png"]),
    ],
)
def test_other_commands(work, refused, words, expected):
    says(refused(*words), *expected)


@pytest.mark.parametrize("damage", ["cut", "random", "empty", "npy", "keys", "flat", "pickle"])
def test_arrays_that_cannot_be_read(here, refused, damage):
    path = here / "x.npz"
    np.savez_compressed(path, images=np.zeros((9, 8, 8, 1), np.uint8))
    if damage == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros((2, 8, 8, 1), np.uint8))
    elif damage == "keys":
        np.savez(path, pictures=np.zeros((2, 8, 8, 1), np.uint8))
    elif damage == "flat":
        np.savez(path, images=np.zeros((2, 64), np.uint8))
    elif damage == "pickle":
        np.savez(path, images=np.array([{"a": 1}], dtype=object))
    else:
        content = {"cut": path.read_bytes()[:-40], "random": b"\x8f" * 500, "empty": b""}
        path.write_bytes(content[damage])
    expected = {"keys": ["no 'images'", "pictures"], "flat": ["(N, H, W, C)", "(2, 64)"]}
    says(refused("plot", "grid", "x.npz"), *expected.get(damage, ["cannot read x.npz"]))


def test_a_log_without_a_loss(work, refused):
    (work / "points" / "log.jsonl").write_text('{"step": 0, "note": "nothing yet"}\n')
    says(refused("plot", "loss", "points"), "the log of points has no loss yet")


@pytest.mark.parametrize(
    "words",
    [["train", "mnst", "-o", "out"], ["sample", "nowhere"], ["list", "x"], ["sample", "-n", "y"]],
)
@pytest.mark.parametrize("place", [0, 99])
def test_debug_shows_where_an_error_came_from(here, capsys, words, place):
    words = [*words[:place], "--debug", *words[place:]]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1].startswith("scorefield: ")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("figures", ["[]", "null", "3"])
def test_evaluations_that_make_no_sense(here, refused, figures):
    for name in ("a.json", "b.json"):
        (here / name).write_text(f'{{"format": 1, "features": {{}}, "figures": {figures}}}')
    says(refused("compare", "a.json", "b.json"), "a.json is not an evaluation")
