"""A run that was cut off goes on as if it had not stopped."""

import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from scorefield.errors import InputError
from scorefield.models import load
from scorefield.recipes import to_dict
from scorefield.training import Trainer, averaged, read_log
from scorefield.training.checkpoints import Checkpoints
from scorefield.training.statefile import digest

EVERY = "training.checkpoint_every=3steps"


def everything(trainer):
    """All numbers that a run goes on from, by name."""
    found = {f"network.{k}": v for k, v in trainer.run.network.state_dict().items()}
    found |= {f"average.{k}": v for k, v in enumerate(trainer.run.average.averages)}
    for number, optimizer in enumerate(trainer.run.stepper.optimizers):
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
    assert resumed.run.position.step == 3
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
    assert resumed.run.training.lr == 0.0123
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


def test_files_that_somebody_put_there_are_passed_over(tmp_path, recipe, previews):
    straight = Trainer(recipe("images", EVERY), tmp_path / "straight")
    list(straight)
    run = tmp_path / "run"
    cut_off(recipe("images", EVERY), run, 5)
    strays = [run / "state" / "step-abc.safetensors", run / "averages" / "step-foo.safetensors"]
    strays += [run / "averages" / "last-.safetensors", run / "samples" / "step-final.png"]
    for stray in strays:
        stray.write_bytes(b"mine")
    next((run / "samples").glob("step-0*")).write_bytes(b"no picture")
    with (run / "log.jsonl").open("ab") as log:
        log.write(b'5\n{"note": "no step"}\n\xff\xfe\n[1]\n')
    resumed = Trainer(None, run, resume=True)
    assert resumed.run.position.step == 3
    list(resumed)
    assert same(resumed, straight)
    assert [stray.read_bytes() for stray in strays] == [b"mine"] * 4
    averaged(run, 0.1)
    steps = [line["step"] for line in read_log(run)]
    assert steps == sorted(steps)


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


def damaged(path, how):
    """Do to a file what disks do."""
    content = bytearray(path.read_bytes())
    if how == "lost":
        path.unlink()
        return
    if how == "flipped":
        content[-7] ^= 16
    path.write_bytes(
        {"cut": content[:-5], "empty": b"", "torn": content[:-9] + bytes(9)}.get(how, content)
    )


@pytest.mark.parametrize("how", ["lost", "cut", "empty", "torn", "flipped"])
def test_the_state_before_the_newest_stands_in_for_it(tmp_path, recipe, how):
    chosen = recipe("points", "training.budget=9steps", EVERY)
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    cut_off(chosen, tmp_path / "run", 7)
    folder = tmp_path / "run" / "state"
    damaged(folder / "step-00000006.safetensors", how)
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert resumed.run.position.step == 3
    seen = list(resumed)
    notes = [progress for progress in seen if progress.note]
    assert len(notes) == (how != "lost")
    assert all(note.warning and "step-00000006" in note.note for note in notes)
    assert all("going on from" in note.note and "step-00000003" in note.note for note in notes)
    assert same(resumed, straight)
    # the run is whole again: its newest state is good, and the bad one is out of the way
    assert Trainer(None, tmp_path / "run", resume=True).run.position.step == 9


def test_a_damaged_state_is_set_aside_before_it_costs_a_good_one(tmp_path, recipe):
    chosen = recipe("points", "training.budget=20steps", EVERY)
    cut_off(chosen, tmp_path, 7)  # states of 3 and 6
    damaged(tmp_path / "state" / "step-00000006.safetensors", "flipped")
    trainer = Trainer(None, tmp_path, resume=True)
    for progress in trainer:
        if progress.step == 5 and not progress.note:
            trainer.stop()
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    good, bad = [f"step-{k:08d}.safetensors" for k in (3, 5)], "step-00000006.safetensors.bad"
    assert names == [*good, bad]
    assert Trainer(None, tmp_path, resume=True).run.position.step == 5


def test_no_state_is_good(tmp_path, recipe):
    cut_off(recipe("points", "training.budget=9steps", EVERY), tmp_path, 7)
    for path in (tmp_path / "state").iterdir():
        damaged(path, "torn")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(
        InputError, match=r"no state in .* can be used: step-00000006.*step-00000003"
    ):
        Trainer(None, tmp_path, resume=True)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def rewritten(path, **keys):
    """A state file with keys of its header replaced (None: left out) and a checksum that is right."""
    with safe_open(path, framework="pt") as content:
        header = {k: v for k, v in {**content.metadata(), **keys}.items() if v is not None}
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    header.pop("digest", None)
    save_file(tensors, path, metadata={**header, "digest": digest(header, tensors)})


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"format": "3"}, "has state format 3; this version reads up to 2"),
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


def test_a_state_of_the_first_format_goes_on(tmp_path, recipe):
    chosen = recipe("images", EVERY, "training.optimizer=muon")
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    half = cut_off(chosen, tmp_path / "run", 3)
    # as the first version wrote it: no checksum, no recipe, no versions
    place = (
        '{"step": 3, "seconds": 1.5, "precision": "fp32", "channels_last": true, "compiled": false}'
    )
    header = {"format": "1", "position": place}
    path = tmp_path / "run" / "state" / "step-00000003.safetensors"
    save_file({k: v.contiguous() for k, v in everything(half).items()}, path, metadata=header)
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert (resumed.run.position.step, resumed.run.position.seconds) == (3, 1.5)
    list(resumed)
    assert same(resumed, straight)


def test_the_best_state_is_kept_beside_the_last(tmp_path, recipe):
    trainer = Trainer(recipe("points"), tmp_path / "run")
    found = Checkpoints(tmp_path / "state", keep=2)
    assert found.best() is None
    scores = [None, 0.5, 0.3, 0.4, None, float("nan"), 0.35]
    kept = [[0], [0, 1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [2, 5, 6]]
    for step, score in enumerate(scores):
        found.write(
            replace(trainer.run.position, step=step), trainer.run.parts, trainer.recipe, score
        )
        assert [int(path.name[5:13]) for path in found.files()] == kept[step]
    assert found.best().name == "step-00000002.safetensors"


def test_as_many_states_are_kept_as_the_recipe_says(tmp_path, recipe):
    list(Trainer(recipe("points", "training.checkpoint_every=1steps", "training.keep=4"), tmp_path))
    assert [int(path.name[5:13]) for path in Checkpoints(tmp_path / "state").files()] == [
        3,
        4,
        5,
        6,
    ]
    with pytest.raises(InputError, match="keep must be at least 1, got 0"):
        recipe("points", "training.keep=0")


def test_a_model_that_is_older_than_the_last_state_is_written_again(tmp_path, recipe):
    chosen = recipe("points", EVERY)
    walk = iter(Trainer(chosen, tmp_path))
    for _ in range(4):
        next(walk)
    older = (tmp_path / "model.safetensors").read_bytes()  # of step 3
    list(walk)
    (tmp_path / "model.safetensors").write_bytes(older)  # as if killed between the two files
    assert list(Trainer(None, tmp_path, resume=True)) == []
    assert load(tmp_path).step == 6


def test_a_lost_recipe_is_found_in_the_state(tmp_path, recipe):
    cut_off(recipe("points", EVERY, "training.lr=0.0123"), tmp_path, 3)
    lost = (tmp_path / "recipe.json").read_bytes()
    (tmp_path / "recipe.json").unlink()
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="already has a run"):
        Trainer(recipe("points"), tmp_path)
    first, *rest = Trainer(None, tmp_path, resume=True)
    assert first.warning
    assert "recipe.json was lost" in first.note
    assert rest[-1].step == 6
    assert (tmp_path / "recipe.json").read_bytes() == lost


def test_a_model_without_a_state_is_not_written_over(tmp_path, recipe):
    list(Trainer(recipe("points"), tmp_path))
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    for name in ("", "recipe.json"):
        if name:
            (tmp_path / name).unlink()
        with pytest.raises(InputError, match="has a model, and no state to go on"):
            Trainer(None, tmp_path, resume=True)
    assert load(tmp_path).step == 6


def test_a_larger_budget_is_laid_out_over_the_whole_run(tmp_path, recipe):
    words = ["training.warmup=0", "training.decay=0.5"]
    list(Trainer(recipe("points", *words), tmp_path))
    longer = Trainer(None, tmp_path, resume=True, budget="20steps")
    first, *rest = longer
    assert first.note == "the budget of the run was 6steps, and is 20steps from here"
    assert [p.step for p in rest] == list(range(7, 21))
    peak = longer.run.training.lr
    assert [p.lr for p in rest] == pytest.approx(
        [peak] * 4 + [peak * (1 - k / 20) / 0.5 for k in range(10, 20)]
    )
    assert json.loads((tmp_path / "recipe.json").read_text())["training"]["budget"] == "20steps"
    assert (load(tmp_path).step, load(tmp_path).recipe) == (20, longer.recipe)
    assert any("20steps from here" in line.get("note", "") for line in read_log(tmp_path))
    # the same words again: nothing is left to do
    assert list(Trainer(None, tmp_path, resume=True, budget="20steps")) == []


def test_an_unfinished_run_gets_another_budget(tmp_path, recipe):
    cut_off(recipe("points", EVERY), tmp_path, 4)
    *_, last = Trainer(None, tmp_path, resume=True, budget="80 images")
    assert last.step == 5
    for budget in ("2steps", "60 images", "0.000001s"):
        with pytest.raises(InputError, match=f"a budget of {budget}, counted .* has 5 steps"):
            Trainer(None, tmp_path, resume=True, budget=budget)


def test_a_run_stops_after_its_step_when_it_is_told_to(tmp_path, recipe):
    chosen = recipe("points")
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    trainer, seen = Trainer(chosen, tmp_path / "run"), []
    for progress in trainer:
        seen.append(progress.step)
        if progress.step == 4:
            trainer.stop()
    assert seen == [1, 2, 3, 4]
    assert (load(tmp_path / "run").step, trainer.is_finished) == (4, False)
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert resumed.run.position.step == 4
    list(resumed)
    assert same(resumed, straight)


def test_a_run_that_is_stopped_before_its_first_step_leaves_no_model(tmp_path, recipe):
    trainer = Trainer(recipe("points"), tmp_path)
    trainer.stop()
    assert list(trainer) == []
    assert not (tmp_path / "model.safetensors").exists()
    assert list(Trainer(None, tmp_path, resume=True))[-1].step == 6


def test_two_runs_do_not_write_to_one_folder(tmp_path, recipe):
    walk = iter(Trainer(recipe("points", EVERY), tmp_path))
    next(walk)
    second = Trainer(None, tmp_path, resume=True)
    with pytest.raises(InputError, match=f"process {os.getpid()} on .* is training in"):
        next(iter(second))
    list(walk)
    # and what was opened before the other went on does not undo that
    with pytest.raises(InputError, match=r"has gone on to step-00000006.*; open it again"):
        next(iter(second))
    assert load(tmp_path).step == 6


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
    assert set(calls) == {trainer.run.network}
    assert trainer.run.engine.compiled


def test_a_compiled_run_goes_on_where_nothing_compiles(compiled, monkeypatch):
    def refuse(self, *args, **options):
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(nn.Module, "compile", refuse)
    seen = list(Trainer(None, compiled, resume=True))
    assert any("no compiler on this machine" in progress.note for progress in seen)
    assert [progress.step for progress in seen if not progress.note] == [4, 5, 6]
