"""Training times, weights and the loss against their formulae."""

import math

import pytest
import torch
from scipy.stats import norm
from torch import nn

from scorefield.core.couplings import Independent
from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.objective import NULL_LABEL, Objective
from scorefield.core.parameterizations import EDM, X0, Noise, Score, V, Velocity
from scorefield.core.schedules import VE, VP, Cosine, Flow
from scorefield.core.times import (
    ImportanceTimes,
    KnotTimes,
    LogitNormalTimes,
    LogNormalTimes,
    UniformLogSNRTimes,
    UniformTimes,
)
from scorefield.core.weightings import SNR, EDMWeight, Likelihood, MinSNR, TruncatedSNR, Unit
from scorefield.errors import InputError
from scorefield.recipes.catalog import TIMES as TIME_KINDS

KINDS = [X0, Noise, V, Velocity, Score, EDM]
TIMES = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
U = torch.linspace(0.001, 0.999, 101, dtype=torch.float64)


class Affine(nn.Module):
    def forward(self, x, c_noise, label=None):
        shift = 0 if label is None else 0.1 * label.reshape(-1, *[1] * (x.ndim - 1))
        return 0.5 * x - 0.2 + shift


def denoiser(schedule=None, parameterization=None):
    return NetworkDenoiser(Affine(), schedule or VP(), parameterization or EDM(0.5))


def test_uniforms_are_stratified(generator, normal):
    """One time in each of B equal strata, and not in the order of the batch."""
    size = 64
    t, _, _ = Objective().draw(VP(), normal(size, 2), None, generator)
    stratum = torch.floor((t - VP().t_min) / (1 - VP().t_min) * size).long()
    assert stratum.sort().values.tolist() == list(range(size))
    assert stratum.tolist() != list(range(size))


def test_jitter_fills_the_strata(generator, normal):
    """The place within a stratum is uniform: mean ½ and variance 1/12, within 5 standard errors."""
    n = 4096
    t, _, _ = Objective(times=UniformTimes()).draw(VE(), normal(n, 1), None, generator)
    place = t * n - torch.floor(t * n)
    assert abs(float(place.mean()) - 1 / 2) < 5 * (1 / 12 / n) ** 0.5
    assert abs(float(place.var()) - 1 / 12) < 5 * (1 / 180 / n) ** 0.5


@pytest.mark.parametrize("kind", TIME_KINDS.values(), ids=TIME_KINDS.keys())
def test_times_stay_on_the_path(schedule, kind):
    ends = torch.tensor([0.0, 1e-15, 0.5, 1 - 2**-53], dtype=torch.float64)
    t = kind()(schedule, torch.cat([ends, U]))
    assert t.dtype == torch.float64
    assert ((t >= schedule.t_min) & (t <= 1)).all()
    assert len(t.unique()) > 50


def test_uniform_times(schedule):
    low = schedule.t_min
    assert torch.allclose(UniformTimes()(schedule, U), low + (1 - low) * U, rtol=0, atol=1e-15)


def test_knot_times_are_knots_and_each_is_hit_alike(generator, normal):
    draw = Objective(times=KnotTimes(20)).draw(VP(), normal(60, 2), None, generator)[0]
    knots = (draw * 20).round()
    assert torch.allclose(draw, knots / 20, rtol=0, atol=1e-15)
    assert knots.long().bincount().tolist() == [0] + 20 * [3]


def test_log_normal_times():
    """log σ/α = P_mean + P_std Φ⁻¹(u); over all u the mean and spread are those numbers."""
    path = VE(0.002, 80.0)
    t = LogNormalTimes(-1.2, 1.2)(path, U)
    expected = -1.2 + 1.2 * norm.ppf(U.numpy())
    assert torch.allclose(path.sigma(t).log(), torch.from_numpy(expected), rtol=0, atol=1e-10)
    middle = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    log_noise = path.sigma(LogNormalTimes(-1.2, 1.2)(path, middle)).log()
    assert float(log_noise.mean()) == pytest.approx(-1.2, abs=1e-9)
    assert float(log_noise.std()) == pytest.approx(1.2, abs=2e-3)


def test_log_normal_times_mean_the_same_noise_on_every_path(schedule):
    t = LogNormalTimes(-0.5, 0.4)(schedule, U)
    expected = torch.from_numpy(-0.5 + 0.4 * norm.ppf(U.numpy()))
    assert torch.allclose(-0.5 * schedule.log_snr(t), expected, rtol=0, atol=1e-8)


def test_logit_normal_times():
    t = LogitNormalTimes(0.5, 0.8)(Flow(), U)
    assert torch.allclose(t.logit(), 0.5 + 0.8 * torch.from_numpy(norm.ppf(U)), rtol=0, atol=1e-10)


def test_uniform_log_snr_times():
    path = VE(0.01, 50.0)
    log_snr = path.log_snr(UniformLogSNRTimes()(path, U))
    high, low = -2 * math.log(0.01), -2 * math.log(50)
    assert torch.allclose(log_snr, high + U * (low - high), rtol=0, atol=1e-10)


def errors(schedule, kind, normal):
    """Squared errors of one random answer of the network: in F, x₀, ε and the score."""
    parameterization = kind(0.5)
    x0, eps, wrong = normal(len(TIMES)), normal(len(TIMES)), normal(len(TIMES))
    alpha, sigma = schedule(TIMES)
    a, b = parameterization.target(schedule, TIMES)
    skip, out = parameterization.inversion(schedule, TIMES)
    x, answer = alpha * x0 + sigma * eps, a * x0 + b * eps + wrong
    x0_hat = skip * x + out * answer
    eps_hat = (x - alpha * x0_hat) / sigma
    return wrong**2, (x0_hat - x0) ** 2, (eps_hat - eps) ** 2, (eps_hat - eps) ** 2 / sigma**2


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_what_they_say_of_x0_noise_and_score(schedule, kind, normal):
    target, x0, eps, score = errors(schedule, kind, normal)
    alpha, sigma = schedule(TIMES)
    snr, g = alpha**2 / sigma**2, schedule.diffusion(TIMES)
    expected = {
        Unit(): target,
        SNR(): eps,
        TruncatedSNR(): torch.maximum(snr, torch.tensor(1.0)) * x0,
        MinSNR(2.0): torch.minimum(snr, torch.tensor(2.0)) * x0,
        EDMWeight(): (sigma**2 / alpha**2 + 0.25) / (0.5 * sigma / alpha) ** 2 * x0,
        Likelihood(): 0.5 * g**2 * score,
    }
    for weighting, error in expected.items():
        weight = weighting(schedule, kind(0.5), TIMES)
        assert torch.allclose(weight * target, error, rtol=1e-8, atol=1e-12)


def test_the_weight_of_edm_is_unit_for_its_parameterization(schedule):
    weight = EDMWeight()(schedule, EDM(0.5), TIMES)
    assert torch.allclose(weight, torch.ones_like(TIMES), rtol=1e-9, atol=0)
    ends = torch.tensor([schedule.t_min, 1.0], dtype=torch.float64)
    assert EDMWeight()(schedule, V(0.5), ends).isfinite().all()


def test_unit_weight_on_edm_is_its_papers_lambda():
    """Karras et al. 2022, table 1: λ(σ) = (σ² + σ_data²)/(σ σ_data)² on ‖x̂₀ - x₀‖²."""
    path = VE(0.002, 80.0)
    sigma, (_, out) = path.sigma(TIMES), EDM(0.5).inversion(path, TIMES)
    weight = Unit()(path, EDM(0.5), TIMES) / out**2
    assert torch.allclose(weight, (sigma**2 + 0.25) / (sigma * 0.5) ** 2, rtol=1e-12, atol=0)


def test_independent_coupling_leaves_the_noise_alone(normal):
    eps = normal(4, 2)
    assert Independent()(normal(4, 2), eps) is eps


def test_noise_is_standard_normal(generator, normal):
    _, eps, _ = Objective().draw(VP(), normal(100, 2, 5, 5), None, generator)
    n = eps.numel()
    assert abs(float(eps.mean())) < 5 / n**0.5
    assert abs(float((eps**2).mean()) - 1) < 5 * (2 / n) ** 0.5
    assert not torch.equal(eps[0], eps[1])


def test_labels_are_dropped_at_the_stated_share(generator, normal):
    n = 20000
    label = torch.arange(n) % 10
    t, _, kept = Objective(drop=0.1).draw(VP(), normal(n, 1), label, generator)
    dropped = kept == NULL_LABEL
    assert abs(float(dropped.double().mean()) - 0.1) < 5 * (0.1 * 0.9 / n) ** 0.5
    assert torch.equal(kept[~dropped], label[~dropped])
    for other in (t, torch.arange(n).double(), label.double()):  # whatever else there is
        pair = torch.stack([dropped.double(), other])
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 5 / n**0.5


def test_no_label_and_every_label_can_be_dropped(generator, normal):
    label, x0 = torch.arange(8), normal(8, 1)
    assert torch.equal(Objective(drop=0.0).draw(VP(), x0, label, generator)[2], label)
    assert (Objective(drop=1.0).draw(VP(), x0, label, generator)[2] == NULL_LABEL).all()
    assert Objective().draw(VP(), x0, None, generator)[2] is None


def test_same_seed_same_loss(normal):
    x0, label = normal(8, 2), torch.arange(8)

    def loss(seed):
        generator = torch.Generator().manual_seed(seed)
        return Objective(drop=0.5)(denoiser(), x0, generator=generator, label=label)

    assert torch.equal(loss(1), loss(1))
    assert not torch.equal(loss(1), loss(2))


@pytest.mark.parametrize("label", [None, torch.arange(6)])
def test_loss_is_weight_times_squared_error(normal, label):
    """The mean square of F - (a x₀ + b ε), times the weight, at the times and noise drawn."""
    x0, objective = normal(6, 3), Objective(weighting=SNR(), drop=0.5)
    path, noise = VP(), Noise(0.5)
    model = denoiser(path, noise)
    t, eps, kept = objective.draw(path, x0, label, torch.Generator().manual_seed(3))
    alpha, sigma = (v[:, None] for v in path(t))
    seen = (alpha * x0 + sigma * eps) / torch.sqrt(0.25 * alpha**2 + sigma**2)
    answer = Affine()(seen, None, kept)
    # the noise-prediction weight of SNR is α²/σ² · σ²/α² = 1
    expected = ((answer - eps) ** 2).mean(1)
    got = objective(model, x0, generator=torch.Generator().manual_seed(3), label=label)
    assert torch.allclose(got, expected, rtol=1e-10, atol=0)
    assert torch.equal(got, objective.losses(model, x0, t, eps, kept))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (KnotTimes, {"steps": 0}),
        (LogNormalTimes, {"std": 0.0}),
        (LogNormalTimes, {"std": math.nan}),
        (LogitNormalTimes, {"std": -1.0}),
        (MinSNR, {"gamma": 0.0}),
        (Objective, {"drop": -0.1}),
        (Objective, {"drop": 1.1}),
        (Objective, {"drop": math.nan}),
    ],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(InputError, match=rf"{next(iter(settings))} must"):
        kind(**settings)


@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
def test_the_weight_of_the_likelihood_is_finite_where_no_signal_is_left(path):
    """It goes to its limit: the weight just before the end is next to that at the end."""
    near = torch.tensor([1 - 1e-7, 1.0], dtype=torch.float64)
    before, end = Likelihood()(path, EDM(0.5), near)
    assert float(end) == pytest.approx(float(before), abs=1e-5)


def test_times_that_are_drawn_more_often_count_less(normal):
    times = ImportanceTimes(stretches=4, floor=0.2).knowing(torch.tensor([0.0, 1, 4, 25]))
    objective, x0 = Objective(times=times), normal(8, 2)
    t, eps, _ = objective.draw(VP(), x0, None, torch.Generator().manual_seed(3))
    got = objective(denoiser(), x0, generator=torch.Generator().manual_seed(3))
    share = times.correction(VP(), t)
    assert not torch.allclose(share, torch.ones_like(share))
    assert torch.allclose(got, share * objective.losses(denoiser(), x0, t, eps, None))


@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_their_limit_where_no_signal_is_left(path, kind):
    """At t = 1, which the knots of a chain have: as near it, up to the distance."""
    near = torch.tensor(1 - 1e-9, dtype=torch.float64)
    for weighting in (SNR(), MinSNR()):
        found, beside = (weighting(path, kind(), t) for t in (torch.ones_like(near), near))
        assert torch.allclose(found, beside, rtol=1e-6, atol=1e-12)
