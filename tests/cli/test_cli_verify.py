"""`scorefield verify`: the table, the lines of JSON, the exit code, and a trained model."""

import sys

import pytest
import torch

import scorefield.cli.verify  # noqa: F401  (so that it can be patched)
from scorefield.cli.main import main
from scorefield.verification import Claim

FEW = (
    Claim("one holds", "a test", lambda place: 0.0, 1e-6),
    Claim("one is slow", "a test", lambda place: 0.0, 1e-6, slow=True),
)
BAD = Claim("one [fails]", "a test", lambda place: 2.0, 0.5, expected=1.0)
BROKEN = Claim("one raises", "a test", lambda place: 1 / 0, 0.5)


@pytest.fixture
def claims(monkeypatch):
    def use(*claims):
        monkeypatch.setattr(sys.modules["scorefield.cli.verify"], "CLAIMS", claims)

    return use


def test_table_and_verdict(run, claims):
    claims(*FEW)
    lines = run("verify")
    assert lines[0].split() == ["claim", "source", "measured", "expected", "tolerance", "result"]
    assert lines[1].split() == ["one", "holds", "a", "test", "0", "0", "±", "1e-06", "pass"]
    assert lines[-1] == "1 claims in 0 s: none failed; 1 more with --all"
    assert "one is slow" in "\n".join(run("verify", "--all"))


def test_failure_is_told_by_the_exit_code(capsys, claims):
    claims(*FEW, BAD, BROKEN)
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "one [fails]" in out
    assert "FAIL" in out
    assert "ZeroDivisionError: division by zero" in out
    assert "3 claims in 0 s: 2 failed" in out
    assert main(["verify", "--only", "holds"]) == 0


def test_json_lines(capsys, claims, strict):
    claims(*FEW, BAD, BROKEN)
    assert main(["verify", "--json", "--dtype", "float32"]) == 1
    lines = [strict(line) for line in capsys.readouterr().out.splitlines()]
    *findings, done = [line for line in lines if line["event"] != "progress"]
    assert [f["passed"] for f in findings] == [True, False, False]
    assert (findings[1]["measured"], findings[1]["expected"]) == (2.0, 1.0)
    assert (findings[2]["measured"], findings[2]["error"][:17]) == (None, "ZeroDivisionError")
    assert (done["event"], done["claims"], done["failed"], done["left"]) == ("done", 3, 2, 1)
    assert (done["dtype"], done["torch"]) == ("float32", torch.__version__)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["verify", "--only", "nonsense"], "no claim has 'nonsense' in its name"),
        (
            ["verify", "--only", "energy"],
            "the claims with 'energy' in their name take long: add --all",
        ),
        (["latent", "decode", "runs/nowhere", "z.npz", "--device", "cuda:77"], "device 'cuda:77'"),
        (["verify", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        (["verify", "runs/nowhere"], "no model at runs/nowhere"),
        (["verify", "--dtype", "float16"], "float16"),
    ],
)
def test_bad_input(capsys, words, hint):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert hint in err
    assert out == ""


def test_threads_are_given_back(run, claims):
    claims(*FEW)
    before = torch.get_num_threads()
    run("verify")
    assert torch.get_num_threads() == before


def test_a_trained_model(work, capsys, strict):
    """Six steps of training: a poor model, but each thing is measured."""
    assert main(["verify", "points", "--json"]) in (0, 1)
    lines = [strict(line) for line in capsys.readouterr().out.splitlines()]
    found = {line["claim"]: line for line in lines if line["event"] == "finding"}
    assert not any(f["error"].startswith(("Runtime", "Type", "Value")) for f in found.values())
    assert found["regret is the distance to the ideal, in SE"]["passed"]
    assert found["a sample alone and among others, σ_data"]["passed"]
    assert "64 training points" in found["regret is the distance to the ideal, in SE"]["source"]
    assert found["sampler ddim runs"]["passed"]
    assert found["σ/α = 1 σ_data: distance to the ideal, σ_data"]["passed"] is None
