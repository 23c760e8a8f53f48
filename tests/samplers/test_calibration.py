"""A calibration lowers the error to the exact flow, and never keeps what does not."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import lstsq

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP
from scorefield.errors import InputError
from scorefield.guidance.cfg import CFG
from scorefield.samplers.base import Conditioned, sample
from scorefield.samplers.calibration import calibrate
from scorefield.samplers.calibration_walks import Equations, Walks, distances
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import UniformLogSNR
from scorefield.samplers.residual import GaussianResidual
from scorefield.samplers.residual_grid import ResidualGrid


@pytest.fixture(scope="module")
def line():
    """Three Gaussians on a line, noise, and the flow's ends by 800 steps of Heun."""
    weights = torch.tensor([0.3, 0.5, 0.2])
    means = torch.tensor([[-1.0], [0.2], [0.9]])
    data = MixtureDenoiser(VP(), weights, means, torch.full((3, 1, 1), 0.02))
    x = torch.randn(160, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return data, x, sample(data, x, Heun(UniformLogSNR()), 800)


@pytest.mark.parametrize("steps", [5, 10])
def test_the_error_to_the_exact_flow_falls(line, steps):
    """On noise that the search has not seen, against an end that it has not seen either."""
    data, x, end = line
    *_, last = calibrate(data, x[:100], steps)

    def error(sampler):
        return float((sample(data, x[100:], sampler, steps) - end[100:]).abs().mean())

    assert last.error < last.before
    assert error(last.sampler) < error(GaussianResidual()) / 2


def test_it_tells_how_far_it_is_and_only_gets_better(line):
    data, x, _ = line
    seen = list(calibrate(data, x[:40], 5))
    shares = [stop.share for stop in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(stop.error <= stop.before for stop in seen)
    assert len({stop.before for stop in seen}) == 1


def test_what_does_not_help_is_not_kept(line, monkeypatch):
    """A round whose sampler is worse on the samples that judge leaves the sampler as it came."""
    data, x, _ = line

    def worse(walks, here, known, damping):
        return walks.walk(here.theta + 0.5 * (torch.arange(len(here.theta)) >= 5)), damping

    monkeypatch.setattr("scorefield.samplers.calibration.Walks.better", worse)
    *_, last = calibrate(data, x[:40], 5)
    assert last.sampler == GaussianResidual()
    assert last.error == last.before


def test_nothing_is_found_where_nothing_can_be_better():
    """Gaussian data are exact at once: every derivative is nought, and no step is taken."""
    data = GaussianDenoiser(VP(), torch.zeros(2).double(), torch.eye(2).double())
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)).double()
    walks = Walks(Conditioned(data, {}), x, x, GaussianResidual(), 3)
    here = walks.walk(walks.first)
    columns = torch.stack(list(walks.columns(here)))
    assert columns.abs().max() < 1e-9
    assert walks.better(here, [walks.equations(here, torch.zeros_like(columns))], 1e-2)[0] is here


def test_every_class_leads_and_judges(line):
    """Where classes take turns, as a model's own labels do."""
    _, x, _ = line
    data = MixtureDenoiser(VP(), torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    seen, plain = [], data.forward

    def forward(x, t, label=None):
        seen.append(set(label.tolist()))
        return plain(x, t)

    data.forward = forward
    list(calibrate(data, x[:40], 2, label=torch.arange(40) % 10))
    assert seen
    assert all(labels == set(range(10)) for labels in seen)


def test_states_go_in_parts_with_their_conditions(line):
    data, x, _ = line
    sizes, plain = [], data.forward

    def forward(x, t, label):
        assert torch.equal(x[:, 0] > 10, label > 10)
        sizes.append(len(x))
        return plain(x, t)

    other = MixtureDenoiser(VP(), torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    other.forward = lambda x, t, label: forward(0 * x + label[:, None], t, label)
    label = torch.arange(20)
    list(calibrate(other, x[:20], 2, batch=3, label=label))
    assert max(sizes) == 3
    *_, whole = calibrate(data, x[:20], 3)
    *_, parts = calibrate(data, x[:20], 3, batch=7)
    assert parts.error == pytest.approx(whole.error, rel=1e-3)


class Labelled(Denoiser):
    """One part of three for label 0, and all of them without a label."""

    def __init__(self, data):
        super().__init__(data.schedule, data.moments)
        spread = data.variances[0].reshape(1, 1, 1)
        self.free, self.part = data, MixtureDenoiser(VP(), torch.ones(1), data.means[2:], spread)

    def forward(self, x, t, label):
        return torch.where(label[:, None] < 0, self.free(x, t), self.part(x, t))


def test_weights_make_good_what_a_teacher_has_and_the_model_lacks(line):
    """Guidance of 2 everywhere, by a model that has it above σ/α = 0.5 only, on noise not seen before."""
    data, x, _ = line
    both, label = Labelled(data), torch.zeros(len(x), dtype=torch.int64)
    whole, above = CFG(both, 2.0), CFG(both, 2.0, least=0.5)
    ends = sample(whole, x, Heun(UniformLogSNR()), 800, label=label)

    def error(sampler):
        got = sample(above, x[100:], sampler, 5, label=label[100:])
        return float((got - ends[100:]).abs().mean())

    *_, own = calibrate(above, x[:100], 5, label=label[:100])
    *_, taught = calibrate(above, x[:100], 5, teacher=whole, label=label[:100])
    assert error(taught.sampler) < error(own.sampler) / 5


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_can_be_written(seed):
    """A last level driven to the path's end and rounded there is still on the path."""
    weights, means = torch.tensor([0.3, 0.5, 0.2]), torch.tensor([[-1.0], [0.2], [0.9]])
    data = MixtureDenoiser(VE(0.1, 20.0), weights, means, torch.full((3, 1, 1), 0.02))
    x = 20 * torch.randn(32, 1, generator=torch.Generator().manual_seed(seed))
    *_, last = calibrate(data, x, 8)
    assert math.isfinite(last.error)


def test_narrow_data_begin_at_the_rules_own_levels():
    """Where 5.5 σ_data is below the path's least noise, which no given level may be."""
    covariances = torch.full((2, 1, 1), 1e-8)
    means = torch.tensor([[-1e-4], [1e-4]])
    data = MixtureDenoiser(VE(0.01, 50.0), torch.ones(2), means, covariances)
    x = 50 * torch.randn(8, 1, generator=torch.Generator().manual_seed(0))
    *_, last = calibrate(data, x, 5)
    assert math.isfinite(last.error)


def test_conditions_go_with_their_samples(line):
    """A label for each sample reaches the denoiser with its own sample."""
    _, x, _ = line
    labelled = MixtureDenoiser(VP(), torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    rows = []
    plain = labelled.forward

    def forward(x, t, label=None):
        rows.append(label.tolist())
        return plain(x, t)

    labelled.forward = forward
    list(calibrate(labelled, x[:6], 3, label=torch.arange(6)))
    assert {tuple(row) for row in rows} == {(0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4), (5,)}


def test_impossible_requests_are_refused(line):
    data, x, _ = line
    with pytest.raises(InputError, match="at least 2 samples, got 1"):
        calibrate(data, x[:1], 5)
    with pytest.raises(InputError, match="steps must be at least 2, got 1"):
        calibrate(data, x, 1)
    assert math.isfinite(next(iter(calibrate(data, x[:4], 2))).error)
    with pytest.raises(InputError, match=r"only GaussianResidual\(\) can be .*, got DPMSolverPP"):
        calibrate(data, x, 3, DPMSolverPP())
    without = MixtureDenoiser(VP(), torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    without.moments = None
    with pytest.raises(InputError, match="needs the mean and covariance"):
        calibrate(without, x, 3)


def test_a_calibrated_sampler_can_be_calibrated_again(line):
    data, x, _ = line
    *_, first = calibrate(data, x[:40], 5)
    *_, again = calibrate(data, x[:40], 5, first.sampler)
    assert again.before == pytest.approx(first.error)
    assert again.error <= again.before


def test_before_is_the_error_of_the_sampler_as_it_came(line):
    data, x, _ = line
    own = GaussianResidual(ResidualGrid(first=3.0), offset=0.2)
    last = list(calibrate(data, x[:40], 5, own))[-1]
    ends = sample(data, x[:40], GaussianResidual(), 80)
    apart = (sample(data, x[30:40], own, 5) - ends[30:]).abs().mean()
    assert last.before == pytest.approx(float(apart))


@pytest.fixture(params=[("integrate", None), ("denoise", None), ("denoise", 1.0)])
def walks(line, request):
    data, x, end = line
    final, bound = request.param
    sampler = GaussianResidual(final=final, bound=bound)
    return Walks(Conditioned(data, {}), x[:30], end[:30], sampler, 4)


def somewhere(walks):
    """Some θ near the first."""
    draw = torch.randn(len(walks.first), generator=torch.Generator().manual_seed(3))
    return walks.first + 0.05 * draw.double()


def asked(walks, here):
    """What the samples of a walk say of a step."""
    return walks.equations(here, torch.stack(list(walks.columns(here))))


def test_a_walk_is_the_samplers(line, walks):
    data, x, _ = line
    theta = somewhere(walks)
    expected = sample(data, x[:30], walks.sampler(theta), 4)
    assert torch.equal(walks.walk(theta).ends, expected)


def test_columns_are_derivatives_of_whole_walks(line, walks):
    """Taken up halfway or not: central differences of `sample` from the start, at some θ."""
    data, x, _ = line
    theta = somewhere(walks)
    columns = list(walks.columns(walks.walk(theta)))
    assert len(columns) == len(theta)
    for place, column in zip(walks.free, columns, strict=True):
        ends = []
        for stride in (1e-4, -1e-4):
            moved = theta.clone()
            moved[place] += stride
            ends.append(sample(data, x[:30], walks.sampler(moved), 4))
        slope = (ends[0] - ends[1]) / 2e-4
        assert torch.allclose(column, slope, rtol=0, atol=0.05 * float(slope.abs().max()) + 1e-9)


def test_a_step_solves_the_damped_and_weighed_least_squares(line, walks, monkeypatch):
    """Scipy's solution of min |J s + r|² + λ Σ (JᵀJ)_jj s_j², with soft-L1's weights in J and r."""
    here = walks.walk(walks.first)
    columns = torch.stack(list(walks.columns(here)))
    monkeypatch.setattr(Walks, "_cost", lambda _, walk: 1.0 if walk is here else 0.0)
    found, damping = walks.better(here, [walks.equations(here, columns)], 5.0)
    assert damping == pytest.approx(5.0 * 0.3)  # taken at once
    apart = (here.ends - walks.ends).flatten(1).numpy()
    scale = 0.2 * line[0].moments.sigma_data
    root = (np.square(apart).mean(1) + scale**2) ** -0.25
    slopes = (columns.flatten(2).numpy() * root[:, None]).reshape(len(columns), -1).T
    square = np.square(slopes).sum(0)
    # The second term holds those that do next to nothing where they are.
    damped = np.vstack([slopes, np.diag(np.sqrt(5.0 * (square + 1e-12 * square.max())))])
    aim = np.concatenate([-(apart * root[:, None]).ravel(), np.zeros(len(columns))])
    step, *_ = lstsq(damped, aim)
    assert np.allclose((found.theta - here.theta)[walks.free], step, rtol=1e-4, atol=1e-6)


def test_what_parts_say_adds_up(walks):
    """JᵀJ and Jᵀr of all samples are the sums of those of two parts, at some θ."""
    theta = somewhere(walks)

    parts = (slice(0, 20), slice(20, 30))
    some = (replace(walks, x=walks.x[p], ends=walks.ends[p]) for p in parts)
    first, second, whole = (asked(each, each.walk(theta)) for each in (*some, walks))
    assert torch.allclose(first.square + second.square, whole.square, rtol=1e-9)
    assert torch.allclose(first.fall + second.fall, whole.fall, rtol=1e-9, atol=1e-12)


def test_what_was_said_elsewhere_is_carried_along(walks):
    """Where r is linear, Jᵀr grows by JᵀJ for each step of θ, wherever it was asked."""
    here = walks.walk(walks.first)
    said = asked(walks, here)
    away = 0.1 * torch.arange(len(walks.first)).double()
    elsewhere = Equations(
        walks.first + away, said.square, said.fall + said.square @ away[walks.free]
    )
    straight, _ = walks.better(here, [said, said], 1e-2)
    around, _ = walks.better(here, [elsewhere, said], 1e-2)
    assert straight is not here
    assert torch.allclose(around.theta, straight.theta, rtol=1e-6)


def test_what_was_said_before_counts_half(walks):
    here = walks.walk(walks.first)
    now = asked(walks, here)
    skew = torch.arange(len(now.fall)).double()
    before = Equations(here.theta, now.square * (1 + skew + skew[:, None]), now.fall * skew)
    both = Equations(here.theta, now.square + before.square / 2, now.fall + before.fall / 2)
    found, _ = walks.better(here, [before, now], 1e-2)
    expected, _ = walks.better(here, [both], 1e-2)
    assert torch.allclose(found.theta, expected.theta, rtol=1e-6)
    assert not torch.equal(found.theta, walks.better(here, [now], 1e-2)[0].theta)


def test_a_round_asks_half_of_those_that_lead():
    """Of 16 samples of 100 values: 12 lead, 6 of them at a time, and each is asked as often."""
    data = GaussianDenoiser(VP(), torch.zeros(100).double(), torch.eye(100).double())
    x = torch.randn(16, 100, generator=torch.Generator().manual_seed(0)).double()
    seen, plain = [], data.forward

    def forward(x, t, label):
        seen.append(tuple(label.tolist()))
        return plain(x, t)

    data.forward = forward
    list(calibrate(data, x, 2, label=torch.arange(16)))
    assert {len(each) for each in seen} == {16, 12, 6, 4}
    # In four of eight rounds: 2 for the walk, 2 + 1 for its levels, 2 for the weights after the first.
    assert [seen.count(half) for half in (tuple(range(6)), tuple(range(6, 12)))] == [28, 28]


def test_only_steps_that_lower_the_cost_are_taken(walks):
    here = walks.walk(walks.first)
    columns = torch.stack(list(walks.columns(here)))
    same, damping = walks.better(here, [walks.equations(here, -columns)], 1e-3)  # the wrong way
    assert same is here
    assert damping > 1
    found, damping = walks.better(here, [walks.equations(here, columns)], 1e-3)
    assert found is not here
    assert distances(found.ends, walks.ends).mean() < distances(here.ends, walks.ends).mean()


def test_levels_do_not_run_into_each_other(walks, monkeypatch):
    """A step that would leave no room for a stride between two is not taken, however good."""
    here = walks.walk(walks.first)
    columns = torch.stack(list(walks.columns(here)))
    together = here.theta.clone()
    together[1] = together[0] - 4e-3
    monkeypatch.setattr(Walks, "_cost", lambda _, walk: 1.0 if walk is here else 0.0)
    monkeypatch.setattr(torch.linalg, "solve", lambda *_: (here.theta - together)[walks.free])
    assert walks.better(here, [walks.equations(here, columns)], 1e-3)[0] is here
    together[1] = together[0] - 1e-2
    found, _ = walks.better(here, [walks.equations(here, columns)], 1e-3)
    assert len(list(walks.columns(found))) == len(walks.free)


def test_a_first_level_that_is_the_starts_is_left_there():
    """On a path that begins at 2 σ_data there is nothing to cross."""
    means, covariances = torch.tensor([[-0.5], [0.5]]), torch.full((2, 1, 1), 0.01)
    data = MixtureDenoiser(VE(0.01, 1.0), torch.ones(2), means, covariances)
    walks = Walks(Conditioned(data, {}), torch.ones(4, 1), torch.ones(4, 1), GaussianResidual(), 3)
    assert walks.free[0] == 1
    assert len(list(walks.columns(walks.walk(walks.first)))) == len(walks.first) - 1
