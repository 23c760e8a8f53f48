"""Disks that fail: a run ends in a sentence, and its last state is what it was."""

import os

import pytest
import torch

from scorefield.errors import InputError
from scorefield.training import Trainer, read_log
from scorefield.training.checkpoints import Checkpoints

WORDS = ["training.budget=9steps", "training.checkpoint_every=3steps"]


def interrupted(trainer, step, happens):
    """What a run says when something happens to its folder after a step."""
    with pytest.raises(InputError) as caught:  # noqa: PT012
        for progress in trainer:
            if progress.step == step:
                happens()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def goes_on_exactly(out, recipe, folder):
    resumed, straight = Trainer(None, out, resume=True), Trainer(recipe, folder)
    for trainer in (resumed, straight):
        list(trainer)
    one, other = (Checkpoints(f / "state").newest().tensors for f in (out, folder))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("place", "step"),
    [
        ("state", 3),
        pytest.param("model.safetensors", 6, marks=pytest.mark.slow),
    ],
)
def test_something_in_the_way_of_a_save(tmp_path, recipe, place, step):
    stopped_and_resumed(tmp_path, recipe, place, step)


@pytest.mark.slow
def test_something_in_the_way_of_a_picture(tmp_path, recipe, previews):
    stopped_and_resumed(tmp_path, recipe, "samples", 6)


def stopped_and_resumed(tmp_path, recipe, place, step):
    chosen, out = recipe("points", *WORDS), tmp_path / "run"

    def block():
        (out / place).rename(tmp_path / "aside")
        if place == "model.safetensors":
            (out / place).mkdir()
        else:
            (out / place).write_text("in the way")

    sentence = interrupted(Trainer(chosen, out), 4, block)
    assert sentence.startswith(f"cannot write {out / place}")
    assert not [path for path in out.rglob("*") if "partial" in path.name]
    (out / place).rmdir() if (out / place).is_dir() else (out / place).unlink()
    (tmp_path / "aside").rename(out / place)
    assert Trainer(None, out, resume=True).run.position.step == step
    assert goes_on_exactly(out, chosen, tmp_path / "straight")


def test_a_log_on_a_full_disk(tmp_path, recipe):
    chosen = recipe("points", "training.budget=45steps", "training.checkpoint_every=15steps")
    out = tmp_path / "run"
    log = out / "log.jsonl"

    def fill():
        log.rename(tmp_path / "aside")
        log.symlink_to("/dev/full")  # where all writing finds the disk full

    sentence = interrupted(Trainer(chosen, out), 18, fill)
    assert sentence.startswith(f"cannot write {log}: No space left on device (")
    assert f" MB free in {out})" in sentence
    log.unlink()
    (tmp_path / "aside").rename(log)
    assert Trainer(None, out, resume=True).run.position.step == 15
    assert goes_on_exactly(out, chosen, tmp_path / "straight")
    assert [line["step"] for line in read_log(out)] == [1, 15, 20, 30, 40, 45]


def test_a_lost_log_is_begun_again(tmp_path, recipe):
    out = tmp_path / "run"
    for progress in Trainer(recipe("points", *WORDS), out):
        if progress.step == 4:
            break
    (out / "log.jsonl").unlink()
    list(Trainer(None, out, resume=True))
    assert [line["step"] for line in read_log(out)] == [6, 9]


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path, recipe):
    out = tmp_path / "run"
    for progress in Trainer(recipe("points", *WORDS), out):
        if progress.step == 4:
            break
    ours = [
        out / "state" / f".{os.getpid()}-abc.partial.safetensors",
        out / f".{os.getpid()}-d.partial.json",
    ]
    other = out / "samples" / ".1-abc.partial.png"
    for path in (*ours, other):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    list(Trainer(None, out, resume=True))
    assert [path for path in out.rglob("*") if "partial" in path.name] == [other]
