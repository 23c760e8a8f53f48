"""A run that was cut off goes on as if it had not stopped."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from scorefield.errors import InputError
from scorefield.models import load
from scorefield.recipes import to_dict
from scorefield.training import Trainer, read_log

EVERY = "training.checkpoint_every=3steps"


def everything(trainer):
    """All numbers that a run goes on from, by name."""
    found = {f"network.{k}": v for k, v in trainer.network.state_dict().items()}
    found |= {f"average.{k}": v for k, v in enumerate(trainer.average.averages)}
    for number, optimizer in enumerate(trainer.stepper.optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                found[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
    return found


def same(one, other):
    one, other = everything(one), everything(other)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def cut_off(recipe, out, after):
    """A run that is left in the middle, without a word."""
    trainer = Trainer(recipe, out)
    for progress in trainer:
        if progress.step == after:
            return trainer
    raise AssertionError("the run was over")


@pytest.mark.parametrize(
    ("kind", "optimizer", "after"),
    [("points", "adamw", 3), ("points", "muon", 5), ("images", "adamw", 5), ("images", "muon", 3)],
)
def test_resumed_is_straight_bit_for_bit(tmp_path, recipe, kind, optimizer, after):
    chosen = recipe(kind, EVERY, f"training.optimizer={optimizer}")
    straight = Trainer(chosen, tmp_path / "straight")
    whole = list(straight)
    cut_off(chosen, tmp_path / "run", after)
    resumed = Trainer(chosen, tmp_path / "run", resume=True)
    assert resumed.position.step == 3
    rest = list(resumed)
    assert [(p.step, p.loss, p.lr, p.grad_norm) for p in rest] == [
        (p.step, p.loss, p.lr, p.grad_norm) for p in whole[3:]
    ]
    assert same(resumed, straight)
    assert any(k.startswith("optimizer.") and v.any() for k, v in everything(resumed).items())
    models = [load(tmp_path / name) for name in ("straight", "run")]
    assert torch.equal(models[0].sample(2, steps=3), models[1].sample(2, steps=3))


def test_pictures_on_the_way_do_not_change_a_run(tmp_path, recipe, previews):
    often = Trainer(recipe("images", "training.checkpoint_every=2steps"), tmp_path / "often")
    rarely = Trainer(recipe("images"), tmp_path / "rarely")
    for trainer in (often, rarely):
        list(trainer)
    pictures = [len(list((tmp_path / name / "samples").iterdir())) for name in ("often", "rarely")]
    assert pictures == [3, 1]
    assert same(often, rarely)


def test_dropout_is_resumed_too(tmp_path, recipe):
    chosen = recipe("points", EVERY, "network.dropout=0.3")
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    cut_off(chosen, tmp_path / "run", 3)
    resumed = Trainer(chosen, tmp_path / "run", resume=True)
    list(resumed)
    assert same(resumed, straight)


def test_the_recipe_in_the_folder_is_used_when_none_is_given(tmp_path, recipe):
    cut_off(recipe("points", EVERY, "training.lr=0.0123"), tmp_path, 3)
    resumed = Trainer(None, tmp_path, resume=True)
    assert resumed.training.lr == 0.0123
    assert list(resumed)[-1].step == 6


def test_another_recipe_is_refused_with_the_difference(tmp_path, recipe):
    cut_off(recipe("points", EVERY), tmp_path, 3)
    with pytest.raises(InputError, match=r"another recipe: training\.seed is 0 there and 7 here"):
        Trainer(recipe("points", EVERY, "training.seed=7"), tmp_path, resume=True)
    other = recipe("points", EVERY, "schedule=subvp")
    with pytest.raises(InputError, match=r"schedule\.kind is vp there and subvp here"):
        Trainer(other, tmp_path, resume=True)


def test_log_lines_of_lost_steps_are_written_once(tmp_path, recipe):
    chosen = recipe("points", "training.budget=45steps", "training.checkpoint_every=15steps")
    cut_off(chosen, tmp_path, 22)  # the log has step 20, the state step 15
    with (tmp_path / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 23, "lo')  # and its last line is torn
    list(Trainer(None, tmp_path, resume=True))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 15, 20, 30, 40, 45]
    assert lines == read_log(tmp_path)


def test_a_run_without_a_checkpoint_starts_again(tmp_path, recipe):
    chosen = recipe("points")
    cut_off(chosen, tmp_path / "run", 2)
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert [progress.step for progress in resumed] == [1, 2, 3, 4, 5, 6]
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    assert same(resumed, straight)


def test_resume_starts_a_run_if_there_is_none(tmp_path, recipe):
    assert list(Trainer(recipe("points"), tmp_path / "run", resume=True))[-1].step == 6


def test_nothing_to_resume(tmp_path):
    with pytest.raises(InputError, match=f"no run in {tmp_path} to resume"):
        Trainer(None, tmp_path, resume=True)
    with pytest.raises(InputError, match=r"no run in .*nowhere to resume"):
        Trainer(None, tmp_path / "nowhere", resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_has_nothing_left_to_do(tmp_path, recipe):
    list(Trainer(recipe("points"), tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert list(Trainer(None, tmp_path, resume=True)) == []
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_finished_run_without_its_model_gets_it_back(tmp_path, recipe):
    list(Trainer(recipe("points"), tmp_path))
    before = load(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert list(Trainer(None, tmp_path, resume=True)) == []
    after = load(tmp_path)
    assert (after.recipe, after.step) == (before.recipe, before.step)
    assert torch.equal(after.sample(2, steps=3), before.sample(2, steps=3))


@pytest.mark.parametrize("damage", ["lost", "cut", "empty"])
def test_the_state_before_the_newest_stands_in_for_it(tmp_path, recipe, damage):
    chosen = recipe("points", "training.budget=9steps", EVERY)
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    cut_off(chosen, tmp_path / "run", 7)
    newest = tmp_path / "run" / "state" / "step-00000006.safetensors"
    content = {"cut": newest.read_bytes()[:-5], "empty": b""}
    if damage == "lost":
        newest.unlink()
    else:
        newest.write_bytes(content[damage])
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert resumed.position.step == 3
    list(resumed)
    assert same(resumed, straight)


def rewritten(path, **keys):
    """A state file with keys of its header replaced (None: left out)."""
    with safe_open(path, framework="pt") as content:
        header = {k: v for k, v in {**content.metadata(), **keys}.items() if v is not None}
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata=header)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"format": "2"}, "has state format 2; this version reads 1"),
        ({"format": None}, "has state format None; this version reads 1"),
        ({"position": None}, "step-00000003"),
        ({"position": "[]"}, "step-00000003"),
        ({"position": '{"step": 3, "epoch": 1}'}, "step-00000003"),
    ],
)
def test_a_state_that_makes_no_sense(tmp_path, recipe, keys, sentence):
    cut_off(recipe("points", EVERY), tmp_path, 3)
    rewritten(tmp_path / "state" / "step-00000003.safetensors", **keys)
    with pytest.raises(InputError, match=sentence):
        Trainer(None, tmp_path, resume=True)


def test_a_state_of_another_network(tmp_path, recipe):
    trainer = cut_off(recipe("points", EVERY), tmp_path, 3)
    wider = replace(trainer.recipe, network=replace(trainer.recipe.network, width=16))
    (tmp_path / "recipe.json").write_text(json.dumps(to_dict(wider)))
    with pytest.raises(
        InputError, match=r"step-00000003\.safetensors is .*of another recipe"
    ) as caught:
        Trainer(None, tmp_path, resume=True)
    assert "\n" not in str(caught.value)


def test_a_recipe_file_that_is_broken(tmp_path, recipe):
    cut_off(recipe("points", EVERY), tmp_path, 3)
    (tmp_path / "recipe.json").write_text('{"data": ')
    with pytest.raises(InputError, match=r"recipe\.json is not JSON"):
        Trainer(None, tmp_path, resume=True)
    (tmp_path / "recipe.json").write_text('{"data": "moon"}')
    with pytest.raises(InputError, match=r"did you mean 'moons'|lacks network"):
        Trainer(None, tmp_path, resume=True)


@pytest.fixture
def compiled(tmp_path, recipe):
    """A run that was cut off at step 3 and whose network was compiled."""
    cut_off(recipe("points", EVERY), tmp_path, 3)
    path = tmp_path / "state" / "step-00000003.safetensors"
    with safe_open(path, framework="pt") as content:
        position = json.loads(content.metadata()["position"])
    rewritten(path, position=json.dumps({**position, "compiled": True}))
    return tmp_path


def test_a_compiled_run_is_compiled_when_it_goes_on(compiled, monkeypatch):
    calls = []

    def compile_(self, *args, **options):
        calls.append(self)

    monkeypatch.setattr(nn.Module, "compile", compile_)
    trainer = Trainer(None, compiled, resume=True)
    assert [progress.step for progress in trainer if not progress.note] == [4, 5, 6]
    assert set(calls) == {trainer.network}
    assert trainer.engine.compiled


def test_a_compiled_run_goes_on_where_nothing_compiles(compiled, monkeypatch):
    def refuse(self, *args, **options):
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(nn.Module, "compile", refuse)
    seen = list(Trainer(None, compiled, resume=True))
    assert any("no compiler on this machine" in progress.note for progress in seen)
    assert [progress.step for progress in seen if not progress.note] == [4, 5, 6]
