"""What an objective learns while it trains: the losses over time, and the loss that is expected."""

import json
import subprocess
import sys

import pytest
import torch

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.objective import Objective
from scorefield.core.parameterizations import EDM
from scorefield.core.schedules import VP
from scorefield.core.times import ImportanceTimes
from scorefield.core.weightings import Uncertainty
from scorefield.models import load
from scorefield.training import Trainer
from scorefield.training.history import MEMORY, LossHistory
from scorefield.training.loss import LogLoss, LossModule

BOTH = [
    "objective.times=importance",
    "objective.times.stretches=4",
    "objective.weighting=uncertainty",
]


def test_the_history_is_an_average_of_the_last_steps():
    history = LossHistory(ImportanceTimes(stretches=2), VP())
    early, late = torch.tensor([0.2, 0.3, 0.9]), torch.tensor([0.7])
    seen = [1.0, 3.0, 2.0, 5.0]
    for loss in seen:
        history.note(early, torch.tensor([loss, 2 * loss, 7.0]))
        history.take(lambda noted: noted)
    # the first stretch: the mean over steps of the mean of L² and 4 L²; the second: 49 in each
    assert history.squares.tolist() == pytest.approx([2.5 * sum(x**2 for x in seen) / 4, 49.0])
    history.note(late, torch.tensor([5.0]))
    history.take(lambda noted: noted)
    # nothing was seen of the first; the fifth of the second counts a fifth
    assert history.squares[1] == pytest.approx(49 + (25 - 49) / 5)
    assert history.steps.tolist() == [4, 5]
    history.note(late, torch.tensor([1e9]))
    history.forget()
    history.take(lambda noted: noted)
    assert history.steps.tolist() == [4, 5]


def test_times_change_when_every_stretch_was_seen_often_enough():
    history = LossHistory(ImportanceTimes(stretches=2, floor=0.5), VP())
    for _ in range(MEMORY):
        assert history.times == history.chosen
        history.note(torch.tensor([0.2, 0.9]), torch.tensor([1.0, 3.0]))
        history.take(lambda noted: noted)
    # ½ of all alike and ½ as 1 : 3
    t = torch.tensor([0.1, 0.6], dtype=torch.float64)
    expected = [1 / (2 * (0.25 + 0.125)), 1 / (2 * (0.25 + 0.375))]
    assert history.times.correction(VP(), t).tolist() == pytest.approx(expected)


def test_the_learned_logarithm_is_least_at_that_of_the_mean_loss():
    """min over u of E[e^{-u} L + u]: u = log E[L], where the value is 1 + log E[L]."""
    net, generator = LogLoss().double(), torch.Generator().manual_seed(0)
    levels = torch.tensor([-1.0, -0.3, 0.4, 1.1], dtype=torch.float64)
    losses = torch.rand(4, 50, generator=generator).double() * torch.tensor([[9], [1], [0.1], [2]])
    assert (net(levels) == 0).all()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def value():
        u = net(levels)[:, None]
        return (torch.exp(-u) * losses + u).mean()

    def closure():
        optimizer.zero_grad()
        value().backward()
        return value()

    optimizer.step(closure)
    expected = losses.mean(1).log()
    assert torch.allclose(net(levels), expected, atol=1e-4)
    assert float(value().detach()) == pytest.approx(float(1 + expected.mean()), abs=1e-7)


class Zero(torch.nn.Module):
    def forward(self, x, c_noise):
        return torch.zeros_like(x)


def test_the_loss_of_a_step_is_its_formula(normal, generator):
    """Corrected for how often times are drawn, over what is expected, plus its logarithm."""
    chosen = Objective(times=ImportanceTimes(stretches=2), weighting=Uncertainty())
    module = LossModule(NetworkDenoiser(Zero(), VP(), EDM(1.0)), chosen)
    x0 = normal(8, 3)
    with torch.no_grad():
        module.log_loss.bias.fill_(0.7)
    module.history.squares, module.history.steps = torch.tensor([1.0, 9.0]), torch.full((2,), 99.0)
    t, eps, _ = module.objective.draw(VP(), x0, None, generator)
    plain = module.denoiser.residual(x0, t, eps).square().mean(1)
    # floor 0.01: shares 0.005 + 0.99 · ¼ and 0.005 + 0.99 · ¾
    middle = VP().t_min + (1 - VP().t_min) / 2
    share = torch.where(t < middle, 0.005 + 0.99 / 4, 0.005 + 0.99 * 3 / 4)
    assert (t >= middle).sum() == 6  # stratified
    expected = ((plain * torch.exp(torch.tensor(-0.7)) + 0.7) / (2 * share)).mean()
    assert float(module(x0, t, eps, None, None).detach()) == pytest.approx(
        float(expected), rel=1e-6
    )
    # the history is of the errors, as u does not vary with the noise: a tenth of the way to them
    module.finish(lambda noted: noted)
    squares = (plain * torch.exp(torch.tensor(-0.7))) ** 2
    for k, before in enumerate((1.0, 9.0)):
        mean = float(squares[(t >= middle) == bool(k)].mean())
        assert float(module.history.squares[k]) == pytest.approx(before + (mean - before) / 10)


def test_the_loss_of_old_recipes_is_the_mean_squared_error_to_the_bit(normal, generator):
    module = LossModule(NetworkDenoiser(Zero(), VP(), EDM(1.0)), Objective())
    x0 = normal(8, 3).float()
    t, eps, _ = module.objective.draw(VP(), x0, None, generator)
    expected = module.denoiser.residual(x0, t, eps).square().flatten(1).mean(1).mean()
    assert torch.equal(module(x0, t, eps, None, None), expected)
    assert (module.parts, module.learned) == ({}, [])


def everything(trainer):
    return {
        f"{n}.{k}": v.clone() for n, p in trainer.run.parts.items() for k, v in p.tensors().items()
    }


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_what_is_learned_is_resumed_to_the_bit(tmp_path, recipe, optimizer):
    words = [*BOTH, "training.checkpoint_every=13steps", f"training.optimizer={optimizer}"]
    chosen = recipe("points", *words, "training.budget=16steps")
    straight = Trainer(chosen, tmp_path / "straight")
    list(straight)
    walk = iter(Trainer(chosen, tmp_path / "run"))
    for _ in range(14):
        next(walk)
    walk.close()
    resumed = Trainer(None, tmp_path / "run", resume=True)
    assert resumed.run.position.step == 13
    list(resumed)
    one, other = everything(straight), everything(resumed)
    assert {"log_loss.weight", "history.squares"} < one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert straight.run.stepper.module.objective.times != chosen.objective.times  # it has learned
    assert one["log_loss.bias"].abs() > 0
    # and is no part of the model
    assert load(tmp_path / "run").denoiser.network.state_dict().keys() == (
        straight.run.network.state_dict().keys()
    )


@pytest.mark.parametrize(
    "words",
    [
        ["objective.loss=l1"],
        ["objective.loss=huber"],
        ["objective.weighting=edm"],
        ["schedule=flow", "parameterization=velocity", "objective.coupling=minibatch-ot"],
        ["objective.times=importance", "training.accumulate=2"],
    ],
    ids=lambda words: words[-1],
)
def test_every_new_kind_trains(tmp_path, recipe, words):
    *_, last = Trainer(recipe("points", *words), tmp_path)
    assert last.step == 6
    assert 0 < last.loss < 10


RUN = """
import json, sys
from pathlib import Path
from scorefield.recipes import find_recipe
from scorefield.training import Trainer, run
run.save_preview = lambda *args: None
trainer = Trainer(find_recipe("moons", sys.argv[2:]), sys.argv[1], device="cpu")
list(trainer)
module = trainer.run.stepper.module
found = {
    "history": module.history.squares.tolist(),
    "steps": module.history.steps.tolist(),
    "log_loss": module.log_loss.weight.tolist(),
    "weights": [float(p.detach().double().sum()) for p in trainer.run.network.parameters()],
}
Path(f"{sys.argv[1]}-{trainer.run.accelerator.process_index}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path):
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    words = ["data.size=64", "network.width=8", "network.depth=1", "training.batch=16"]
    found = {}
    for count in (1, 2):
        many = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        out = [str(tmp_path / "run.py"), str(tmp_path / f"of-{count}")]
        done = subprocess.run(
            [sys.executable, *many, *out, *words, *BOTH, "training.budget=16steps"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        files = [tmp_path / f"of-{count}-{k}.json" for k in range(count)]
        found[count] = [json.loads(file.read_text()) for file in files]
    (alone,), (first, second) = found[1], found[2]
    assert first == second
    for name, values in alone.items():
        assert first[name] == pytest.approx(values, rel=1e-3, abs=1e-4)
    assert min(alone["steps"]) >= MEMORY
