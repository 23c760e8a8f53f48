"""The command calibrate, through the command line."""

import pytest

from scorefield.cli.main import main


@pytest.mark.parametrize("folder", ["images", "points"])
def test_its_words_are_understood_by_sample(work, run, folder, strict):
    *_, last = run("calibrate", folder, "--steps", "3", "-n", "4", "--json")
    done = strict(last)
    assert done["error"] <= done["before"]
    final = "denoise" if folder == "images" else "integrate"
    assert done["settings"][0] == f"sampler.final={final}"
    words = [*done["settings"], "--sampler", "gaussian-residual", "--steps", "3", "-n", "2"]
    run("sample", folder, *words, "-o", "few.npz")
    text = "\n".join(run("calibrate", folder, "--steps", "3", "-n", "4"))
    assert f"scorefield sample {folder} --sampler gaussian-residual --steps 3" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["points", "--steps", "1"], "steps must be at least 2, got 1"),
        (["points", "-n", "1"], "at least 2 samples, got 1"),
        (["images", "-n", "-3"], "the number of samples must be at least 1, got -3"),
        (["images", "--label", "77"], "label must lie in 0 to"),
        (["nowhere"], "no model at nowhere"),
    ],
)
def test_bad_requests(work, capsys, words, sentence):
    assert main(["calibrate", *words]) == 2
    assert sentence in capsys.readouterr().err
