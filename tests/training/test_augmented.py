"""Training with augmentation: what a run learns of it, and that it goes on as if not stopped."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from scorefield.data.base import described
from scorefield.data.mnist import MNIST10k
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.recipes import find_recipe
from scorefield.training import Trainer

EVERYTHING = [
    *("augmentation.flip=0.3", "augmentation.crop=2", "augmentation.dequantise=true"),
    *("augmentation.told=0.4", "training.checkpoint_every=3steps"),
]


def test_a_resumed_run_is_a_straight_run(tmp_path, recipe):
    chosen = recipe("images", *EVERYTHING)
    straight = Trainer(chosen, tmp_path / "straight")
    whole = list(straight)
    for progress in Trainer(chosen, tmp_path / "run"):
        if progress.step == 5:
            break
    resumed = Trainer(chosen, tmp_path / "run", resume=True)
    assert resumed.run.position.step == 3
    assert [(p.step, p.loss) for p in resumed] == [(p.step, p.loss) for p in whole[3:]]
    weights = straight.run.network.state_dict()
    assert all(torch.equal(w, weights[k]) for k, w in resumed.run.network.state_dict().items())
    assert weights["conditioning.augment.weight"].any()
    plain = list(Trainer(recipe("images"), tmp_path / "plain"))
    assert plain[0].loss != whole[0].loss


def gradients(trainer, world, rank):
    """The gradients of one of several processes at a step, without the others."""
    trainer.run.stepper.accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=world,
        process_index=rank,
        backward=lambda loss: loss.backward(),
    )
    trainer.run.stepper.mine = slice(rank * 16 // world, (rank + 1) * 16 // world)
    trainer.run.batches = replace(trainer.run.batches, mine=trainer.run.stepper.mine)
    trainer.run.network.zero_grad(set_to_none=True)
    loss = trainer.run.stepper._backward(trainer.run.engine, 7, *trainer.run.batches(7))
    return loss, {name: p.grad.clone() for name, p in trainer.run.network.named_parameters()}


def test_two_processes_see_what_one_sees(tmp_path, recipe):
    trainer = Trainer(recipe("images", *EVERYTHING), tmp_path)
    generator = torch.Generator().manual_seed(0)
    for p in trainer.run.network.parameters():
        p.data.normal_(std=0.2, generator=generator)
    alone, right = gradients(trainer, 1, 0)
    (first, one), (second, other) = (gradients(trainer, 2, rank) for rank in (0, 1))
    assert (first + second) / 2 == pytest.approx(alone, rel=1e-5)
    assert first != pytest.approx(alone, rel=1e-3)
    largest = max(float(g.abs().max()) for g in right.values())
    for name, gradient in right.items():
        mean = (one[name] + other[name]) / 2
        assert torch.allclose(mean, gradient, rtol=1e-4, atol=1e-5 * largest)
    assert right["conditioning.augment.weight"].any()


def test_a_model_is_loaded_with_what_it_was_told_by(tmp_path, recipe):
    trainer = Trainer(recipe("images", *EVERYTHING), tmp_path)
    list(trainer)
    model = load(tmp_path)
    assert model.recipe.augmentation == trainer.recipe.augmentation
    assert model.denoiser.network.conditioning.augment.weight.shape[1] == 9
    assert torch.equal(model.sample(2, steps=3), load(tmp_path).sample(2, steps=3))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it first compiles
def test_compiled_code_takes_it_too(tmp_path, recipe):
    trainer = Trainer(recipe("images", *EVERYTHING, "training.compile=on"), tmp_path)
    assert [progress.step for progress in trainer if not progress.note] == [1, 2, 3, 4, 5, 6]
    assert trainer.run.engine.compiled


def test_vectors_are_refused_before_anything_is_written(tmp_path, recipe):
    for word in ("flip=0.5", "crop=1", "told=0.1", "dequantise=true"):
        with pytest.raises(InputError, match=rf"augmentation\.{word.split('=')[0]} needs"):
            Trainer(recipe("points", f"augmentation.{word}"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# Two pixels, the left one bright: a mirror image is bright on the right, and is not in the data.
PAIR = [
    *("network=mlp", "network.width=64", "network.conditional=false", "training.lr=5e-3"),
    *("training.batch=128", "training.warmup=10", "training.budget=300steps"),
    *("training.optimizer=adamw", "training.precision=fp32", "training.compile=off"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "mirrored"),
    [
        (["augmentation.flip=0.5"], 0.5),
        (["augmentation.told=0.12", "augmentation.transformations=[x-flip]"], 0.0),
    ],
    ids=["data", "told"],
)
def test_what_is_told_does_not_leak(tmp_path, monkeypatch, words, mirrored):
    generator = torch.Generator().manual_seed(0)
    dark = torch.randint(0, 56, (2048, 1, 1, 2), generator=generator)
    levels = (dark + torch.tensor([200, 0])).to(torch.uint8)
    monkeypatch.setattr(MNIST10k, "load", lambda self, split="train": described(levels))
    list(Trainer(find_recipe("mnist10k", [*PAIR, *words]), tmp_path))
    x = load(tmp_path).sample(1000, steps=20)[:, 0, 0]
    right = x[:, 1] > x[:, 0]
    # each of the two is as the data have it: one pixel is bright, the other dark
    assert float((x.max(dim=1).values - x.min(dim=1).values > 0.7).float().mean()) > 0.95
    assert float(right.float().mean()) == pytest.approx(mirrored, abs=0.06)
