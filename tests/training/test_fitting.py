"""Batches that do not fit, the scale of float16 losses, and the estimate of memory."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from scorefield.errors import InputError, is_out_of_memory
from scorefield.nets.engine import Engine
from scorefield.training import Trainer, read_log
from scorefield.training.fitting import until_it_fits
from scorefield.training.memory import Memory, Room, left_by_cgroups, saved_bytes, scaled
from scorefield.training.scaling import LossScale, loss_scale
from scorefield.training.stepper import Stepper


def real_failure():
    try:
        torch.empty(2**55, dtype=torch.uint8)
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (real_failure(), True),
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, is_one):
    assert is_out_of_memory(error) is is_one


def test_other_errors_pass():
    def fail(parts):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        until_it_fits(fail, 1, 8, lambda: None)


@pytest.fixture
def small_memory(monkeypatch):
    """small_memory(5): a pass of more than 5 rows fails, also in the middle of a batch."""

    known = Stepper._loss

    def limit(rows):
        def loss(self, engine, given, part):
            value = known(self, engine, given, part)
            if len(torch.arange(len(given[0]))[part]) > rows:
                raise real_failure()
            return value

        monkeypatch.setattr(Stepper, "_loss", loss)

    return limit


def gradients(trainer):
    trainer.run.network.zero_grad(set_to_none=True)
    loss, norm = trainer.run.stepper.gradients(Engine(), 3, *trainer.run.batches(3))
    grads = torch.cat([p.grad.flatten() for p in trainer.run.network.parameters()])
    return loss, norm, grads


@pytest.mark.parametrize("kind", ["points", "images"])
def test_a_batch_that_does_not_fit_has_the_same_gradient_in_parts(
    tmp_path, recipe, small_memory, kind
):
    trainer = Trainer(recipe(kind), tmp_path)
    for p in trainer.run.network.parameters():
        p.data.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    loss, norm, whole = gradients(trainer)
    small_memory(5)
    other, shorter, parts = gradients(trainer)
    assert trainer.run.stepper.split == 4  # 16 rows: 16, 8, then 4 at a time
    assert other == pytest.approx(loss, rel=1e-5)
    assert shorter == pytest.approx(norm, rel=1e-4)
    assert torch.allclose(parts, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.slow
def test_parts_are_remembered_and_told(tmp_path, recipe, small_memory):
    small_memory(5)
    chosen = recipe("points", "training.checkpoint_every=3steps")
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    assert straight.run.position.split == 4
    told = [line["note"] for line in read_log(tmp_path / "straight") if "note" in line]
    assert [note for note in told if "4 parts" in note]
    for progress in Trainer(chosen, tmp_path / "run"):
        if progress.step == 4 and not progress.note:
            break
    small_memory(99)  # a larger machine: the parts stay
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert resumed.run.stepper.split == 4
    list(resumed)
    assert resumed.run.stepper.split == 4
    for name, part in straight.run.parts.items():
        there = resumed.run.parts[name].tensors()
        assert all(torch.equal(value, there[key]) for key, value in part.tensors().items())


@pytest.mark.slow
def test_not_even_one_sample_fits(tmp_path, recipe, monkeypatch, small_memory):
    trainer = Trainer(recipe("points"), tmp_path)
    small_memory(0)
    with pytest.raises(InputError, match=r"does not fit into memory in 16 parts .*accumulate"):
        gradients(trainer)


def test_a_batch_is_split_where_the_estimate_says_so(tmp_path, recipe, monkeypatch):
    trainer = Trainer(recipe("images"), tmp_path)
    one = trainer.run.stepper.activations(Engine(), *trainer.run.batches(0))
    taken = 3 * sum(p.nbytes for p in trainer.run.network.parameters())
    averages = (trainer.run.average, trainer.run.profiles)  # kept as they begin, with the weights
    taken += sum(w.nbytes for part in averages for w in part.tensors().values())
    taken += sum(w.nbytes for w in trainer.run.network.state_dict().values())
    monkeypatch.setattr("scorefield.training.trainer.free_bytes", lambda device: taken + one // 3)
    first = next(iter(trainer))
    assert first.warning
    assert "4 parts" in first.note
    assert trainer.run.stepper.split == 4


def test_saved_activations_of_a_network_that_is_known():
    # A linear layer keeps its input, the squares theirs; the weight is there anyway.
    layer = nn.Linear(100, 50)

    def run(rows):
        x = torch.randn(rows, 100)
        return lambda: layer(x).square().sum()

    held = list(layer.parameters())
    one, two = (saved_bytes(run(rows), held) for rows in (1, 2))
    assert one == 4 * (100 + 50)
    assert scaled(one, two, 32) == saved_bytes(run(32), held) == 32 * one


def test_parts_until_there_is_room():
    needed = Memory(10, 10, 0, 10, 10, 20, 800, 6)
    assert [Room(needed, free).parts(1) for free in (900, 430, 230, 100)] == [1, 2, 4, 6]
    assert Room(needed, 100).is_short(6)


def test_limits_of_containers_count(tmp_path):
    assert left_by_cgroups(tmp_path) == []
    for name, text in (
        ("memory.max", "1000\n"),
        ("memory.current", "700\n"),
        ("memory.stat", "anon 500\ninactive_file 150\n"),
    ):
        (tmp_path / name).write_text(text)
    assert left_by_cgroups(tmp_path) == [450]
    (tmp_path / "memory.max").write_text("max\n")
    assert left_by_cgroups(tmp_path) == []


def test_the_scale_is_torchs():
    own, parameter = LossScale(), nn.Parameter(torch.ones(3))
    theirs = torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    pattern = [False] * 3 + [True] * 2000 + [False] + [True] * 2001
    for finite in pattern:
        theirs.scale(parameter.sum() * (1.0 if finite else float("inf"))).backward()
        theirs.step(optimizer)
        theirs.update()
        optimizer.zero_grad()
        own.adjust(finite=finite)
        assert own.scale == theirs.get_scale()
    again = LossScale()
    again.restore(own.tensors())
    assert (again.scale, again.good) == (own.scale, own.good)


def test_gradients_are_those_of_the_loss_without_its_scale(tmp_path, recipe):
    trainer = Trainer(recipe("points"), tmp_path)
    loss, norm, right = gradients(trainer)
    trainer.run.stepper.scaling = LossScale(2.0**10)
    again, other, found = gradients(trainer)
    assert (again, other) == pytest.approx((loss, norm), rel=1e-5)
    assert torch.allclose(found, right, rtol=1e-5, atol=1e-7)


def test_float16_needs_a_gpu(tmp_path, recipe):
    with pytest.raises(InputError, match="bf16, fp32 or auto"):
        Trainer(recipe("points", "training.precision=fp16"), tmp_path / "run")
    assert loss_scale("bf16", torch.device("cpu")) is None


def test_an_overflow_of_float16_is_no_fault(tmp_path, recipe, monkeypatch):
    # 2⁴⁰ times the loss overflows in float16; the scale comes down, and training goes on.
    monkeypatch.setattr("scorefield.training.stepper.loss_scale", lambda *args: LossScale(2.0**40))
    chosen = recipe("points", "training.precision=fp16", "training.budget=40steps")
    trainer = Trainer(chosen, tmp_path)
    before = [p.detach().clone() for p in trainer.run.network.parameters()]
    seen = list(trainer)
    assert not [p for p in seen if p.warning]
    assert not (tmp_path / "faults.jsonl").exists()
    assert 1 < trainer.run.stepper.scaling.scale < 2.0**40
    assert any(
        (p != q).any() for p, q in zip(trainer.run.network.parameters(), before, strict=True)
    )
    resumed = Trainer(None, tmp_path, resume=True)
    assert resumed.run.stepper.scaling.scale == trainer.run.stepper.scaling.scale


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_only_the_network_computes_in_few_bits(tmp_path, recipe, precision):
    trainer = Trainer(recipe("images"), tmp_path)
    schedule, parameterization = (
        trainer.run.denoiser.schedule,
        trainer.run.denoiser.parameterization,
    )
    t = torch.tensor([0.01, 0.5, 0.99])
    with Engine(precision).autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype != torch.float32  # it is on
        inside = [
            *schedule(t.double()),
            *parameterization.target(schedule, t.double()),
            schedule.log_snr(t.double()),
        ]
        x0, t, eps, label, _ = trainer.drawn(1)
        loss = trainer.recipe.objective.losses(trainer.run.denoiser, x0, t, eps, label)
    assert all(value.dtype == torch.float64 for value in inside)
    assert loss.dtype == torch.float32


SCRIPT = """
import re, sys, tempfile
from pathlib import Path
from scorefield.recipes import find_recipe
from scorefield.training import Trainer
from scorefield.nets.engine import Engine
from scorefield.training.memory import estimated
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
words = ["training.batch=" + sys.argv[1], "training.precision=fp32", "training.compile=off"]
trainer = Trainer(find_recipe("mnist10k", words), tempfile.mkdtemp())
first = trainer.run.batches(0)
run = trainer.run
needed = estimated(run.stepper, (run.average, run.profiles), run.data, first, copied=False).to_come(1)
Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
before = peak()
trainer.run.stepper.gradients(Engine(channels_last=True), 0, *first)
trainer.run.stepper.update(Engine(channels_last=True), 1e-3)
print(needed, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("batch", [128, 256])
def test_the_estimate_is_near_what_a_step_takes(batch):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(batch)], capture_output=True, text=True, check=True
    )
    needed, taken = map(int, done.stdout.split())
    assert taken / 2 < needed < 2 * taken


def test_an_estimate_without_room_for_two_is_made_of_one(tmp_path, recipe, monkeypatch):
    trainer, kept = Trainer(recipe("points"), tmp_path), []

    def small(run, held):
        if kept:
            raise torch.OutOfMemoryError("CUDA out of memory")
        kept.append(saved_bytes(run, held))
        return kept[0]

    monkeypatch.setattr("scorefield.training.memory.saved_bytes", small)
    x0, label = trainer.run.first
    assert trainer.run.stepper.activations(Engine(), x0, label) == kept[0] * len(x0)
    with pytest.raises(InputError, match="a single sample does not fit into memory"):
        trainer.run.stepper.activations(Engine(), x0, label)
