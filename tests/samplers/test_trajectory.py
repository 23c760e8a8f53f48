"""What holds of every sampler on every path, and of the walk as an iterator."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from scorefield.core.denoisers import Denoiser
from scorefield.core.likelihood import decode, encode, log_likelihood
from scorefield.core.moments import moments_of
from scorefield.core.schedules import VP, Cosine, Flow
from scorefield.errors import InputError
from scorefield.recipes import catalog
from scorefield.samplers.adaptive import AdaptiveSDE
from scorefield.samplers.ancestral import DDIM, Ancestral
from scorefield.samplers.base import Step, sample, trajectory
from scorefield.samplers.correctors import SASolver
from scorefield.samplers.exponential import DPMSolverPP, SDEDPMSolverPP
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import Karras, UniformLogSNR, UniformTime
from scorefield.samplers.noise import seeded
from scorefield.samplers.restart import Restart
from scorefield.samplers.runge_kutta import DormandPrinceFlow
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector


def white(count):
    """The moments of so many independent standard normal numbers."""
    return moments_of(torch.zeros(count), torch.eye(count))


class Learned(Denoiser):
    """A denoiser with a parameter, which records what it is asked."""

    def __init__(self, schedule, count=2):
        super().__init__(schedule, white(count))
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.grad_modes, self.seen = [], []

    def forward(self, x, t, **cond):
        self.grad_modes.append(torch.is_grad_enabled())
        self.seen.append(cond)
        return self.gain * x


class Broken(Denoiser):
    """Not finite below the middle of the path."""

    def forward(self, x, t, **cond):
        t = t.expand(len(x))[:, None]
        return torch.where(t > 0.5, x, x * math.nan)


# What holds of all holds of wide tolerances too, and takes a tenth of the time.
SAMPLERS = {
    **catalog.SAMPLERS,
    "adaptive-sde": partial(AdaptiveSDE, rtol=0.3, atol=0.1),
    "dopri5": partial(DormandPrinceFlow, rtol=1e-3, atol=1e-3),
}
# It crosses the first interval without looking, and integrates the last one: see test_residual.py.
LOOKING = {kind: cls for kind, cls in SAMPLERS.items() if kind != "gaussian-residual"}


@pytest.mark.parametrize("kind", LOOKING.values(), ids=LOOKING.keys())
def test_every_sampler_walks_its_grid_on_every_path(schedule, kind, mixture):
    denoiser, sampler, steps = mixture(schedule), kind(), 6
    run = list(trajectory(denoiser, (3, 2), sampler, steps))
    assert all(isinstance(step, Step) for step in run)
    times = sampler.grid.times(schedule, steps)
    assert torch.equal(torch.stack([s.t for s in run]), times)
    assert all(torch.isfinite(s.x).all() and torch.isfinite(s.x0).all() for s in run)
    assert all(s.x.dtype == s.x0.dtype == torch.float32 for s in run)
    assert all(torch.equal(s.x0, denoiser(s.x, s.t)) for s in run)
    assert torch.equal(sample(denoiser, (3, 2), sampler, steps), run[-1].x0)


@pytest.mark.parametrize("grid", [UniformTime(), UniformLogSNR(), Karras()], ids=repr)
@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS.keys())
@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
def test_walks_are_finite_from_where_no_signal_is_left(path, kind, grid, mixture, normal):
    """20 steps from t = 1, where α = 0, end among the data: modes within 1.3, spread below 0.7."""
    x = sample(mixture(path), normal(20, 2), kind(grid), 20, noise=seeded(0, range(20)))
    assert torch.isfinite(x).all()
    assert (x.abs() < 4).all()
    assert 0.3 < float(x.std()) < 1.5


@pytest.mark.parametrize(
    "sampler",
    [DPMSolverPP(order=3), SDEDPMSolverPP(order=3), Heun(churn=5.0), DDIM(eta=1.0)],
    ids=repr,
)
@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
def test_settings_are_finite_from_where_no_signal_is_left(path, sampler, points, normal):
    """With a data set of five points, samples end at them: within 5 σ(t_min) = 0.008."""
    denoiser = points(path)
    x = sample(denoiser, normal(10, 2), sampler, 40, noise=seeded(0, range(10)))
    assert float(torch.cdist(x, denoiser.data).amin(1).max()) < 0.008


def test_one_step_is_the_denoised_start(mixture, normal):
    denoiser, x = mixture(VP()), normal(3, 2)
    for kind in LOOKING.values():
        (only,) = trajectory(denoiser, x, kind(), 1)
        assert torch.equal(only.x, x)
        assert torch.equal(only.x0, denoiser(x, torch.ones((), dtype=torch.float64)))


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        (PredictorCorrector, "snr", (0.0, 1.0, math.nan, math.inf)),
        (EulerMaruyama, "eta", (0.0, math.nan, math.inf)),
        (SDEDPMSolverPP, "eta", (0.0, math.nan, math.inf)),
        (DDIM, "eta", (-1.0, math.nan, math.inf)),
        (SASolver, "tau", (-1.0, math.nan, math.inf)),
        (Heun, "churn", (-1.0, math.nan, math.inf)),
        (Heun, "churn_min", (-1.0, math.nan)),
        (Heun, "churn_max", (-1.0, math.nan)),
        (Heun, "churn_noise", (-1.0, math.nan, math.inf)),
    ],
)
def test_settings_that_no_sampler_can_have_are_named_with_their_value(kind, name, values):
    for value in values:
        with pytest.raises(InputError, match=rf"{name} must .*, got {value}"):
            kind(**{name: value})


def test_a_start_that_is_not_finite_is_not_the_models_fault(mixture, normal):
    x = normal(3, 2)
    x[1, 0] = math.nan
    with pytest.raises(InputError, match="the states to start from must be finite"):
        trajectory(mixture(VP()), x, DDIM(), 3)


@pytest.mark.parametrize("steps", [2.5, math.nan, "3"])
def test_a_part_of_a_step_is_none(steps, mixture):
    with pytest.raises(InputError, match="steps must be a whole number, at least 1, got "):
        trajectory(mixture(VP()), (3, 2), DDIM(), steps)


@pytest.mark.parametrize("start", [1.0, 0.5])
def test_a_shape_starts_from_noise_of_the_starts_level(schedule, start, mixture):
    first = next(trajectory(mixture(schedule), (4, 2), DDIM(), 3, start=start))
    z = seeded(0, range(4))(torch.zeros(4, 2))
    assert torch.allclose(first.x, schedule(start)[1].float() * z)
    assert float(first.t) == start


def test_a_state_is_where_the_walk_starts(mixture, normal):
    x = normal(4, 2)
    kept = x.clone()
    run = list(trajectory(mixture(VP()), x, SDEDPMSolverPP(), 4, start=0.7))
    assert torch.equal(run[0].x, x)
    assert torch.equal(x, kept)
    assert float(run[0].t) == 0.7
    assert run[-1].x0.dtype == torch.float64


def test_pictures_are_walked_as_points_are(normal):
    x = normal(2, 1, 3, 4)
    for kind in SAMPLERS.values():
        picture = sample(Learned(VP(), 12), x, kind(), 5, noise=seeded(0, range(2)))
        flat = sample(Learned(VP(), 12), x.flatten(1), kind(), 5, noise=seeded(0, range(2)))
        assert torch.allclose(picture.flatten(1), flat, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_grad_mode_of_the_consumer_is_left_alone(kind, enabled):
    denoiser = Learned(VP())
    with torch.set_grad_enabled(enabled):
        for step in trajectory(denoiser, (2, 2), kind(), 4):
            assert torch.is_grad_enabled() == enabled
            assert not step.x0.requires_grad
            assert not step.x.requires_grad
        assert torch.is_grad_enabled() == enabled
    assert not any(denoiser.grad_modes)


def test_a_walk_left_early_leaves_nothing_behind():
    denoiser = Learned(VP())
    walk = trajectory(denoiser, (2, 2), DDIM(), 10)
    next(walk)
    walk.close()
    assert torch.is_grad_enabled()
    assert len(denoiser.seen) == 1  # and nothing was computed before it was asked for


def test_conditions_reach_the_denoiser():
    denoiser, label = Learned(VP()), torch.tensor([3, 4])
    sample(denoiser, (2, 2), Heun(), 3, label=label)
    assert len(denoiser.seen) == 5
    assert all(cond["label"] is label for cond in denoiser.seen)


@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_output_that_is_not_finite_is_reported_with_its_time(kind):
    """Of the times 1, 0.667, 0.334, 0.001 the third is the first below the middle."""
    walk = trajectory(Broken(VP(), white(2)), (2, 2), kind(UniformTime()), 4)
    # Some have stages between the times of the grid, or times of their own.
    with pytest.raises(InputError, match=r"not finite at t = 0\.[0-4]"):
        list(walk)


@pytest.mark.parametrize("run", [trajectory, sample])
def test_impossible_walks_are_refused_at_the_call(run, mixture):
    denoiser = mixture(VP())
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        run(denoiser, (2, 2), DDIM(), 0)
    for start in (0.0, 1.5):
        with pytest.raises(InputError, match=r"start must lie above 0\.001"):
            run(denoiser, (2, 2), DDIM(), 5, start=start)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (DDIM, {"eta": -0.1}),
        (DDIM, {"eta": math.nan}),
        (Ancestral, {"variance": "smal"}),
        (Heun, {"churn": -1.0}),
        (DPMSolverPP, {"order": 4}),
        (DPMSolverPP, {"order": 0}),
        (SDEDPMSolverPP, {"order": 4}),
        (SDEDPMSolverPP, {"eta": 0.0}),
        (EulerMaruyama, {"eta": 0.0}),
        (PredictorCorrector, {"snr": 0.0}),
        (PredictorCorrector, {"corrector_steps": -1}),
        (PredictorCorrector, {"predictor": "euler_maruyama"}),
        (PredictorCorrector, {"predictor": Restart()}),
    ],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(InputError, match=rf"{next(iter(settings))}"):
        kind(**settings)


def test_states_of_whole_numbers_are_refused(gaussian):
    """α and σ would be rounded to them."""
    exact, x = gaussian(VP()), torch.tensor([[1, 2]])
    with pytest.raises(InputError, match=r"floating point numbers, got torch\.int64"):
        sample(exact, x, DDIM(), 5)
    with pytest.raises(InputError, match="floating point numbers"):
        exact.score(x, torch.tensor(0.3))
    for lead in (encode, decode, log_likelihood):
        with pytest.raises(InputError, match=r"floating point numbers, got torch\.int64"):
            lead(exact, x)
        with pytest.raises(InputError, match="states to start from must be finite"):
            lead(exact, x.double() / 0)


def test_negative_shapes_are_refused(gaussian):
    with pytest.raises(InputError, match=r"a shape has no negative numbers, got \(-1, 2\)"):
        sample(gaussian(VP()), (-1, 2), DDIM(), 5)
