"""Checks in a run: when they are made, what they leave alone, what becomes of them."""

import json
import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from scorefield.data.blocks import spread
from scorefield.data.mnist import MNIST10k
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.nets.engine import Engine
from scorefield.recipes import find_recipe
from scorefield.training import Trainer, read_log
from scorefield.training.health import Health
from scorefield.training.health.checks import Checks, ema_lag
from scorefield.training.health.losses import level_losses, network_loss
from scorefield.training.state import Position

CHECKED = "training.health_every=2steps"


def health(folder):
    return {line["step"]: line["health"] for line in read_log(folder) if "health" in line}


def checks_of(folder):
    return [line for line in read_log(folder) if "health" in line]


def state(folder):
    return load_file(max((folder / "state").iterdir()))


@pytest.mark.parametrize("kind", ["images", "points"])
def test_a_run_with_checks_is_the_run_without_bit_for_bit(tmp_path, recipe, kind):
    own = ["network.dropout=0.2"] if kind == "images" else []
    own.append("training.budget=4steps")
    plain = Trainer(recipe(kind, *own), tmp_path / "plain")
    checked = Trainer(recipe(kind, *own, CHECKED), tmp_path / "checked")
    torch.manual_seed(5)
    losses = [p.loss for p in plain]
    torch.manual_seed(5)
    seen = list(checked)
    assert [p.loss for p in seen if math.isfinite(p.loss)] == losses
    assert [p.step for p in seen if p.health] == [2, 4]
    one, other = state(tmp_path / "plain"), state(tmp_path / "checked")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert checked.run.network.training
    assert all(p.grad is None for p in checked.run.network.parameters())


def test_a_check_is_a_line_of_the_log_and_a_field_of_the_progress(tmp_path, recipe):
    trainer = Trainer(recipe("images", CHECKED, "training.budget=3steps"), tmp_path)
    seen = {p.step: p.health for p in trainer if p.health}
    assert {step: found.plain() for step, found in seen.items()} == health(tmp_path)
    assert seen.keys() == {2, 3}  # when it is due, and at the end
    (line,) = [line for line in read_log(tmp_path) if line["step"] == 2 and "health" in line]
    assert line.keys() == {"step", "images", "seconds", "health"}
    assert line["images"] == 32
    last = seen[3]
    assert list(last.levels) == sorted(last.levels)
    for losses in (last.ema, last.raw, last.train, last.ideal, last.gaussian):
        assert len(losses) == 8
        assert all(loss is not None and loss >= 0 for loss in losses)
    assert all(low <= high for low, high in zip(last.ideal, last.train, strict=True))
    assert last.ema != last.raw
    assert last.ema_lag > 0
    assert 0 <= last.data_share <= 1
    assert last.processes == 1
    # what does not change is the same at every check
    assert (seen[2].levels, seen[2].ideal) == (last.levels, last.ideal)


def test_losses_are_those_of_the_weights_named(tmp_path, recipe):
    trainer = Trainer(recipe("points", CHECKED), tmp_path)
    *_, last = trainer
    checks = Checks(trainer.recipe, trainer.run.data, trainer.run.denoiser, torch.device("cpu"))
    assert not isinstance(checks.held_out, str)
    with torch.no_grad():
        for denoiser, found in [
            (trainer.model.denoiser, last.health.ema),
            (trainer.run.denoiser, last.health.raw),
        ]:
            loss = network_loss(denoiser.eval(), torch.device("cpu"))
            assert level_losses(loss, checks.held_out, checks.times, 64) == pytest.approx(found)


def test_checks_go_on_after_a_resume_as_if_nothing_had_happened(tmp_path, recipe):
    words = [
        "training.budget=9steps",
        "training.checkpoint_every=4steps",
        CHECKED.replace("2", "3"),
    ]
    list(Trainer(recipe("points", *words), tmp_path / "straight"))
    run = iter(Trainer(recipe("points", *words), tmp_path / "cut"))
    for progress in run:
        if progress.step == 7:
            break
    run.close()
    list(Trainer(None, tmp_path / "cut", resume=True))
    straight, cut = health(tmp_path / "straight"), health(tmp_path / "cut")
    assert straight.keys() == {3, 6, 9}
    for found in (*straight.values(), *cut.values()):
        del found["data_share"]  # a time
    assert cut == straight


def test_a_run_that_goes_back_forgets_the_checks_after(tmp_path, recipe):
    trainer = Trainer(recipe("points", CHECKED), tmp_path)
    list(trainer)
    lines = checks_of(tmp_path)
    monitor, gone = trainer.run.monitor, trainer.run.monitor.checks.gradients[2]
    back = Position(4, lines[1]["seconds"])
    monitor.resume(back, lines[:2])
    assert monitor.score(back) == Health.of(lines[1]["health"]).score
    again = monitor(Position(6, 1.0), trainer.run.average.weights(), trainer.run.engine)
    assert again.gradient == gone
    assert again.noise_scale == lines[2]["health"]["noise_scale"]


def test_a_check_that_does_not_fit_into_memory_is_made_in_parts(tmp_path, recipe, monkeypatch):
    trainer = Trainer(recipe("points", CHECKED), tmp_path)
    *_, last = trainer
    made, tried = Checks._losses, []

    def small(self, network, samples, rows):
        tried.append(rows)
        if rows > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made(self, network, samples, rows)

    monkeypatch.setattr(Checks, "_losses", small)
    trainer.run.monitor.resume(trainer.run.position, checks_of(tmp_path)[:-1])
    found = trainer.run.monitor(
        trainer.run.position, trainer.run.average.weights(), trainer.run.engine
    )
    assert tried[:3] == [64, 32, 16]
    assert found.ema == pytest.approx(last.health.ema)
    assert found.noise_scale == pytest.approx(last.health.noise_scale)


def test_a_check_that_does_not_fit_at_all_does_not_end_the_run(tmp_path, recipe, monkeypatch):
    def none(self, network, samples, rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Checks, "_losses", none)
    said = list(Trainer(recipe("points", CHECKED), tmp_path))
    assert said[-1].step == 6
    notes = [p.note for p in said if p.warning]
    assert len(notes) == 3
    assert all("no check at step" in note and "does not fit" in note for note in notes)
    assert load(tmp_path).step == 6


def test_the_score_of_a_checkpoint_is_the_held_out_loss_there(tmp_path, recipe):
    words = ["training.checkpoint_every=4steps", "training.health_every=4steps"]
    list(Trainer(recipe("points", *words), tmp_path))
    found = {step: Health.of(line).score for step, line in health(tmp_path).items()}
    assert found.keys() == {4, 6}
    for step, score in found.items():
        with safe_open(tmp_path / "state" / f"step-{step:08d}.safetensors", "pt") as file:
            assert float(file.metadata()["score"]) == score


def test_without_a_test_split_the_training_loss_is_measured_and_the_reason_given(
    tmp_path, recipe, few, monkeypatch
):
    def load(self, split="train"):
        if split == "test":
            raise InputError("there is no test split; hold a share out, as in data.holdout=0.1")
        return few

    chosen = recipe("images", CHECKED)
    monkeypatch.setattr(MNIST10k, "load", load)
    notes = [p.note for p in Trainer(chosen, tmp_path) if "held-out" in p.note]
    assert len(notes) == 1
    assert notes[0].endswith("hold a share out, as in data.holdout=0.1")
    found = health(tmp_path)
    assert all(line["held_out"] is None and len(line["train"]) == 8 for line in found.values())


def test_checks_can_be_off_and_nothing_else(tmp_path, recipe):
    list(Trainer(recipe("points", "training.health_every=off"), tmp_path))
    assert health(tmp_path) == {}
    with pytest.raises(InputError, match="'sometimes' is not a budget"):
        recipe("points", "training.health_every=sometimes")
    assert json.loads((tmp_path / "recipe.json").read_text())["training"]["health_every"] == "off"
    assert find_recipe("moons").training.health_every == "60s"


def test_compiled_code_is_neither_called_nor_lost(tmp_path, recipe):
    def compiled(*args, **kwargs):
        raise AssertionError("called with another shape, which would compile it anew")

    trainer = Trainer(recipe("points"), tmp_path)
    list(trainer)
    trainer.run.network._compiled_call_impl = compiled
    found = trainer.run.monitor(
        trainer.run.position, trainer.run.average.weights(), trainer.run.engine
    )
    assert len(found.ema) == 8
    assert trainer.run.network._compiled_call_impl is compiled


def test_the_lag_of_the_average_is_a_share_of_the_weights():
    network = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, 4.0]]))
    assert ema_lag({"weight": torch.tensor([[3.0, 3.0]])}, network) == pytest.approx(1 / 5)


def test_samples_that_are_looked_at_come_from_everywhere():
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    found = spread(1000, 10)
    assert (found // 100).tolist() == list(range(10))
    assert len(set((found % 100).tolist())) > 5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_averaged_weights_are_measured_in_every_precision(tmp_path, recipe, precision):
    """Autocast keeps the weights that it has cast: the next ones are not to be taken for them."""
    trainer = Trainer(recipe("images", f"training.precision={precision}"), tmp_path)
    list(trainer)
    network = trainer.run.network
    average = {k: v / 2 for k, v in network.state_dict().items()}
    found = trainer.run.monitor.checks(trainer.run.position.step, average, Engine(precision), 16)
    other = trainer.run.monitor.checks(
        trainer.run.position.step, network.state_dict(), Engine(precision), 16
    )
    assert found.raw == other.raw == other.ema
    network.load_state_dict(average)
    straight = trainer.run.monitor.checks(trainer.run.position.step, average, Engine(precision), 16)
    assert found.ema == straight.ema
    assert found.train == straight.train


@pytest.mark.parametrize("own", ["weighting=uncertainty", "times=importance", "weighting=unit"])
def test_a_noise_scale_is_of_the_loss_that_is_trained(tmp_path, recipe, own):
    list(Trainer(recipe("points", CHECKED, f"objective.{own}"), tmp_path))
    found = {line["noise_scale"] is None for line in health(tmp_path).values()}
    assert found == {own != "weighting=unit"}
