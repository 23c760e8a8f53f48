"""The commands likelihood and latent, through the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield import DormandPrince
from scorefield.cli.main import main
from scorefield.models import (
    bits_per_dim,
    bounds,
    data_of,
    decoded,
    levels_of,
    likelihoods,
    load,
)
from scorefield.viz import picture as draw

COARSE = ["--rtol", "0.1", "--atol", "0.1"]


def test_likelihood_of_images(work, run, digits, strict):
    words = ["likelihood", "images", "--split", "train", "-n", "3", "--probes", "2", *COARSE]
    text = "\n".join(run(*words))
    for word in (
        "3 of train",
        "bits/dim",
        "nats",
        "of a level is left at t_min; ",
        "dequantised (uniform): a lower bound",
        "2 rademacher a sample: ",
        "prior  normal, with the data's mean and variance at t = 1",
        "halving",
        "evaluations",
        "s a sample",
    ):
        assert word in text
    *_, last = run(*words, "--batch", "2", "--json")
    done = strict(last)
    model = load("images")
    found = []
    x, label = data_of(model, "train", 3)
    for part in likelihoods(model, x, label, probes=2, solver=DormandPrince(0.1, 0.1)):
        found.append(part.log_prob)
    bits = bits_per_dim(torch.cat(found), model.spec)
    assert done["bits_per_dim"] == pytest.approx(float(bits.mean()), rel=1e-3)
    assert done["bits_error"] == pytest.approx(float(bits.std()) / 3**0.5, rel=1e-2)
    assert done["samples"] == 3
    assert (done["dequantisation"], done["trace"]) == ("uniform", "2 rademacher")
    alpha, sigma = map(float, model.denoiser.schedule(model.denoiser.schedule.t_min))
    assert done["noise_left"] == pytest.approx(sigma / alpha * 255 / 2)
    assert done["noise_bits"] == pytest.approx(levels_of(model.spec).blur(sigma / alpha))
    assert done["probe_error"] > 0
    assert done["solver_error"] > 0
    assert done["seconds_each"] > 0
    assert done["evaluations"] >= 8


def test_what_numbers_tell_by_themselves_needs_no_training(here, run, digits, strict):
    """Pixels that are uniform and independent are worth 8 bits each, and a fresh network adds nothing."""
    words = ["network.width=8", "training.batch=16", "training.compile=off", "training.lr=1e-9"]
    run("train", "mnist-likelihood", *words, f"data.root={digits}", "--budget", "1step", "-o", "r")
    *_, last = run("likelihood", "r", "--split", "train", "-n", "4", "--json")
    assert strict(last)["bits_per_dim"] == pytest.approx(8, abs=0.05)
    (row,) = [line for line in run("show", "r") if "marginal" in line]
    assert "32 pieces, the heaviest with" in row


def test_likelihood_of_points_has_nats_only(work, run, strict):
    *_, last = run("likelihood", "points", "-n", "20", "--json")
    done = strict(last)
    assert done["bits_per_dim"] is None
    assert done["noise_left"] is None
    assert done["probe_error"] == 0  # two numbers: the exact trace
    assert (done["dequantisation"], done["trace"]) == ("none", "exact")
    assert done["split"] == "test"
    text = "\n".join(run("likelihood", "points", "-n", "1"))
    assert "nats" in text
    assert "bits/dim" not in text
    *_, last = run("likelihood", "points", "-n", "20", "--no-exact", "--json")
    assert strict(last)["probe_error"] is None  # one probe cannot tell


def test_other_bounds_and_labels_are_other_numbers(work, run, digits, strict):
    words = ["likelihood", "images", "--split", "train", "-n", "2", *COARSE, "--json"]
    found = set()
    for more in (
        [],
        ["--dequantisation", "variational"],
        ["--label", "none"],
        ["--seed", "1"],
        ["--probe", "gaussian"],
    ):
        *_, last = run(*words, *more)
        done = strict(last)
        found.add(done["nats"])
        assert (done["noise_bits"] is None) == ("variational" in more)
    assert len(found) == 5


@pytest.mark.parametrize("folder", ["images", "points"])
def test_the_bound_of_a_chain(work, run, digits, strict, folder):
    words = ["likelihood", folder, "--split", "train", "-n", "3", "--bound", "6"]
    text = "\n".join(run(*words))
    assert "3 of train" in text
    assert "variational, of 6 times, by one draw" in text
    assert ("bits/dim" in text) == (folder == "images")
    *_, last = run(*words, "--batch", "2", "--json")
    done, model = strict(last), load(folder)
    found = torch.cat(
        [part.log_prob for part in bounds(model, *data_of(model, "train", 3), steps=6)]
    )
    assert done["nats"] == pytest.approx(float(found.mean()), rel=1e-3)
    terms = [done[f"{part}_nats"] for part in ("prior", "steps", "data")]
    levels = levels_of(model.spec)
    cell = 0.0 if levels is None else 144 * np.log(levels.spacing)
    assert done["nats"] == pytest.approx(-sum(terms) - cell, rel=1e-3)


def test_codes_there_and_back(work, run, strict):
    words = ["latent", "encode", "points", "-n", "6", "--rtol", "1e-6", "--atol", "1e-6"]
    *_, last = run(*words, "--json", "-o", "z.npz")
    done = strict(last)
    assert (done["out"], done["samples"]) == ("z.npz", 6)
    assert 0 < done["round_trip"]["mean"] <= done["round_trip"]["largest"] < 1e-3
    with np.load("z.npz") as found:
        assert list(found) == ["latents"]
        assert found["latents"].shape == (6, 2)
    (line,) = run(*words, "-o", "again.npz")
    assert line.startswith("again.npz: 6 codes; the way back misses by")
    assert run("latent", "decode", "points", "z.npz") == ["decoded.png"]
    with Image.open("decoded.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 16)) > 3


def test_codes_of_images_keep_their_labels(work, run, digits):
    run("latent", "encode", "images", "--split", "train", "-n", "4", *COARSE, "-o", "z.npz")
    with np.load("z.npz") as found:
        assert found["latents"].shape == (4, 1, 12, 12)
        assert found["labels"].tolist() == [0, 1, 2, 3]
    run("latent", "decode", "images", "z.npz", *COARSE, "--columns", "4", "-o", "x.png")
    model, found = load("images"), np.load("z.npz")
    z, told = (torch.from_numpy(found[key]) for key in ("latents", "labels"))
    x = torch.cat(list(decoded(model, z, told, solver=DormandPrince(0.1, 0.1))))
    with Image.open("x.png") as picture:
        # 1 row and 4 columns of 12×12 with 2 pixels around and between: 58 × 16
        assert picture.width * 16 == picture.height * 58
        assert np.array_equal(np.asarray(picture), np.asarray(draw(x, model.spec, columns=4)))


def test_interpolations(work, run, digits):
    words = ["latent", "interpolate", "images", "-n", "2", "--columns", "3", *COARSE]
    found = set()
    for more in (["--label", "2"], ["--split", "train"], ["--seed", "5"]):
        run(*words, *more, "-o", "x.png")
        with Image.open("x.png") as picture:
            # 2 rows and 3 columns of 12×12 with 2 pixels around and between: 44 × 30
            assert picture.width * 30 == picture.height * 44
            found.add(picture.tobytes())
    assert len(found) == 3
    assert run("latent", "interpolate", "points", "-n", "1") == ["interpolation.png"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["likelihood", "nowhere"], "no model at nowhere"),
        (["likelihood", "points", "--rtol", "0"], "rtol must lie above 0 and below 1, got 0.0"),
        (["likelihood", "points", "--atol", "-1"], "atol must lie above 0 and below 1, got -1.0"),
        (["likelihood", "points", "-n", "0"], "the number of samples must be at least 1, got 0"),
        (["likelihood", "points", "-n", "1.5"], "1.5"),
        (["likelihood", "points", "--split", "valid"], "split must be 'train' or 'test'"),
        (["likelihood", "points", "--batch", "0"], "batch must be at least 1, got 0"),
        (["likelihood", "points", "--label", "3"], "label must be 'data' or 'none', got '3'"),
        (
            ["likelihood", "points", "--dequantisation", "uniform"],
            "real numbers without levels: dequantisation must be 'none', got 'uniform'",
        ),
        (
            ["likelihood", "points", "--dequantisation", "unifrom"],
            "dequantisation must be one of uniform, variational, none, got 'unifrom'",
        ),
        (["likelihood", "points", "--probes", "0", "--no-exact"], "probes must be at least 1"),
        (["likelihood", "points", "--probe", "n", "--no-exact"], "'rademacher' or 'gaussian'"),
        (["latent", "encode", "points", "-o", "z.png"], "'z.png'; the ending is .npz"),
        (["latent", "encode", "points", "--rtol", "2"], "rtol"),
        (["latent", "decode", "points", "none.npz"], "cannot read none.npz"),
        (["latent", "decode", "points", "points/recipe.json"], "cannot read points/recipe.json"),
        (["latent", "decode", "points", "bad.npy"], "bad.npy is one array; codes are in an .npz"),
        (["latent", "decode", "points", "bad.npz"], "bad.npz has no 'latents'; it has images"),
        (["latent", "decode", "points", "flat.npz"], "the model is for shape (2,), got (3,)"),
        (["latent", "decode", "points", "words.npz"], "latents must be numbers, got <U"),
        (["latent", "decode", "points", "scalar.npz"], "scalar.npz holds no codes"),
        (
            ["latent", "decode", "points", "told.npz"],
            "told.npz has labels, and the model knows none",
        ),
        (["latent", "decode", "images", "told.npz"], "labels must lie in -1 to 9, got 0 to 10"),
        (["latent", "decode", "images", "few.npz"], "labels must be 2 whole numbers, got int64 of"),
        (["latent", "decode", "images", "half.npz"], "labels must be 2 whole numbers, got float64"),
        (["latent", "decode", "points", "torn.npz"], "cannot read torn.npz"),
        (["latent", "interpolate", "points", "-n", "0"], "number of pairs must be at least 1"),
        (
            ["latent", "interpolate", "images", "-n", "-1"],
            "number of pairs must be at least 1, got -1",
        ),
        (["latent", "interpolate", "points", "--columns", "1"], "at least 2, got 1"),
        (["latent", "interpolate", "points", "--label", "1"], "knows no labels, got label 1"),
        (["latent", "interpolate", "points", "-n", "99999", "--split", "test"], "test has"),
    ],
)
def test_bad_input_is_one_sentence(work, capsys, words, expected):
    np.savez("bad.npz", images=np.zeros((2, 2)))
    np.save("bad.npy", np.zeros((2, 2)))
    np.savez("flat.npz", latents=np.zeros((2, 3), np.float32))
    np.savez("words.npz", latents=np.array(["a", "b"]))
    np.savez("scalar.npz", latents=np.float32(1))
    z = np.zeros((2, 1, 12, 12))
    for name, labels in (("told", [0, 10]), ("few", [1]), ("half", [0.5, 1.0])):
        np.savez(f"{name}.npz", latents=z, labels=np.array(labels))
    np.savez_compressed("torn.npz", latents=np.arange(4000.0))
    torn = bytearray(Path("torn.npz").read_bytes())
    torn[200:260] = bytes(60)
    Path("torn.npz").write_bytes(torn)
    before = sorted(work.rglob("*"))
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err
    assert sorted(work.rglob("*")) == before
