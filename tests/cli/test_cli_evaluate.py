"""The commands evaluate and compare, through the command line."""

import json

from scorefield.cli.main import main

FEW = ["-n", "40", "--batch", "16", "--steps", "3"]


def failed(capsys, *words):
    """What is said of a command that is the user's mistake."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_a_run_is_evaluated(work, run, strict):
    lines = run("evaluate", "points", *FEW)
    text = "\n".join(lines)
    for words in ("energy distance", "floor", "features: pixels", "copies: ", "evaluation.html"):
        assert words in text
    found = strict((work / "points/evaluation.json").read_text(encoding="utf-8"))
    assert (found["count"], found["steps"], found["seed"]) == (40, 3, 0)
    assert (
        (work / "points/evaluation.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    )
    assert len(list((work / "points/evaluation").rglob("*.npy"))) == 3


def test_what_was_asked_for_is_in_the_result(work, run, strict):
    words = ["--sampler", "ddim", "sampler.eta=0.5", "--seed", "9", "-o", "found/a.json"]
    lines = run(
        *("evaluate", "points/model.safetensors", *FEW, *words, "data.seed=3", "--json"),
        *("--features", "pixels", "features.size=1"),
    )
    events = [strict(line) for line in lines]
    assert {event["event"] for event in events[:-1]} <= {"progress"}
    done = events[-1]
    found = strict((work / "found/a.json").read_text(encoding="utf-8"))
    assert {key: done[key] for key in found} == found
    assert found["sampler"]["kind"] == "ddim"
    assert found["sampler"]["eta"] == 0.5
    assert (found["seed"], found["data"]["dataset"]["seed"]) == (9, 3)
    assert (work / done["page"]).is_file()
    assert (work / "points/evaluation").is_dir()


def test_a_function_in_the_folder_one_is_in(work, run):
    (work / "halves_of.py").write_text(
        "def all(x):\n    return x.flatten(1) / 2\n", encoding="utf-8"
    )
    text = "\n".join(run("evaluate", "points", *FEW, "--features", "halves_of:all"))
    assert "features: halves_of:all (" in text


def test_other_weights_have_an_evaluation_of_their_own(work, run, strict):
    run("evaluate", "points", *FEW)
    before = (work / "points/evaluation.json").read_bytes()
    (work / "points/model.safetensors").rename(work / "points/raw.safetensors")
    run("evaluate", "points", *FEW, "--weights", "raw")
    run("evaluate", "points/raw.safetensors", *FEW)
    (work / "points/raw.safetensors").rename(work / "points/model.safetensors")
    assert (work / "points/evaluation.json").read_bytes() == before
    raw = strict((work / "points/evaluation-raw.json").read_text(encoding="utf-8"))
    assert raw["count"] == 40


def test_evaluations_are_compared(work, run, capsys):
    for steps, name in ((2, "a.json"), (3, "b.json")):
        run("evaluate", "points", *FEW[:-1], steps, "-o", name)
    text = "\n".join(run("compare", "a.json", "b.json"))
    for words in ("a.json", "b.json", "floor", "steps", "energy distance"):
        assert words in text
    (line,) = run("compare", "a.json", "b.json", "--json")
    assert json.loads(line)["results"].keys() == {"a.json", "b.json"}
    run("evaluate", "points", *FEW, "data.seed=5", "-o", "c.json")
    said = failed(capsys, "compare", "a.json", "c.json")
    assert "cannot be compared; they differ in: hash of the data" in said


def test_a_user_s_mistakes(work, capsys):
    for words, said in [
        (["images"], "choose with --features: inception or dinov2"),
        (["images", "--features", "digits"], "28×28 pixels, the data are (1, 12, 12)"),
        (["points", "--features", "pixls"], "did you mean 'pixels'?"),
        (["points", "--features", "a.b:c"], "No module named 'a'"),
        (["points", "features.size=3"], "needs features to set"),
        (["points", "--features", "a.b:c", "features.size=3"], "have no settings, got size"),
        (["points", "--features", "pixels", "features.sise=3"], "features: 'sise'"),
        (["points", "-n", "15"], "at least 16 samples, got 15"),
        (["points", "-o", "a.txt"], "cannot write 'a.txt'; the ending is .json"),
        (["points", "--label", "1"], "knows no labels"),
        (["points", "sampler.etta=1"], "etta"),
        (["nowhere"], "no model at nowhere"),
    ]:
        assert said in failed(capsys, "evaluate", *words)
    assert not list(work.rglob("evaluation*"))
    assert "at least 2 evaluations" in failed(capsys, "compare")
    assert "named once" in failed(capsys, "compare", "points", "points")
