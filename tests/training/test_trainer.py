"""Training runs: what they leave, what they compute, how they fail."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from scorefield.core.couplings import MinibatchOT
from scorefield.core.oracles import MixtureDenoiser
from scorefield.data.base import described
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.nets.engine import Engine
from scorefield.recipes import RECIPES, find_recipe
from scorefield.training import Progress, Trainer, read_log
from scorefield.training.engine import Trial


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_run_is_an_iterator_of_progress(tmp_path, recipe):
    trainer = Trainer(recipe("points"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    seen = list(trainer)
    assert all(type(progress) is Progress for progress in seen)
    assert [progress.step for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert [progress.images for progress in seen] == [16, 32, 48, 64, 80, 96]
    assert [progress.spent for progress in seen] == pytest.approx([k / 6 for k in range(1, 7)])
    assert all(math.isfinite(p.loss) and p.grad_norm > 0 and p.rate > 0 for p in seen)
    seconds = [progress.seconds for progress in seen]
    assert seconds == sorted(seconds)
    assert trainer.is_finished
    assert list(trainer) == []


@pytest.mark.parametrize(
    ("budget", "steps"), [("3steps", 3), ("33 images", 3), ("32 images", 2), ("0.001s", 1)]
)
def test_the_run_ends_when_the_budget_is_spent(tmp_path, recipe, budget, steps):
    trainer = Trainer(recipe("points", f"training.budget={budget}"), tmp_path)
    *_, last = trainer
    if budget == "0.001s":  # as many steps as it takes
        assert last.spent >= 1
    else:
        assert last.step == steps
    assert load(tmp_path).step == last.step


def test_what_a_run_folder_holds(tmp_path, recipe, previews):
    words = ["training.budget=42steps", "training.checkpoint_every=14steps"]
    trainer = Trainer(recipe("images", *words), tmp_path)
    losses = [progress.loss for progress in trainer]
    names = {path.name for path in tmp_path.iterdir()}
    assert {"model.safetensors", "recipe.json", "log.jsonl", "state", "samples"} <= names
    # the recipe, ready to be used again
    assert find_recipe(str(tmp_path / "recipe.json")) == trainer.recipe
    assert trainer.recipe == recipe("images", *words).fitted(trainer.spec)
    assert trainer.recipe.parameterization.sigma_data == trainer.spec.sigma_data
    # a state for the newest checkpoint and the one before it
    states = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert states == ["step-00000028.safetensors", "step-00000042.safetensors"]
    # a line of the log for step 1, every 20, each checkpoint and the end, with the mean loss since the last
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines == read_log(tmp_path)
    assert [line["step"] for line in lines] == [1, 14, 20, 28, 40, 42]
    assert [line["images"] for line in lines] == [16 * step for step in (1, 14, 20, 28, 40, 42)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise((0, 1, 14, 20, 28, 40, 42))]
    assert [line["loss"] for line in lines] == pytest.approx(means)
    assert {"seconds", "lr", "grad_norm", "rate"} <= lines[0].keys()
    # the same for TensorBoard
    assert list(tmp_path.rglob("events.out.tfevents*"))
    # the model, and pictures of what it makes
    assert load(tmp_path).step == 42
    assert listing(tmp_path / "samples")
    for path in (tmp_path / "samples").iterdir():
        with Image.open(path) as picture:
            assert len(picture.convert("L").getcolors()) > 10
    assert not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_learning_rate_rises_holds_and_falls(tmp_path, recipe):
    words = ["training.budget=20steps", "training.warmup=4", "training.decay=0.5"]
    seen = [p.lr for p in Trainer(recipe("points", *words, "training.lr=1e-3"), tmp_path)]
    up = [1e-3 * k / 4 for k in (1, 2, 3, 4)]
    # the second half of the budget: step k (from 0) has 1 - k/20 of it left
    down = [1e-3 * (1 - k / 20) / 0.5 for k in range(10, 20)]
    assert seen == pytest.approx(up + [1e-3] * 6 + down)


def test_learning_rate_without_warmup_and_decay(tmp_path, recipe):
    words = ["training.warmup=0", "training.decay=0", "training.lr=1e-3"]
    assert [p.lr for p in Trainer(recipe("points", *words), tmp_path)] == [1e-3] * 6


def test_the_model_has_the_averaged_weights_and_is_a_copy(tmp_path, recipe):
    trainer = Trainer(recipe("images"), tmp_path)
    walk = iter(trainer)
    for _ in range(3):
        next(walk)
    model = trainer.model
    assert model.step == 3
    averaged = {name: w.clone() for name, w in trainer.run.average.weights().items()}
    assert any(not torch.equal(w, averaged[k]) for k, w in trainer.run.network.state_dict().items())
    list(walk)
    assert all(torch.equal(w, averaged[k]) for k, w in model.denoiser.network.state_dict().items())
    stored = load(tmp_path).denoiser.network.state_dict()
    assert all(torch.equal(w, stored[k]) for k, w in trainer.run.average.weights().items())


def test_the_average_is_over_the_steps_of_the_run(tmp_path, recipe):
    trainer = Trainer(recipe("points", "training.ema=0.2", "training.lr=0.05"), tmp_path)
    seen = []
    for _ in trainer:
        seen.append({k: w.detach().clone() for k, w in trainer.run.network.named_parameters()})
    # (γ + 1)/T^{γ+1} ∫₀ᵀ τ^γ θ(τ) dτ, with γ of Karras et al. 2024, Algorithm 2, for 0.2
    gamma = np.roots([1, 7, 16 - 0.2**-2, 12 - 0.2**-2]).real.max()
    shares = np.diff((np.arange(7) / 6) ** (gamma + 1))
    for name, weight in trainer.run.average.weights().items():
        if name in seen[0]:
            direct = sum(share * step[name] for share, step in zip(shares, seen, strict=True))
            assert torch.allclose(weight, direct, atol=1e-6)
    assert not torch.allclose(seen[0]["stem.weight"], seen[-1]["stem.weight"], atol=0.01)


def test_without_averaging_the_model_has_the_last_weights(tmp_path, recipe):
    trainer = Trainer(recipe("points", "training.ema=0"), tmp_path)
    list(trainer)
    stored = load(tmp_path).denoiser.network.state_dict()
    assert all(torch.equal(w, stored[k]) for k, w in trainer.run.network.state_dict().items())


def weights_after(folder, recipe, seed_globally):
    torch.manual_seed(seed_globally)
    trainer = Trainer(recipe, folder)
    for _ in trainer:
        torch.randn(3)  # what else the program draws is no concern of the run
    return trainer.run.network.state_dict()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_seed_fixes_the_run(tmp_path, recipe, dropout):
    words = [f"network.dropout={dropout}"]
    one = weights_after(tmp_path / "a", recipe("points", *words), 1)
    same = weights_after(tmp_path / "b", recipe("points", *words), 2)
    other = weights_after(tmp_path / "c", recipe("points", *words, "training.seed=1"), 1)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


class Gradients:
    """The gradients of the first step, taken where the optimizer takes them."""

    def __init__(self, folder, recipe):
        trainer = Trainer(recipe, folder)
        self.wake(trainer.run.network)
        self.found = {}
        for optimizer in trainer.run.stepper.optimizers:
            optimizer.optimizer.register_step_pre_hook(lambda *_: self.take(trainer.run.network))
        self.progress = next(iter(trainer))

    @staticmethod
    def wake(network):
        """Weights of which none is zero."""
        generator = torch.Generator().manual_seed(0)
        for p in network.parameters():
            p.data.normal_(std=0.2, generator=generator)

    def take(self, network):
        for name, p in network.named_parameters():
            if p.grad is not None:
                self.found.setdefault(name, p.grad.clone())


@pytest.mark.parametrize("kind", ["points", "images"])
def test_accumulation_changes_memory_not_gradients(tmp_path, recipe, kind):
    whole, *parts = (
        Gradients(tmp_path / f"{n}", recipe(kind, f"training.accumulate={n}", "training.clip=1e9"))
        for n in (1, 2, 16)
    )
    assert len(whole.found) > 5
    largest = max(float(g.abs().max()) for g in whole.found.values())
    for part in parts:
        assert part.progress.loss == pytest.approx(whole.progress.loss, rel=1e-5)
        assert part.progress.grad_norm == pytest.approx(whole.progress.grad_norm, rel=1e-4)
        for name, gradient in whole.found.items():
            assert torch.allclose(part.found[name], gradient, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("kind", ["points", "images"])
def test_gradient_checkpointing_changes_memory_not_training(tmp_path, recipe, kind):
    runs = []
    for on in ("false", "true"):
        words = ["network.dropout=0.3", f"training.gradient_checkpointing={on}"]
        trainer = Trainer(recipe(kind, *words), tmp_path / on)
        runs.append([p.loss for p in trainer])
        assert trainer.run.network.recompute == (on == "true")
    assert runs[1] == pytest.approx(runs[0], rel=1e-5)


def test_gradients_are_those_of_the_objective(tmp_path, recipe):
    chosen = recipe("images", "training.clip=1e9")
    found = Gradients(tmp_path / "run", chosen)
    norm = torch.cat([g.flatten() for g in found.found.values()]).norm()
    assert found.progress.grad_norm == pytest.approx(float(norm), rel=1e-4)
    other = Trainer(chosen, tmp_path / "hand")
    Gradients.wake(other.run.network)
    x0, t, eps, label, _ = other.run.drawn(1)
    loss = chosen.objective.losses(other.run.denoiser, x0, t, eps, label).mean()
    named = dict(other.run.network.named_parameters())
    right = torch.autograd.grad(loss, list(named.values()))
    assert found.progress.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert found.found.keys() == named.keys()
    largest = max(float(g.abs().max()) for g in right)
    for name, gradient in zip(named, right, strict=True):
        assert torch.allclose(found.found[name], gradient, rtol=1e-4, atol=1e-5 * largest)


def test_a_step_is_drawn_as_its_objective_says(tmp_path, recipe):
    words = ["objective.drop=0.5", "objective.coupling=minibatch-ot"]
    run = Trainer(recipe("images", *words), tmp_path).run
    (x, t, eps, label, _), (_, u, other, _, _) = run.drawn(1), run.drawn(2)
    assert not torch.equal(t, u)
    assert not torch.equal(eps, other)
    assert 0 < int((label == -1).sum()) < len(label)
    assert torch.equal(MinibatchOT()(x, eps, label), eps)  # paired already


def test_long_gradients_are_shortened(tmp_path, recipe):
    found = Gradients(tmp_path, recipe("images", "training.clip=0.01"))
    norm = torch.cat([g.flatten() for g in found.found.values()]).norm()
    assert found.progress.grad_norm > 0.02  # as it was
    assert float(norm) == pytest.approx(0.01, rel=1e-3)  # as it was used


def test_a_folder_with_a_run_is_not_trained_over(tmp_path, recipe):
    list(Trainer(recipe("points", "training.budget=1step"), tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"already has a run; resume it with --resume or choose"):
        Trainer(recipe("points"), tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_paths_that_cannot_be_a_run_folder(tmp_path, recipe):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match=f"cannot write .*{out}"):
            list(Trainer(recipe("points"), out))
    assert listing(tmp_path) == ["file"]


def test_unknown_device(tmp_path, recipe):
    with pytest.raises(InputError, match="device must be 'auto' or 'cpu', got 'tpu'"):
        Trainer(recipe("points"), tmp_path / "run", device="tpu")
    assert listing(tmp_path) == []


def test_a_compiler_that_fails_is_no_reason_to_stop(tmp_path, recipe, monkeypatch):
    def refuse(self, *args, **options):
        raise RuntimeError("no compiler on this machine\nwith a long story")

    monkeypatch.setattr(nn.Module, "compile", refuse)
    trainer = Trainer(recipe("points", "training.compile=on"), tmp_path)
    seen = list(trainer)
    notes = [progress.note for progress in seen if progress.note]
    assert any("no compiler on this machine" in note and "goes on" in note for note in notes)
    assert [progress.step for progress in seen if not progress.note] == [1, 2, 3, 4, 5, 6]
    assert not trainer.run.engine.compiled
    assert [line["note"] for line in read_log(tmp_path) if "note" in line] == notes
    assert load(tmp_path).step == 6


def test_a_compiled_network_that_fails_when_it_runs(tmp_path, recipe, monkeypatch):
    def pretend(self, *args, **options):
        def fail(*_, **__):
            raise RuntimeError("the kernel does not build")

        self._compiled_call_impl = fail

    monkeypatch.setattr(nn.Module, "compile", pretend)
    seen = list(Trainer(recipe("points", "training.compile=on"), tmp_path))
    assert any("the kernel does not build" in progress.note for progress in seen)
    assert seen[-1].step == 6


def test_a_compiled_run_says_so(tmp_path, recipe, monkeypatch):
    calls = []

    def compile_(self, **settings):
        calls.append(self)

    monkeypatch.setattr(nn.Module, "compile", compile_)
    measured = [Trial(Engine(), 0.02, 0.1), Trial(Engine(compiled=True), 0.01, 7.4)]
    monkeypatch.setattr("scorefield.training.settling.trials", lambda *args: measured)
    trainer = Trainer(recipe("points", "training.compile=on"), tmp_path)
    notes = [progress.note for progress in trainer if progress.note]
    assert calls == [trainer.run.network]
    assert trainer.run.engine == Engine(compiled=True)
    # 16 images in 20 and in 10 milliseconds
    assert notes == [
        "fp32, contiguous, eager: 800 images/s",
        "fp32, contiguous, compiled: 1600 images/s, after 7 s of compiling",
    ]


@pytest.mark.parametrize(("asked", "compiled"), [("on", True), ("auto", False)])
def test_on_means_on_even_where_eager_code_is_faster(
    tmp_path, recipe, monkeypatch, asked, compiled
):
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: None)
    measured = [Trial(Engine(), 0.01, 0.1), Trial(Engine(compiled=True), 0.02, 7.4)]
    monkeypatch.setattr("scorefield.training.settling.trials", lambda *args: measured)
    trainer = Trainer(recipe("points", f"training.compile={asked}"), tmp_path)
    next(iter(p for p in trainer if p.step))
    assert trainer.run.engine.compiled == compiled


def test_bf16_trains(tmp_path, recipe):
    trainer = Trainer(recipe("images", "training.precision=bf16"), tmp_path)
    seen = list(trainer)
    assert trainer.run.engine.precision == "bf16"
    exact = list(Trainer(recipe("images"), tmp_path / "fp32"))
    # the first loss is of the same network and noise, to the 8 bits of bfloat16
    assert seen[0].loss == pytest.approx(exact[0].loss, rel=0.02)
    assert all(p.dtype == torch.float32 for p in trainer.run.network.parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_every_preset_trains(tmp_path, recipe, few, monkeypatch, name):
    # three colours of 28×28 out of twelve digits
    colour = described(few.x.reshape(-1, 3, 28, 28), few.label[:8], classes=10)
    monkeypatch.setattr("scorefield.data.idx_sets.IDXSet.load", lambda self, split="train": few)
    monkeypatch.setattr("scorefield.data.cifar.CIFAR.load", lambda self, split="train": colour)
    words = ["training.budget=2steps", "training.batch=8", "network.width=8"]
    words += ["training.precision=fp32", "training.compile=off"]
    words += ["network.heads=2"] if "mnist" in name else []
    *_, last = Trainer(find_recipe(name, words), tmp_path)
    assert math.isfinite(last.loss)
    assert load(tmp_path).sample(2, steps=3).isfinite().all()


def test_training_learns_a_distribution(tmp_path):
    words = ["training.budget=300steps", "training.batch=256", "network.width=32", "data.size=4000"]
    trainer = Trainer(find_recipe("mixture-1d", [*words, "training.lr=5e-3"]), tmp_path)
    # Components at ∓½ with standard deviation 0.2 and weights 0.3 and 0.7, hence of mean
    # ½(0.7 - 0.3) = 0.2 and variance 0.2² + ¼ - 0.2² = ¼, standardized.
    means = torch.tensor([[-0.7], [0.3]], dtype=torch.float64) / 0.5
    spread = torch.full((2, 1, 1), (0.2 / 0.5) ** 2, dtype=torch.float64)
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    exact = MixtureDenoiser(trainer.recipe.schedule, weights, means, spread)

    def distance(denoiser):
        """Root mean square of the distance to the exact denoiser, over x_t of the data."""
        x0 = trainer.run.data.x[:1000]
        found = []
        for t in torch.linspace(0.1, 0.9, 9, dtype=torch.float64):
            alpha, sigma = (float(v) for v in exact.schedule(t))
            eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
            x = alpha * x0 + sigma * eps
            found.append((denoiser(x, t) - exact(x.double(), t)).square().mean())
        return float(torch.stack(found).mean().sqrt())

    start = distance(trainer.model.denoiser)
    list(trainer)
    model = load(tmp_path)
    # a network that says nothing is the denoiser of a Gaussian with the data's variance
    assert distance(model.denoiser) < 0.06 < 0.1 < start
    x = model.sample(1500, steps=20).flatten()
    assert float((x < -0.4).float().mean()) == pytest.approx(0.3, abs=0.06)
    assert float(x.mean()) == pytest.approx(0, abs=0.15)
    assert float(x.std()) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize(
    ("field", "word", "sentence"),
    [
        ("optimizer", "adam", "recipe.training.optimizer must be one of adamw, muon, got 'adam'"),
        ("compile", "yes", "recipe.training.compile must be one of"),
    ],
)
def test_what_no_file_could_give_back_is_not_trained(tmp_path, recipe, field, word, sentence):
    chosen = recipe("points")
    wrong = replace(chosen, training=replace(chosen.training, **{field: word}))
    with pytest.raises(InputError, match=sentence):
        Trainer(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()
