"""Runs that are killed go on as if they had not been; and a difference would be seen."""

import json

import pytest
import torch
from safetensors.torch import save_file

from scorefield.errors import InputError
from scorefield.verification.processes import finish
from scorefield.verification.resuming import _differing, _losses, newest, ordeal


def run(folder, weight, loss, step=4):
    (folder / "state").mkdir(parents=True)
    save_file(
        {"weight": weight, "moment": torch.ones(3)},
        folder / "state" / f"step-{step:08d}.safetensors",
    )
    (folder / "log.jsonl").write_text(json.dumps({"step": 4, "note": "compiled"}) + "\n")
    with (folder / "log.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, "loss": loss}) + "\n")
    return folder


def test_a_bit_is_a_difference(tmp_path):
    weight = torch.linspace(-1, 1, 5)
    whole = run(tmp_path / "whole", weight, 0.5)
    same = run(tmp_path / "same", weight.clone(), 0.5)
    assert (_differing(whole, same), _losses(whole, same)) == (0, 0)
    other = run(tmp_path / "other", torch.nextafter(weight, torch.ones(5)), 0.5 + 1e-12)
    assert (_differing(whole, other), _losses(whole, other)) == (1, 1)


def test_what_only_one_run_has_is_a_difference(tmp_path):
    whole = run(tmp_path / "whole", torch.ones(2), 0.5)
    later = run(tmp_path / "later", torch.ones(2), 0.5, step=6)
    assert _differing(whole, later) == 2  # files
    assert (newest(whole), newest(later), newest(tmp_path / "none")) == (4, 6, 0)


def test_a_run_that_fails_by_itself_is_told(tmp_path):
    with pytest.raises(InputError, match=r"ended with code \d+: .*no-such-module"):
        finish(["python3", "-m", "no-such-module", "-o"], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "kills"), [("fp32", 22), ("bf16", 3), ("compiled", 2)])
def test_killed_runs_are_straight_runs_bit_for_bit(way, kills):
    found = ordeal(way, kills, seed=1)
    assert (found.differing, found.losses, found.lost, found.kills) == (0, 0, 0, kills)
    assert found.torn >= kills // 4  # some kills must have come while a file was being written
