"""Sampling from a model: who gets which noise and which label."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch

from scorefield.core.couplings import MinibatchOT
from scorefield.core.schedules import VP
from scorefield.errors import InputError
from scorefield.recipes import CATALOG, Sampling
from scorefield.samplers.adaptive import AdaptiveSDE
from scorefield.samplers.base import Sampler, sample
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.flow import Euler
from scorefield.samplers.noise import seeded
from scorefield.samplers.runge_kutta import DormandPrinceFlow

SAMPLERS = {
    **CATALOG[Sampler][1],
    "adaptive-sde": partial(AdaptiveSDE, rtol=0.5, atol=0.5),
    "dopri5": partial(DormandPrinceFlow, rtol=1e-2, atol=1e-2),
}
CLOSE = {"rtol": 1e-4, "atol": 1e-4}  # float32, in another order of summation


def test_samples_are_those_of_the_sampler(model):
    label = {} if model.classes == 0 else {"label": torch.arange(5) % 3}
    direct = sample(
        model.denoiser,
        (5, *model.spec.shape),
        model.recipe.sampling.sampler,
        4,
        noise=seeded(9, range(5)),
        **label,
    )
    assert torch.equal(model.sample(5, seed=9), direct)
    assert direct.std() > 0.1


@pytest.mark.parametrize("kind", SAMPLERS)
def test_a_sample_does_not_depend_on_its_batch(images, kind):
    ask = {"sampler": SAMPLERS[kind](), "steps": 3, "seed": 2}
    together = images.sample(5, **ask)
    assert torch.allclose(images.sample(5, **ask, batch=2), together, **CLOSE)
    assert torch.allclose(images.sample(2, **ask, first=3), together[3:], **CLOSE)
    assert torch.allclose(images.sample(1, **ask), together[:1], **CLOSE)
    assert not torch.allclose(together[:1], together[3:4], **CLOSE)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_coupled_noise_allows_no_fresh_noise(images, kind):
    """Noise that is paired with the data is not normal given them: the network tells the flow only."""
    objective = replace(images.recipe.objective, coupling=MinibatchOT())
    coupled = replace(images, recipe=replace(images.recipe, objective=objective))
    sampler = SAMPLERS[kind]()
    if sampler.stochastic:
        with pytest.raises(InputError, match=r"adds fresh noise.*MinibatchOT.*a deterministic"):
            coupled.sample(1, sampler=sampler, steps=3)
    else:
        found = coupled.sample(1, sampler=sampler, steps=3)
        assert torch.equal(found, images.sample(1, sampler=sampler, steps=3))


def test_seeds_fix_the_set(model):
    one = model.sample(3, seed=5)
    assert torch.equal(model.sample(3, seed=5), one)
    for other in (model.sample(3, seed=6), model.sample(3, seed=5, first=1)):
        assert not torch.allclose(other, one, **CLOSE)


def test_sampling_leaves_the_global_generator_alone(model):
    before = torch.get_rng_state()
    model.sample(2, sampler=SAMPLERS["ddpm"]())
    assert torch.equal(torch.get_rng_state(), before)


def test_labels_come_in_turn(images, points):
    assert images.labels(7).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert images.labels(4, first=5).tolist() == [2, 0, 1, 2]
    assert images.labels(2, label=1).tolist() == [1, 1]
    assert images.labels(2, label=-1).tolist() == [-1, -1]
    assert images.labels(2).dtype == torch.int64
    assert points.labels(4) is None
    assert (images.classes, points.classes) == (3, 0)


def test_labels_reach_the_network(images):
    in_turn = images.sample(3)
    for k in range(3):
        alone = images.sample(3, label=k)
        assert torch.allclose(alone[k], in_turn[k], **CLOSE)
        assert not torch.allclose(alone[k - 1], in_turn[k - 1], **CLOSE)
    assert not torch.allclose(images.sample(3, label=-1), in_turn, **CLOSE)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"label": 3}, "label must lie in 0 to 2, or -1 for none, got 3"),
        ({"label": -2}, "label must lie in 0 to 2, or -1 for none, got -2"),
        ({"n": 0}, "number of samples must be at least 1, got 0"),
        ({"n": -4}, "number of samples must be at least 1, got -4"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_bad_requests_are_refused(images, options, sentence):
    with pytest.raises(InputError, match=sentence):
        images.sample(**options)


def test_a_model_without_labels_refuses_them(points):
    for label in (0, -1):
        with pytest.raises(InputError, match=f"knows no labels, got label {label}"):
            points.sample(2, label=label)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_drawing_tells_the_share_done(points, kind):
    drawn = list(points.draw(5, sampler=SAMPLERS[kind](), steps=3, batch=2, seed=4))
    shares = [share for share, _ in drawn]
    assert all(0 < a < b for a, b in pairwise(shares))
    assert shares[-1] == 1
    assert [len(new) for _, new in drawn if len(new)] == [2, 2, 1]
    for share, new in drawn:  # what is new is there when its share is said
        if len(new):
            assert share in (2 / 5, 4 / 5, 1.0)
    together = torch.cat([new for _, new in drawn])
    expected = points.sample(5, sampler=SAMPLERS[kind](), steps=3, batch=2, seed=4)
    assert torch.equal(together, expected)


def test_trajectory_is_one_step_for_each_time(images):
    steps = list(images.trajectory(2, sampler=Euler(), steps=5, seed=1))
    assert len(steps) == 5
    times = [float(step.t) for step in steps]
    assert times == sorted(times, reverse=True)
    assert (times[0], times[-1]) == (1.0, VP().t_min)
    assert all(step.x.shape == step.x0.shape == (2, 1, 9, 10) for step in steps)
    assert torch.equal(steps[-1].x0, images.sample(2, sampler=Euler(), steps=5, seed=1))


def test_the_recipe_is_what_is_not_asked_for(images):
    assert len(list(images.trajectory(1))) == 4
    assert torch.equal(images.sample(2), images.sample(2, sampler=DPMSolverPP(), steps=4))


def test_gradients_are_off_and_stay_as_they_were(images):
    with torch.enable_grad():
        for step in images.trajectory(1):
            assert not step.x0.requires_grad
            assert torch.is_grad_enabled()


def test_an_output_that_is_not_finite_is_an_error(points, monkeypatch):
    monkeypatch.setattr(
        type(points.denoiser.network), "forward", lambda self, x, c, label=None: x * float("nan")
    )
    with pytest.raises(InputError, match="output is not finite at t = 1"):
        points.sample(2)


def test_a_model_that_always_had_a_label_is_not_asked_without(images):
    known = replace(images.recipe, objective=replace(images.recipe.objective, drop=0.0))
    model = replace(images, recipe=known)
    assert (images.neutral, model.neutral) == (-1, 0)
    with pytest.raises(InputError, match="label must lie in 0 to 2, got -1"):
        model.labels(2, -1)


def test_a_model_can_be_given_another_way_of_drawing(images):
    way = Sampling(sampler=Euler(), steps=5, guidance=None)
    led = images.drawn_by(Sampling(guidance=3.0))
    assert led.sampling.guidance == 3
    assert led.drawn_by(way).sampling == way
    expected = images.sample(2, sampler=Euler(), steps=5)
    assert torch.equal(led.drawn_by(way).sample(2), expected)


def test_the_noise_is_what_trajectories_start_from(images):
    begin = next(iter(images.trajectory(3, sampler=Euler(), steps=3, seed=5, first=2)))
    assert torch.equal(images.noise(3, seed=5, first=2), begin.x)
