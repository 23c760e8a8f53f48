"""Streamed data in training: the same numbers as from memory, fetched ahead, and a clean end."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from scorefield.data.base import Data, Skipped
from scorefield.data.mnist import MNIST10k
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.training import Trainer, read_log
from scorefield.training.batches import Batches
from scorefield.training.order import ShuffledOrder

EVERY = "training.checkpoint_every=3steps"
WAIT = 20  # seconds for another thread, which takes milliseconds


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("scorefield-ahead")]


@pytest.fixture
def streamed(few, recipe, monkeypatch):
    """The digits of the small recipe, decoded as they are asked for."""

    def use(decode=few.x.__getitem__, **fields):
        data = Streamed(label=few.label, spec=few.spec, size=len(few), decode=decode, **fields)
        monkeypatch.setattr(MNIST10k, "load", lambda self, split="train": data)
        return data

    return use


def weights(trainer):
    return [*trainer.run.network.state_dict().values(), *trainer.run.average.weights().values()]


@pytest.mark.parametrize("workers", [1, 3])
def test_streamed_data_train_as_data_in_memory(tmp_path, recipe, streamed, workers):
    chosen = recipe("images", EVERY, "training.budget=8steps")  # more than an epoch of six steps
    held = Trainer(chosen, tmp_path / "held")
    losses = [progress.loss for progress in held]
    streamed(workers=workers)
    straight = Trainer(chosen, tmp_path / "straight")
    assert [progress.loss for progress in straight] == losses
    for progress in Trainer(chosen, tmp_path / "run"):
        if progress.step == 5:
            break
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert resumed.run.position.step == 3
    assert [progress.loss for progress in resumed] == losses[3:]
    for trainer in (straight, resumed):
        for one, other in zip(weights(trainer), weights(held), strict=True):
            assert torch.equal(one, other)
    moments = [t.run.denoiser.moments.variances for t in (held, straight)]
    assert torch.equal(*moments)
    assert threads() == []


@dataclass(frozen=True, kw_only=True)
class Told(Data):
    """Data in memory that tell which batch was asked for."""

    inside: Data
    tell: Callable[[Tensor], None]

    def __len__(self):
        return len(self.inside)

    def stored(self, indices):
        self.tell(indices)
        return self.inside.stored(indices)


def test_batches_are_fetched_while_one_is_trained_on(few):
    order, fetched = ShuffledOrder(96, 16, 0), [threading.Event() for _ in range(20)]
    steps = {tuple(order(step).tolist()): step for step in range(20)}

    def tell(indices):
        fetched[steps[tuple(indices.tolist())]].set()

    data = Told(label=few.label, spec=few.spec, inside=few, tell=tell)
    walk = Batches(data, order, slice(None)).ahead(4)
    assert not any(event.is_set() for event in fetched)
    for step in range(4, 12):
        x0, label = next(walk)
        # nobody asks for the next two, and they are fetched all the same; the one after is not
        assert all(event.wait(WAIT) for event in fetched[step : step + 3])
        assert not fetched[step + 3].wait(0.002)
        assert torch.equal(x0, few.batch(order(step))[0])
        assert torch.equal(label, few.label[order(step)])
    assert not any(event.is_set() for event in fetched[:4])
    walk.close()
    assert threads() == []


def test_a_process_reads_its_rows_only(few, tmp_path, recipe, streamed):
    read = []

    def decode(index):
        read.append(index)
        return few.x[index]

    streamed(decode, workers=1)
    trainer = Trainer(recipe("images", "training.clip=1e9"), tmp_path)
    generator = torch.Generator().manual_seed(0)
    for p in trainer.run.network.parameters():
        p.data.normal_(std=0.2, generator=generator)
    indices, found = trainer.run.batches.order(0).tolist(), []
    for mine in (slice(0, 16), slice(0, 8), slice(8, 16)):
        read.clear()
        vars(trainer.run).pop("first", None)
        trainer.run.stepper.mine = mine
        trainer.run.batches = replace(trainer.run.batches, mine=mine)
        trainer.run.dry_run(trainer.run.engine)
        assert read == indices[mine]
        found.append([p.grad.clone() for p in trainer.run.network.parameters()])
    # the gradient of a batch is the mean of those of its two halves
    largest = max(float(g.abs().max()) for g in found[0])
    for whole, one, other in zip(*found, strict=True):
        assert torch.allclose((one + other) / 2, whole, rtol=1e-4, atol=1e-5 * largest)
        assert whole.abs().max() == 0 or not torch.allclose(one, other, rtol=1e-3)


def test_a_picture_that_cannot_be_decoded_ends_the_run(tmp_path, recipe, streamed, few):
    chosen = recipe("images", EVERY)
    bad = int(ShuffledOrder(96, 16, 0)(4)[7])
    broken = set()

    def decode(index):
        if index in broken:
            raise OSError("image file is truncated")
        return few.x[index]

    streamed(decode, name="photos/{}.png".format)
    trainer = Trainer(chosen, tmp_path)
    broken.add(bad)  # after the data were looked at
    walk = iter(trainer)
    # the fifth step needs it, though it is met when fetching ahead
    assert [next(walk).step for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(InputError, match=rf"photos/{bad}\.png: image file is truncated"):
        next(walk)
    assert threads() == []
    broken.clear()
    resumed = Trainer(None, tmp_path, resume=True)
    assert [progress.step for progress in resumed] == [4, 5, 6]
    assert load(tmp_path).step == 6


@pytest.mark.parametrize("end", ["done", "left", "interrupted", "failed"])
def test_threads_end_with_the_training(tmp_path, recipe, streamed, monkeypatch, end):
    streamed()
    trainer = Trainer(recipe("images"), tmp_path)
    assert threads() == []
    walk = iter(trainer)
    next(walk)
    assert threads()
    if end == "left":
        del walk
    elif end == "done":
        list(walk)
    else:
        error = KeyboardInterrupt if end == "interrupted" else RuntimeError

        def fail(*args):
            raise error

        monkeypatch.setattr(trainer.run.average, "update", fail)
        with pytest.raises(error):
            next(walk)
    assert threads() == []


def test_what_was_left_out_is_told_of(tmp_path, recipe, streamed):
    files = [Skipped(f"{k}.png", "cut off" if k else "no image") for k in range(1203)]
    streamed(skipped=tuple(files))
    told, *rest = Trainer(recipe("images", "training.budget=1step"), tmp_path)
    assert told.note == (
        "1,203 files could not be used: 0.png (no image), 1.png (cut off), 2.png (cut off), 1,200 more"
    )
    assert (told.step, told.warning, [p.step for p in rest]) == (0, True, [1])
    assert told.note in [line.get("note") for line in read_log(tmp_path)]
    streamed(skipped=tuple(files[:1]))
    told, *_ = Trainer(recipe("images", "training.budget=1step"), tmp_path / "one")
    assert told.note == "1 file could not be used: 0.png (no image)"
