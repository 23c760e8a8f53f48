"""Numbers that go wrong: what is left out, where a run goes back to, and when it stops."""

import ast
import json
from pathlib import Path

import pytest
import torch

import scorefield
from scorefield.cli.main import main
from scorefield.core.objective import Objective
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.recipes import to_dict
from scorefield.training import Trainer, read_faults
from scorefield.training.faults import record
from scorefield.training.rates import learning_rate
from scorefield.training.run import Run
from scorefield.training.stepper import Stepper

TWELVE = ["training.budget=12steps", "training.checkpoint_every=3steps", "training.patience=2"]


def everything(trainer):
    return {
        f"{name}.{key}": value.clone()
        for name, part in trainer.run.parts.items()
        for key, value in part.tensors().items()
    }


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def poison(monkeypatch):
    """poison({4: 1}): the loss of step 4, from 1, is not finite the first time it is computed."""

    def inject(times, bad=float("nan")):
        left = dict(times)
        good = Stepper._loss

        def loss(self, engine, given, part):
            value = good(self, engine, given, part)
            if left.get(self.now, 0) > 0:
                left[self.now] -= 1
                return value * bad
            return value

        known = Stepper.gradients

        def gradients(self, engine, step, x0, label):
            self.now = step + 1
            return known(self, engine, step, x0, label)

        monkeypatch.setattr(Stepper, "now", 0, raising=False)
        monkeypatch.setattr(Stepper, "_loss", loss)
        monkeypatch.setattr(Stepper, "gradients", gradients)

    return inject


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_bad_batch_is_left_out_and_nothing_else(tmp_path, recipe, poison, bad):
    chosen = recipe("points", "training.ema=0.1")
    # The same steps by hand, but for the fourth.
    plain = Trainer(chosen, tmp_path / "plain")
    rates = [p.lr for p in Trainer(chosen, tmp_path / "rates")]
    plain.run.stepper.prepare()
    for step in (0, 1, 2, 4, 5):
        plain.run.stepper.gradients(plain.run.engine, step, *plain.run.batches(step))
        plain.run.stepper.update(plain.run.engine, rates[step])
        plain.run.average.update(step + 1)
        plain.run.profiles.update(step + 1)
    poison({4: 1}, bad)
    trainer = Trainer(chosen, tmp_path / "run")
    seen = list(trainer)
    assert [p.step for p in seen if not p.note] == [1, 2, 3, 5, 6]
    assert [p.step for p in seen if "left out" in p.note] == [4]
    assert same(everything(trainer), everything(plain))
    assert load(tmp_path / "run").step == 6
    (fault,) = read_faults(tmp_path / "run")
    assert (fault.step, fault.done, fault.precision) == (4, "left out", "fp32")
    assert fault.lr == pytest.approx(rates[3])
    assert read_faults(tmp_path / "rates") == []
    torn = (tmp_path / "run" / "faults.jsonl").read_bytes()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "faults.jsonl").write_bytes(torn[:-20])
    record(tmp_path / "torn", fault)
    assert repr(read_faults(tmp_path / "torn")) == repr([fault])  # NaN is not NaN
    (tmp_path / "torn" / "faults.jsonl").unlink()
    for line in (tmp_path / "run" / "faults.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)  # JSON has no NaN


def test_the_record_of_a_fault_gives_its_batch_back(tmp_path, recipe, poison, monkeypatch):
    given = []
    good = Objective.losses

    def loss(self, denoiser, *args):
        given.append(args)
        return good(self, denoiser, *args)

    monkeypatch.setattr(Objective, "losses", loss)
    poison({5: 1})
    for _ in Trainer(recipe("images", "training.checkpoint_every=2steps"), tmp_path):
        pass
    seen = given[-2]  # of step 5; that of step 6 is the last
    (fault,) = read_faults(tmp_path)
    trainer = Trainer(None, tmp_path, resume=True)
    again = trainer.drawn(fault.step)
    for one, other in zip(again, seen, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)
    own, _ = trainer.run.data.batch(torch.tensor(fault.samples))
    assert torch.equal(own, again[0])


def test_a_burst_that_ends_is_rolled_back_and_survived(tmp_path, recipe, poison):
    poison({8: 1, 9: 1})
    chosen = recipe("points", *TWELVE, "training.decay=0", "training.warmup=0")
    trainer = Trainer(chosen, tmp_path)
    seen = list(trainer)
    steps = [p.step for p in seen if not p.note]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 12]
    rates = [p.lr for p in seen if not p.note]
    peak = trainer.run.training.lr
    assert rates == [peak] * 7 + [peak / 2] * 6
    notes = [p.note for p in seen if p.note]
    assert "step 6" in notes[-1]
    assert "0.5 of the learning rate" in notes[-1]
    assert [f.done for f in read_faults(tmp_path)] == ["left out", "rolled back"]
    assert trainer.run.position.roll_backs == 0  # as the run has got further
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)


def test_a_burst_before_the_first_checkpoint_goes_back_to_the_start(tmp_path, recipe, poison):
    poison({2: 1, 3: 1})
    words = ["training.budget=5steps", "training.patience=2", "training.checkpoint_every=99steps"]
    slow = Trainer(recipe("points", *words, "training.lr=1e-3"), tmp_path / "slow")
    seen = list(slow)
    assert [p.step for p in seen if not p.note] == [1, 1, 2, 3, 4, 5]
    half = Trainer(recipe("points", *words, "training.lr=5e-4"), tmp_path / "half")
    list(half)
    assert same(everything(slow), everything(half))


def test_bad_numbers_everywhere_stop_the_run_with_a_report(tmp_path, recipe, poison):
    chosen = recipe("points", *TWELVE)
    poison(dict.fromkeys(range(5, 13), 99))
    trainer = Trainer(chosen, tmp_path)
    with pytest.raises(InputError, match=r"the loss is nan .* at step 6") as caught:
        list(trainer)
    assert "training.lr than 0.002" in str(caught.value)
    assert "faults.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)
    done = [f.done for f in read_faults(tmp_path)]
    assert done == ["left out", "rolled back"] * 3 + ["left out", "stopped"]
    rates = {f.step: f.lr for f in read_faults(tmp_path)}
    assert rates[6] == pytest.approx(learning_rate(trainer.run.training, 5, 5 / 12) / 8, rel=0.2)
    assert load(tmp_path).step == 3
    resumed = Trainer(None, tmp_path, resume=True)
    assert resumed.run.position.step == 3
    assert all(p.isfinite().all() for p in resumed.run.network.parameters())


def test_the_command_ends_with_code_2(tmp_path, recipe, poison, capsys):
    poison(dict.fromkeys(range(3, 13), 99))
    (tmp_path / "recipe.json").write_text(json.dumps(to_dict(recipe("points", *TWELVE))))
    assert main(["train", str(tmp_path / "recipe.json"), "-o", str(tmp_path / "run")]) == 2
    assert "roll-backs did not help" in " ".join(capsys.readouterr().err.split())


@pytest.fixture
def fragile(monkeypatch):
    """Step 5 is always bad, 7 and 8 are at more than a quarter of the learning rate."""
    step, gradients = Run.step, Stepper.gradients

    def stepping(self, batches, asked):
        self.stepper.factor = self.position.lr_factor
        return step(self, batches, asked)

    def bad(self, engine, number, x0, label):
        loss, norm = gradients(self, engine, number, x0, label)
        is_bad = number + 1 == 5 or (number + 1 in (7, 8) and self.factor > 0.25)
        return (float("nan") if is_bad else loss), norm

    monkeypatch.setattr(Run, "step", stepping)
    monkeypatch.setattr(Stepper, "gradients", bad)


OTHERS = [pytest.param(step, marks=pytest.mark.slow) for step in (4, 6, 7, 9, 11, 13)]


@pytest.mark.parametrize("after", [5, 8, 14, *OTHERS])
def test_resumed_in_the_middle_of_it_is_straight_bit_for_bit(tmp_path, recipe, fragile, after):
    chosen = recipe("points", *TWELVE)
    straight = Trainer(chosen, tmp_path / "straight")
    whole = [(p.step, bool(p.note)) for p in straight]
    assert [step for step, note in whole if not note] == [1, 2, 3, 4, 6, 6 + 1, 8, 9, 10, 11, 12]
    for count, _ in enumerate(Trainer(chosen, tmp_path / "run"), 1):
        if count == after:
            break
    resumed = Trainer(None, tmp_path / "run", resume=True)
    list(resumed)
    assert same(everything(resumed), everything(straight))
    assert resumed.run.position.lr_factor == straight.run.position.lr_factor == 0.25


def test_weights_that_are_not_finite_are_not_saved(tmp_path, recipe, monkeypatch):
    known = Stepper.update

    def update(self, engine, lr):
        known(self, engine, lr)
        self.count = getattr(self, "count", 0) + 1
        if self.count == 4:
            next(self.network.parameters()).data.fill_(float("nan"))

    monkeypatch.setattr(Stepper, "update", update)
    words = ["training.budget=9steps", "training.checkpoint_every=2steps", "training.patience=2"]
    trainer = Trainer(recipe("points", *words), tmp_path)
    seen = [p.step for p in trainer if not p.note]
    assert seen == [1, 2, 3, 4, 3, 4, 5, 6, 7, 8, 9]
    assert all(p.isfinite().all() for p in trainer.run.network.parameters())


def test_nothing_is_made_finite_in_silence():
    found = []
    for path in Path(scorefield.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
            if name in ("nan_to_num", "nan_to_num_"):
                found.append(f"{path}:{node.lineno}")
    assert found == []
