"""Broken objects fail: a claim that nothing can break proves nothing."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from scorefield.core import denoisers
from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import EmpiricalDenoiser, MixtureDenoiser
from scorefield.core.parameterizations import V, Velocity
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.guidance.cfg import CFG
from scorefield.guidance.classifier import ClassifierGuidance
from scorefield.samplers.base import OneStep, posterior_step
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.flow import Euler
from scorefield.samplers.stochastic import EulerMaruyama, euler_maruyama_step
from scorefield.verification import (
    Place,
    densities,
    flows,
    guidance,
    identities,
    laws,
    learning,
    likelihoods,
    orders,
    posteriors,
    ramps,
    trained,
)
from scorefield.verification import schedules as paths

PLACE = Place()


class LoudVP(VP):
    """g² is 1 % too large."""

    def diffusion(self, t):
        return super().diffusion(t) * 1.01**0.5


class VarianceSubVP(SubVP):
    """The classic mistake: 1 - α² taken for σ², with the rates left as they are."""

    def sigma(self, t):
        return torch.sqrt(super().sigma(t))


class SpreadTutorial(VE):
    """σ(t) drawn from g(t), as in some published plots."""

    def rates(self, t):
        alpha, sigma = super().rates(t)
        return alpha, 1.01 * sigma


class LateFlow(Flow):
    """The inverse of log-SNR is a little off."""

    def time(self, log_snr):
        return super().time(log_snr) * (1 - 1e-6)


def printed(kind):
    _, _, drift, squared, _ = paths.PUBLISHED[kind]
    return drift, squared, PLACE


def test_a_g_that_is_off_is_found():
    assert paths.published_rates(VP(), *printed("vp")) < 1e-9
    assert paths.published_rates(LoudVP(), *printed("vp")) > 1e-3
    assert paths.generic_rates(LoudVP(), PLACE) > 1e-3
    assert identities.flow_of_score(LoudVP(), PLACE) > 1e-3


@pytest.mark.slow
def test_sub_vp_with_the_variance_for_the_deviation_is_found():
    assert paths.moments(VarianceSubVP(), *printed("subvp")) > 1e-2
    assert paths.published_rates(VarianceSubVP(), *printed("subvp")) > 1e-2
    assert paths.generic_rates(VarianceSubVP(), PLACE) > 1e-2
    assert paths.continuity(VarianceSubVP(), PLACE) > 1e-3
    assert likelihoods.mixture_likelihood(VarianceSubVP(), PLACE) > 1e-2


@pytest.mark.slow
def test_rates_that_are_off_are_found():
    assert paths.continuity(SpreadTutorial(), PLACE) > 1e-4
    assert flows.velocity_of_map(SpreadTutorial(), PLACE) > 1e-4
    assert likelihoods.gaussian_likelihood(SpreadTutorial(), PLACE) > 1e-3
    assert paths.round_trip(LateFlow(), PLACE) > 1e-9


def test_swapped_printed_rates_are_found():
    assert paths.moments(VP(), *printed("subvp")) > 1e-3
    assert paths.moments(Flow(), *printed("cosine")) > 1e-3


@dataclass(frozen=True)
class Boastful(OneStep):
    """Euler's method that claims order 2."""

    order: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False

    def step(self, schedule, x, x0, t, s, noise):
        return Euler().step(schedule, x, x0, t, s, noise)


@dataclass(frozen=True)
class Lazy(OneStep):
    """Euler's method whose steps fall 5 % short: it converges to the wrong map."""

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def step(self, schedule, x, x0, t, s, noise):
        return x + 0.95 * (Euler().step(schedule, x, x0, t, s, noise) - x)


@pytest.mark.parametrize("sampler", [Boastful(), Lazy()], ids=lambda s: type(s).__name__)
def test_a_sampler_of_the_wrong_order_is_found(sampler):
    found = flows.order(sampler, VP(), PLACE)
    assert abs(found) > 0.3
    assert abs(flows.order(Euler(), VP(), PLACE)) < 0.3


@dataclass(frozen=True)
class Loud(OneStep):
    """Euler-Maruyama with a factor on its noise."""

    factor: float = 1.05
    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, schedule, x, x0, t, s, noise):
        return euler_maruyama_step(schedule, x, x0, t, s, 1.0, lambda x: self.factor * noise(x))


@dataclass(frozen=True)
class NoHalf(OneStep):
    """The probability flow without its ½, as one library has it."""

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False

    def step(self, schedule, x, x0, t, s, noise):
        return EulerMaruyama().step(schedule, x, x0, t, s, torch.zeros_like)


def test_too_much_noise_is_found():
    assert laws.law_in_the_limit(Loud(factor=1.0), VP(), PLACE) < 0.03
    assert laws.law_in_the_limit(Loud(factor=1.05), VP(), PLACE) > 0.03
    assert laws.law_in_the_limit(Loud(factor=0.95), Flow(), PLACE) > 0.03
    assert laws.law_by_count(Loud(factor=1.1), PLACE) > 5
    assert laws.law_by_count(NoHalf(), PLACE) > 5
    assert laws.energy_share(Loud(factor=1.5), PLACE) > 1


@dataclass(frozen=True)
class HalfOrder(OneStep):
    """Euler-Maruyama with noise that is too large by √h."""

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True

    def step(self, schedule, x, x0, t, s, noise):
        louder = 1 + float(torch.sqrt(t - s))
        return euler_maruyama_step(schedule, x, x0, t, s, 1.0, lambda x: louder * noise(x))


@pytest.mark.slow
def test_a_stochastic_sampler_of_the_wrong_order_is_found():
    assert orders.order_in_law(Loud(factor=1.0), 1, PLACE) > 0.7
    assert orders.order_in_law(Loud(), 1, PLACE) < 0.7
    assert orders.order_in_law(HalfOrder(), 1, PLACE) < 0.7
    assert orders.strong_order(HalfOrder(), PLACE) < 0.9


def test_a_flow_without_its_half_is_found():
    assert abs(flows.order(NoHalf(), VP(), PLACE)) > 0.3


def test_a_target_that_is_not_its_inverse_is_found():
    class Turned(V):
        def inversion(self, schedule, t):
            skip, out = super().inversion(schedule, t)
            return skip, 1.001 * out

    class Other(Velocity):
        def inversion(self, schedule, t):
            return V().inversion(schedule, t)

    assert identities.conversions(V(), PLACE) < 1e-12
    assert identities.conversions(Turned(), PLACE) > 1e-5
    assert identities.conversions(Other(), PLACE) > 1e-5


def half_noise(schedule, x, x0, t):
    """ε̂ that is 1 % too small."""
    alpha, sigma = schedule(t)
    return 0.99 * (x - alpha * x0) / sigma


def test_noise_that_is_off_is_found(monkeypatch):
    monkeypatch.setattr(denoisers, "noise_from", half_noise)
    assert identities.score_of_density(VP(), PLACE) > 1e-4
    assert identities.flow_of_score(VP(), PLACE) > 1e-4
    assert paths.continuity(VP(), PLACE) > 1e-4


@pytest.fixture
def shrunk(monkeypatch):
    """Exact denoisers that are 1 % too small."""
    for cls in (MixtureDenoiser, EmpiricalDenoiser):
        forward = cls.forward
        monkeypatch.setattr(
            cls, "forward", lambda self, x, t, _f=forward, **cond: 0.99 * _f(self, x, t)
        )
    flows._problem.cache_clear()
    yield
    flows._problem.cache_clear()


@pytest.mark.slow
def test_a_denoiser_that_is_off_is_found(shrunk):
    assert identities.score_of_density(VP(), PLACE) > 1e-4
    assert identities.finite_data(PLACE) > 1e-4
    assert identities.samples_are_points(PLACE) > 0.5
    assert flows.gaussian_map(VP(), PLACE) > 1e-4
    assert flows.velocity_of_map(VP(), PLACE) > 1e-5
    assert flows.error(flows.FINE, VP(), 2, 1.0, PLACE) > 1e-4
    assert abs(flows.order_of_runge_kutta(VP(), PLACE) - 4) > 0.25
    assert densities.solved_likelihood(VP(), PLACE) > 1e-3
    assert identities.score_in_many_dimensions(16, PLACE) > 1e-4
    assert densities.shipped_bound(2, PLACE) > 1e-6
    assert ramps.ramp(PLACE) > 1e-4
    assert ramps.ramp_by_nodes(PLACE) > 1e-4
    assert abs(flows.order(Euler(), VP(), PLACE)) > 0.3
    assert likelihoods.gaussian_likelihood(VP(), PLACE) > 1e-3
    assert likelihoods.discrete_bound(PLACE) > 1e-6
    assert abs(likelihoods.information(PLACE)) > 2e-3
    assert guidance.inverse_problem(VP(), PLACE) > 1e-6
    assert learning.regret(PLACE) > 1e-6
    assert learning.divergence(PLACE) > 1e-3
    assert learning.expected_loss(PLACE) > 1e-6
    assert learning.consistency_in_sigma(PLACE) > 1e-6
    assert learning.mean_flow(VP(), PLACE) > 1e-6


def test_a_posterior_step_that_is_off_is_found(monkeypatch):
    def off(schedule, x, x0, t, s, eta, noise):
        return posterior_step(schedule, x, x0, t, s, 0.9 * eta, noise)

    monkeypatch.setattr(likelihoods, "posterior_step", off)
    assert likelihoods.discrete_bound(PLACE) > 1e-6


@pytest.mark.slow
def test_a_guidance_scale_counted_from_zero_is_found(monkeypatch):
    """Ho & Salimans' own w is one less: the usual mistake."""
    monkeypatch.setattr(guidance, "CFG", lambda denoiser, scale: CFG(denoiser, scale + 1))
    assert guidance.line_through_both(VP(), PLACE) > 1e-2
    assert guidance.equal_spreads(3.0, PLACE) > 1e-2
    assert abs(guidance.flow_variance(2.0, 1.0, 2.0, PLACE) - 0.5) > 1e-2
    assert abs(guidance.sde_variance(2.0, 1.0, 2.0, PLACE) - 0.5833) > 1e-2
    assert guidance.predictor_corrector_form(PLACE) > 1e-3


def test_a_gradient_of_the_wrong_size_is_found(monkeypatch):
    """σ² in the place of σ²/α."""

    class Off(Denoiser):
        def __init__(self, denoiser, log_prob):
            super().__init__(denoiser.schedule)
            self.led, self.plain = ClassifierGuidance(denoiser, log_prob), denoiser

        def forward(self, x, t, **cond):
            plain = self.plain(x, t)
            return plain + self.schedule(t)[0] * (self.led(x, t) - plain)

    for module in (guidance, posteriors):
        monkeypatch.setattr(module, "ClassifierGuidance", Off)
    assert guidance.classifier(VP(), PLACE) > 1e-3
    assert guidance.inverse_problem(VP(), PLACE) > 1e-3
    assert posteriors.covariance_guidance(VP(), PLACE) > 1e-3
    assert guidance.classifier(VE(), PLACE) < 1e-10  # where α is 1 there is no mistake


@pytest.mark.slow
def test_a_posterior_that_is_off_is_found(monkeypatch):
    assert posteriors.posterior_energy(DPMSolverPP(), PLACE, scale=2.0) > 1
    assert posteriors.replacement(0.8, PLACE) > 0.1
    exact = posteriors.log_evidence
    monkeypatch.setattr(posteriors, "log_evidence", lambda *a, **k: 0.7 * exact(*a, **k))
    assert abs(posteriors.particle_slope(PLACE, runs=32, steps=20) + 0.5) > 0.1


def test_a_stop_on_the_way_is_not_another_sampler():
    assert identities.ends_apart(Euler(), replace(Euler()), VP(), PLACE) == 0
    assert identities.ends_apart(Euler(), Lazy(), VP(), PLACE) > 1e-6


@pytest.mark.slow
def test_a_network_that_has_learnt_little_is_found():
    assert trained.divergence("50steps", PLACE) > 0.02
