"""The adaptive sampler against exact flows, at every tolerance, on every path."""

import math

import pytest
import torch
from scipy.stats import norm

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import MixtureDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow
from scorefield.errors import InputError
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.grids import UniformLogSNR
from scorefield.samplers.runge_kutta import DormandPrinceFlow


def to(tolerance, **settings):
    return DormandPrinceFlow(rtol=tolerance, atol=tolerance, **settings)


def starts(path, normal, count=20):
    return path.sigma(torch.ones((), dtype=torch.float64)) * normal(count, 2)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-8])
def test_the_tolerance_is_kept_from_where_a_path_begins(schedule, gaussian, normal, tolerance):
    denoiser, x = gaussian(schedule), starts(schedule, normal)
    *_, last = trajectory(denoiser, x, to(tolerance), 2)
    expected = denoiser.flow(x, 1.0, schedule.t_min)
    assert float((last.x - expected).abs().max()) < 20 * tolerance


@pytest.mark.parametrize("path", [VP(), VE(), Cosine(), Flow()], ids=repr)
def test_steps_of_the_grid_do_not_decide_the_accuracy(path, gaussian, normal):
    denoiser, x = gaussian(path), starts(path, normal)
    exact = denoiser(
        denoiser.flow(x, 1.0, path.t_min), torch.tensor(path.t_min, dtype=torch.float64)
    )
    for steps in (2, 3, 17):
        got = sample(denoiser, x, to(1e-7), steps)
        assert float((got - exact).abs().max()) < 2e-6


def test_stops_on_the_way_are_exact_too(schedule, gaussian, normal):
    denoiser, x = gaussian(schedule), starts(schedule, normal)
    for step in trajectory(denoiser, x, to(1e-8, grid=UniformLogSNR()), 6):
        scale = float(schedule.sigma(step.t)) + 1
        assert torch.allclose(step.x, denoiser.flow(x, 1.0, step.t), rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("path", [VP(), Flow(), VE()], ids=repr)
def test_in_one_dimension_the_flow_is_the_quantile_map(path):
    """C8 of the plan of tests: the flow keeps order, so it takes each quantile to its own."""
    weights, means, stds = (torch.tensor(v).double() for v in ([0.3, 0.7], [-1.0, 0.8], [0.4, 0.2]))
    denoiser = MixtureDenoiser(path, weights, means[:, None], (stds**2)[:, None, None])

    def law(x, t):
        alpha, sigma = path(t)
        spread = torch.sqrt(alpha**2 * stds**2 + sigma**2)
        return (weights * torch.from_numpy(norm.cdf(((x - alpha * means) / spread).numpy()))).sum(1)

    _, sigma = path(1.0)
    x = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None] * sigma
    *_, last = trajectory(denoiser, x, to(1e-9), 2)
    assert torch.allclose(law(last.x, path.t_min), law(x, 1.0), rtol=0, atol=1e-7)


def test_a_sample_does_not_depend_on_its_batch(mixture, normal):
    denoiser, x = mixture(VP()), normal(6, 2)
    together = sample(denoiser, x, DormandPrinceFlow(), 4)
    alone = torch.cat([sample(denoiser, one[None], DormandPrinceFlow(), 4) for one in x])
    assert torch.allclose(alone, together, rtol=0, atol=1e-12)


class Knotted(Denoiser):
    """Data that change with every look: no step is small enough."""

    def forward(self, x, t, **cond):
        return torch.sin(1e9 * t.expand(len(x))[:, None] + 1e9 * x)


def test_steps_that_run_out_are_reported_in_time():
    with pytest.raises(InputError, match=r"50 steps led only to t = 0\.9\d+|t = 1,") as found:
        sample(Knotted(VP()), (2, 2), DormandPrinceFlow(max_steps=50), 2)
    assert "raise rtol and atol, or max_steps" in str(found.value)


def test_what_was_reached_is_returned_on_request(gaussian, normal):
    path = VP()
    denoiser, x = gaussian(path), starts(path, normal, 1)
    *_, last = trajectory(denoiser, x, to(1e-8, max_steps=3, unfinished="denoise"), 2)
    assert path.t_min < float(last.t) < 1
    assert torch.allclose(last.x, denoiser.flow(x, 1.0, last.t), rtol=0, atol=1e-6)
    assert torch.equal(last.x0, denoiser(last.x, last.t))


def test_samples_that_did_arrive_are_as_without_the_request(mixture, normal):
    denoiser, x = mixture(VP()), normal(6, 2)
    generous = DormandPrinceFlow(unfinished="denoise")
    assert torch.equal(
        sample(denoiser, x, generous, 2), sample(denoiser, x, DormandPrinceFlow(), 2)
    )


def test_a_step_for_all_samples_suits_the_worst(mixture, normal):
    """With steps of their own samples do not depend on each other; with one for all they do."""
    denoiser, x = mixture(VP()), normal(6, 2)
    exact = sample(denoiser, x, DormandPrinceFlow(rtol=1e-10, atol=1e-10), 2)
    for per_sample in (True, False):
        sampler = DormandPrinceFlow(per_sample=per_sample)
        together, alone = sample(denoiser, x, sampler, 2), sample(denoiser, x[:1], sampler, 2)
        assert torch.equal(together[:1], alone) is per_sample
        assert torch.allclose(together, exact, atol=2e-4)


@pytest.mark.parametrize(
    "settings", [{"rtol": 0.0}, {"atol": math.nan}, {"max_steps": 0}, {"unfinished": "x"}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        DormandPrinceFlow(**settings)
