"""Likelihoods and latent codes against the exact densities and maps of Gaussians and mixtures."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from scorefield.core.denoisers import Denoiser
from scorefield.core.likelihood import decode, encode, log_likelihood, normal_prior, slerp
from scorefield.core.ode import DormandPrince, FixedSteps
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP
from scorefield.errors import InputError
from scorefield.samplers.noise import seeded
from scorefield.samplers.stochastic import EulerMaruyama

FINE = DormandPrince(1e-8, 1e-8)


def states(denoiser, generator, count=12):
    """States at t_min, with the law that the oracle has there."""
    source = getattr(denoiser, "mixture", denoiser)
    alpha, sigma = denoiser.schedule(denoiser.schedule.t_min)
    x0 = source.draw(count, generator)
    return alpha * x0 + sigma * torch.randn(x0.shape, generator=generator, dtype=torch.float64)


def true_prior(denoiser):
    return lambda z: denoiser.log_prob(z, 1.0)


@pytest.fixture(params=["gaussian", "mixture"])
def oracle(request, schedule):
    return request.getfixturevalue(request.param)(schedule)


@pytest.mark.parametrize(
    ("solver", "within"),
    [(DormandPrince(), 1e-3), pytest.param(FINE, 1e-5, marks=pytest.mark.slow)],
)
def test_log_likelihood_is_the_exact_density(oracle, solver, within, generator):
    x = states(oracle, generator)
    found = log_likelihood(oracle, x, solver=solver, prior=true_prior(oracle))
    expected = oracle.log_prob(x, oracle.schedule.t_min)
    assert float((found.log_prob - expected).abs().max()) < within
    assert torch.equal(found.error, torch.zeros(12, dtype=torch.float64))
    assert torch.allclose(found.log_prob, found.prior + found.divergence, rtol=0, atol=1e-12)
    assert torch.equal(found.prior, oracle.log_prob(found.z, 1.0))
    assert found.evaluations < (200 if solver is FINE else 0) + 150


def test_likelihood_of_a_finite_data_set_is_its_kernel_density(schedule, points, generator):
    oracle = points(schedule)
    alpha, sigma = schedule(schedule.t_min)
    x = alpha * oracle.data + sigma * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    # harder than smooth data: what the flow knows of a point it knows at σ(t_min)
    solver = DormandPrince(1e-6, 1e-6)
    found = log_likelihood(oracle, x, solver=solver, prior=true_prior(oracle))
    expected = oracle.log_prob(x, schedule.t_min)
    assert torch.allclose(found.log_prob, expected, rtol=0, atol=1e-3)


def test_half_the_tolerance_shows_the_error_that_is_left(mixture, generator):
    """The difference to a finer run is of the size of the error that the coarse run has."""
    oracle, solver = mixture(VP()), DormandPrince(1e-3, 1e-3)
    x = states(oracle, generator, 40)
    coarse, fine = (
        log_likelihood(oracle, x, solver=s, prior=true_prior(oracle)).log_prob
        for s in (solver, solver.finer())
    )
    wrong = (coarse - oracle.log_prob(x, VP().t_min)).square().mean().sqrt()
    shown = (coarse - fine).square().mean().sqrt()
    assert 0.2 < float(shown / wrong) < 5


def test_fixed_steps_give_the_density_too(gaussian, generator):
    oracle = gaussian(Flow())
    x = states(oracle, generator)
    found = log_likelihood(oracle, x, solver=FixedSteps("rk4", 100))
    assert found.evaluations == 400
    # no signal is left at t = 1 of this path: noise is the exact prior
    assert torch.allclose(found.log_prob, oracle.log_prob(x, Flow().t_min), rtol=0, atol=1e-5)


@pytest.mark.parametrize("path", [VP(), VE(), VE(0.002, 80.0), SubVP()], ids=repr)
def test_data_moments_bring_the_prior_nearer(path, generator):
    """For N(m, s² I) they make it exact; without, it misses what is left of m and s."""
    mean, std = torch.tensor([1.0, -0.5], dtype=torch.float64), 0.6
    oracle = GaussianDenoiser(path, mean, std**2 * torch.eye(2))
    x = states(oracle, generator)
    exact = oracle.log_prob(x, path.t_min)
    plain, right = (
        log_likelihood(oracle, x, solver=FINE, prior=prior)
        for prior in (None, normal_prior(path, mean, std))
    )
    assert float((right.log_prob - exact).abs().max()) < 1e-6
    alpha, sigma = (float(v) for v in path(1.0))
    theory = multivariate_normal(np.zeros(2), sigma**2).logpdf(plain.z) - multivariate_normal(
        alpha * mean, (alpha * std) ** 2 + sigma**2
    ).logpdf(plain.z)
    assert np.allclose((plain.log_prob - exact).numpy(), theory, rtol=0, atol=1e-6)
    assert np.abs(theory).max() > 1e-3


def test_a_normal_prior_is_scipys(normal):
    z, std = normal(4, 3), torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    for path in (VE(), Cosine(), VP()):
        alpha, sigma = (float(v) for v in path(1.0))
        cov = np.diag((alpha * std.numpy()) ** 2 + sigma**2)
        expected = multivariate_normal(alpha * np.full(3, 0.3), cov).logpdf(z)
        assert np.allclose(normal_prior(path, 0.3, std)(z).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_probes_are_unbiased_and_know_their_error(mixture, generator, probe):
    """The mean over 12 states and 30 probes each lies within 3 of its standard errors."""
    oracle, path = mixture(VP()), VP()
    x = states(oracle, generator)
    noise = seeded(3, range(12))
    solver = DormandPrince(1e-4, 1e-4)
    found = log_likelihood(
        oracle,
        x,
        solver=solver,
        probes=30,
        probe=probe,
        exact=False,
        noise=noise,
        prior=true_prior(oracle),
    )
    wrong = found.log_prob - oracle.log_prob(x, path.t_min)
    assert (found.error > 0).all()
    assert float(wrong.sum().abs()) < 3 * float(found.error.square().sum().sqrt()) + 12e-3
    assert float(wrong.square().sum()) < 3 * float(found.error.square().sum())


def test_more_probes_have_a_smaller_error(mixture, generator):
    """One over √probes, within what twelve samples of a standard deviation can say."""
    oracle = mixture(Cosine())
    x = states(oracle, generator)
    few, many = (
        log_likelihood(
            oracle,
            x,
            solver=FixedSteps("rk4", 10),
            probes=n,
            exact=False,
            noise=seeded(0, range(12)),
        )
        .error.square()
        .mean()
        .sqrt()
        for n in (5, 45)
    )
    assert 2 < float(few / many) < 4.5


def test_rademacher_probes_add_no_noise_where_numbers_do_not_interact(schedule, generator):
    """A diagonal Jacobian: eᵀJe = Σ J_ii e_i² = tr J for every e, which Gaussian e miss."""
    oracle = GaussianDenoiser(
        schedule, torch.tensor([0.3, -0.2]), torch.diag(torch.tensor([0.5, 0.1]))
    )
    x = states(oracle, generator, 4)
    ask = {"probes": 3, "exact": False, "prior": true_prior(oracle)}
    found = log_likelihood(oracle, x, **ask)
    assert float(found.error.max()) < 1e-11
    expected = oracle.log_prob(x, schedule.t_min)
    assert torch.allclose(found.log_prob, expected, rtol=0, atol=1e-3)
    noise = seeded(0, range(4))
    assert float(log_likelihood(oracle, x, probe="gaussian", noise=noise, **ask).error.min()) > 0.01


def test_one_probe_has_no_error_to_tell(mixture, normal):
    found = log_likelihood(mixture(VP()), normal(2, 2), exact=False)
    assert found.error.isnan().all()


def test_a_likelihood_does_not_depend_on_its_batch(mixture, generator):
    oracle = mixture(VP())
    x = states(oracle, generator, 5)
    ask = {"probes": 2, "exact": False}
    together = log_likelihood(oracle, x, noise=seeded(0, range(5)), **ask)
    for i in range(5):
        alone = log_likelihood(oracle, x[i : i + 1], noise=seeded(0, [i]), **ask)
        assert torch.allclose(alone.log_prob, together.log_prob[i : i + 1], rtol=0, atol=1e-10)
        assert torch.allclose(alone.z, together.z[i : i + 1], rtol=0, atol=1e-10)


class Learned(Denoiser):
    """A denoiser of pictures with weights, which notes what it is asked."""

    def __init__(self, schedule):
        super().__init__(schedule)
        self.mix, self.seen = torch.nn.Conv2d(1, 1, 3, padding=1), []

    def forward(self, x, t, **cond):
        self.seen.append(cond)
        return 0.5 * torch.tanh(self.mix(x))


def test_pictures_in_single_precision(generator):
    """The exact trace is 16 backward passes; probes agree with it within 4 of their errors."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = Learned(Flow())
    x = torch.rand(3, 1, 4, 4, generator=generator)
    label, solver = torch.tensor([1, 2, 3]), FixedSteps("rk4", 8)
    exact = log_likelihood(denoiser, x, solver=solver, label=label)
    assert exact.z.shape == x.shape
    assert exact.z.dtype == torch.float32
    assert exact.log_prob.dtype == torch.float64
    assert not exact.log_prob.requires_grad
    assert all(cond["label"] is label for cond in denoiser.seen)
    noise = seeded(1, range(3))
    ask = {"solver": solver, "label": label, "noise": noise}
    probed = log_likelihood(denoiser, x, exact=False, probes=20, **ask)
    assert ((probed.divergence - exact.divergence).abs() < 4 * probed.error + 1e-2).all()
    assert torch.allclose(probed.z, exact.z, rtol=1e-3)
    with torch.no_grad():
        found = log_likelihood(denoiser, x, solver=solver).log_prob
        assert torch.allclose(found, exact.log_prob, atol=1e-9)


def test_the_divergence_is_the_log_determinant_of_the_code(mixture, normal):
    """log |det ∂z/∂x| by differences of `encode`, on a path from t_min to where no signal is left."""
    oracle, x, h = mixture(Cosine()), 0.5 * normal(3, 2), 1e-4
    moved = [
        (encode(oracle, x + h * e, FINE) - encode(oracle, x - h * e, FINE)) / (2 * h)
        for e in torch.eye(2)
    ]
    log_det = torch.linalg.slogdet(torch.stack(moved, 2)).logabsdet
    found = log_likelihood(oracle, x, solver=FINE).divergence
    assert torch.allclose(found, log_det, rtol=0, atol=1e-3)


def test_codes_are_those_of_the_exact_flow(schedule, gaussian, generator):
    oracle = gaussian(schedule)
    x = states(oracle, generator)
    z = encode(oracle, x, FINE)
    scale = float(schedule.sigma(torch.ones((), dtype=torch.float64)))
    assert torch.allclose(z, oracle.flow(x, schedule.t_min, 1.0), rtol=0, atol=1e-5 * scale)
    assert torch.allclose(decode(oracle, z, FINE), x, rtol=0, atol=1e-6)


def test_round_trips_return(oracle, generator):
    x = states(oracle, generator)
    solver = DormandPrince(1e-6, 1e-6)
    back = decode(oracle, encode(oracle, x, solver), solver)
    assert float((back - x).abs().max()) < 1e-4


@pytest.mark.parametrize("path", [VP(), VE(), Flow()], ids=repr)
def test_codes_of_one_number_are_its_quantile(path):
    """In one dimension the flow keeps order: F₁(z) = F(x)."""
    weights, means, stds = (torch.tensor(v).double() for v in ([0.4, 0.6], [-1.0, 1.0], [0.3, 0.5]))
    oracle = MixtureDenoiser(path, weights, means[:, None], (stds**2)[:, None, None])

    def law(x, t):
        alpha, sigma = path(t)
        spread = torch.sqrt((alpha * stds) ** 2 + sigma**2)
        return weights.numpy() @ norm.cdf(((x - alpha * means) / spread).T)

    x = torch.linspace(-2, 2.5, 15, dtype=torch.float64)[:, None]
    z = encode(oracle, x, FINE)
    assert np.allclose(law(z, 1.0), law(x, path.t_min), rtol=0, atol=1e-6)
    assert all(a < b for a, b in pairwise(z.flatten().tolist()))


def test_spherical_interpolation_by_hand():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    third = torch.tensor([[2 * math.cos(math.pi / 6), 2 * math.sin(math.pi / 6)]])
    assert torch.allclose(slerp(a, b, 1 / 3), third)
    assert torch.allclose(slerp(a, b, 0.0), a)
    assert torch.allclose(slerp(a, b, 1.0), b, atol=1e-6)
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)  # of one direction: a straight line
    weights = torch.tensor([0.0, 1.0])
    both = slerp(a.repeat(2, 1), b.repeat(2, 1), weights)
    assert torch.allclose(both, torch.cat([a, b]), atol=1e-6)


def test_spherical_interpolation_keeps_the_length_of_noise(normal):
    a, b = normal(3, 1, 16, 16), normal(3, 1, 16, 16)
    middle = slerp(a, b, 0.5)
    assert middle.shape == a.shape
    assert torch.allclose(middle.std((1, 2, 3)), torch.ones(3).double(), atol=0.1)


class Broken(Denoiser):
    def forward(self, x, t, **cond):
        return torch.where(t.expand(len(x))[:, None] < 0.5, x, math.nan)


@pytest.mark.parametrize("run", [log_likelihood, encode])
def test_output_that_is_not_finite_is_reported(run, normal):
    with pytest.raises(
        InputError, match=r"the model's output is not finite at t = (0\.[56789]|1$)"
    ):
        run(Broken(VP()), normal(2, 2))


@pytest.mark.parametrize("run", [log_likelihood, encode, decode])
def test_a_sampler_is_no_solver(run, mixture, normal):
    with pytest.raises(InputError, match=r"such as DormandPrince\(\), got EulerMaruyama"):
        run(mixture(VP()), normal(2, 2), solver=EulerMaruyama())


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"probes": 0}, "probes must be at least 1, got 0"),
        ({"probes": 2.5}, "probes must be a whole number, at least 1, got 2.5"),
        ({"probe": "normal"}, "probe must be 'rademacher' or 'gaussian', got 'normal'"),
    ],
)
def test_impossible_probes_are_refused(ask, words, mixture, normal):
    with pytest.raises(InputError, match=words):
        log_likelihood(mixture(VP()), normal(2, 2), exact=False, **ask)


@pytest.mark.parametrize(
    ("ask", "words"), [({"probes": 0}, "probes must be at least 1"), ({"probe": "foo"}, "'foo'")]
)
def test_settings_of_probes_are_checked_where_none_is_needed(mixture, normal, ask, words):
    with pytest.raises(InputError, match=words):
        log_likelihood(mixture(VP()), normal(2, 2), **ask)
