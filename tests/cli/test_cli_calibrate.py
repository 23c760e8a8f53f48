"""The command calibrate, through the command line."""

import numpy as np
import pytest

from scorefield import CFG, GaussianResidual, calibrate, load, sample
from scorefield.cli.main import main
from scorefield.recipes import read_sampling


@pytest.mark.parametrize("folder", ["images", "points"])
def test_sample_draws_by_the_file_that_it_writes(work, run, folder, strict):
    """The numbers found, in as many steps, and with the model's guidance."""
    *_, last = run("calibrate", folder, "--steps", "3", "-n", "8", "-o", "found.yaml", "--json")
    done = strict(last)
    assert done["out"] == "found.yaml"
    found = read_sampling(work / "found.yaml")
    assert found.steps == 3
    assert found.sampler.final == ("denoise" if folder == "images" else "integrate")
    assert found.sampler.bound == (1.0 if folder == "images" else None)
    run("sample", folder, "--sampler", "found.yaml", "-n", "2", "-o", "few.npz")
    model = load(folder)
    assert found.guidance == model.sampling.guidance
    expected = model.drawn_by(found).sample(2)
    key = "images" if folder == "images" else "samples"
    assert np.array_equal(np.load("few.npz")[key], model.spec.to_arrays(expected))


def test_guidance_ends_where_it_is_asked_to(work, run, strict):
    """The file says so, and its numbers are for a model that is led so far and a teacher all the way."""
    words = ["--guidance", "2", "--guidance-least", "1", "--json"]
    *_, done = run("calibrate", "images", "--steps", "3", "-n", "8", *words, "-o", "found.yaml")
    found, model = read_sampling(work / "found.yaml"), load("images", precision="fp32")
    assert (found.guidance, found.guidance_least) == (2.0, 1.0)
    brief, whole = CFG(model.denoiser, 2.0, least=1.0), CFG(model.denoiser, 2.0)
    way = GaussianResidual.for_networks(bound=1.0)
    x, label = model.noise(8, 0), model.labels(8)
    *_, last = calibrate(brief, x, 3, way, teacher=whole, label=label)
    assert found.sampler == last.sampler
    asked = []
    model.denoiser.register_forward_pre_hook(lambda *_: asked.append(1))
    expected = sample(brief, x[:2], found.sampler, 3, label=label[:2])
    assert 3 < len(asked) < 6
    assert strict(done)["evaluations"] == len(asked)
    run("sample", "images", "--sampler", "found.yaml", "-n", "2", "-o", "few.npz")
    assert np.array_equal(np.load("few.npz")["images"], model.spec.to_arrays(expected))


def test_the_file_lies_beside_the_model_and_the_words_name_it(work, run):
    text = "\n".join(run("calibrate", "points", "--steps", "4", "-n", "8"))
    assert "use: scorefield sample points --sampler points/calibrated-4.yaml" in text
    assert read_sampling(work / "points" / "calibrated-4.yaml").steps == 4
    text = "\n".join(run("calibrate", "points", "--steps", "4", "-n", "8", "--weights", "raw"))
    assert "sample points --weights raw --sampler points/calibrated-4-raw.yaml" in text


def test_its_error_is_that_of_the_sampler_in_the_file(work, run, strict):
    """On the samples that judge, to the ends of 80 steps: what a few digits cost is in it."""
    *_, last = run("calibrate", "points", "--steps", "4", "-n", "16", "-o", "f.yaml", "--json")
    model = load("points", precision="fp32")
    sampler = read_sampling(work / "f.yaml").sampler
    x, cond = model.noise(16, 0), {}
    if model.classes:
        cond = {"label": model.labels(16)}
    whole = type(sampler).for_networks("integrate")
    ends = sample(model.guided(), x, whole, 80, **cond)
    # Asked as the command asks them: in a batch of another size float32 rounds otherwise.
    judging = {name: value[12:] for name, value in cond.items()}
    got = sample(model.guided(), x[12:], sampler, 4, **judging)
    apart = (got - ends[12:]).flatten(1).square().mean(1).sqrt()
    assert strict(last)["error"] == pytest.approx(float(apart.mean()), rel=1e-4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["points", "--steps", "1"], "steps must be at least 2, got 1"),
        (["points", "-n", "1"], "at least 2 samples, got 1"),
        (["images", "-n", "-3"], "the number of samples must be at least 1, got -3"),
        (["images", "--label", "77"], "label must lie in 0 to"),
        (["points", "-o", "points"], "cannot write a file points: there is a folder"),
        (["points", "-o", "found.txt"], "cannot write 'found.txt'; the ending is .yaml"),
        (["points", "--guidance-least", "1"], "--guidance-least 1 needs guidance"),
        (
            ["images", "--guidance", "2", "--guidance-least", "-1"],
            "must be at least 0 and finite, got -1",
        ),
        (["nowhere"], "no model at nowhere"),
    ],
)
def test_bad_requests(work, capsys, words, sentence):
    before = sorted(work.rglob("*.yaml"))
    assert main(["calibrate", *words]) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(work.rglob("*.yaml")) == before


def test_a_file_is_for_its_own_steps(work, run, capsys):
    run("calibrate", "points", "--steps", "3", "-n", "8", "-o", "three.yaml")
    assert main(["sample", "points", "--sampler", "three.yaml", "--steps", "5"]) == 2
    assert "3 levels were given for 5 steps" in capsys.readouterr().err
    assert main(["sample", "points", "--sampler", "none.yaml"]) == 2
    assert "cannot read the sampling none.yaml: No such file" in capsys.readouterr().err
    (work / "bad.yaml").write_text("steps: 3\nsampelr: dpm++\n")
    assert main(["sample", "points", "--sampler", "bad.yaml"]) == 2
    assert "did you mean 'sampler'" in capsys.readouterr().err
