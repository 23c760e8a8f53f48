"""Exact denoisers against quadrature, differentiation, scipy's densities and an ODE solver."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from scorefield.core.oracles import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP, TutorialVE
from scorefield.errors import InputError

TIMES = torch.linspace(0.03, 0.97, 9, dtype=torch.float64)

# Two Gaussians in three dimensions, where an eigenbasis is not its own transpose; the weights are
# not normalized on purpose.
WEIGHTS = np.array([1.5, 0.5])
MEANS = np.array([[1.0, -0.5, 0.2], [-0.6, 0.4, -0.8]])
COVARIANCES = np.array(
    [
        [[0.5, 0.2, 0.1], [0.2, 0.3, -0.1], [0.1, -0.1, 0.2]],
        [[0.1, -0.05, 0.02], [-0.05, 0.2, 0.04], [0.02, 0.04, 0.4]],
    ]
)
DATA = np.array(
    [[1.0, 0.4, 0.1], [-0.7, 0.9, 0.3], [0.1, -1.2, 0.8], [-1.1, -0.5, -0.9], [0.6, 1.3, -0.2]]
)


def two(schedule):
    return MixtureDenoiser(schedule, *map(torch.from_numpy, (WEIGHTS, MEANS, COVARIANCES)))


def one(schedule):
    return GaussianDenoiser(schedule, *map(torch.from_numpy, (MEANS[0], COVARIANCES[0])))


def five(schedule):
    return EmpiricalDenoiser(schedule, torch.from_numpy(DATA))


def density(x, alpha=1.0, sigma=0.0):
    """Σ w_k N(x; α μ_k, α² C_k + σ² I) by scipy."""
    return sum(
        w * multivariate_normal(alpha * m, alpha**2 * c + sigma**2 * np.eye(3)).pdf(x)
        for w, m, c in zip(WEIGHTS / WEIGHTS.sum(), MEANS, COVARIANCES, strict=True)
    )


def gradient(log_prob, x, t):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(log_prob(x, t).sum(), x)[0]


@pytest.mark.parametrize("problem", [one, two, five])
def test_score_is_the_gradient_of_the_density(schedule, problem, normal):
    oracle, x = problem(schedule), 1.5 * normal(len(TIMES), 3)
    expected = gradient(oracle.log_prob, x, TIMES)
    # relative to the noise level, in which a score is of order 1
    assert torch.allclose(
        schedule.sigma(TIMES)[:, None] * oracle.score(x, TIMES),
        schedule.sigma(TIMES)[:, None] * expected,
        rtol=1e-10,
        atol=1e-10,
    )


def test_mixture_density_is_scipys(schedule, normal):
    oracle, x = two(schedule), 1.5 * normal(len(TIMES), 3)
    log_prob = oracle.log_prob(x, TIMES)
    for i, t in enumerate(TIMES):
        alpha, sigma = (float(v) for v in schedule(t))
        assert float(log_prob[i]) == pytest.approx(np.log(density(x[i], alpha, sigma)), abs=1e-9)


def test_mixture_density_at_time_zero_is_that_of_the_data(normal):
    x = normal(5, 3)
    assert np.allclose(two(VP()).log_prob(x).numpy(), np.log(density(x)), rtol=0, atol=1e-12)


def test_gaussian_density_is_scipys(normal):
    x = normal(5, 3)
    expected = multivariate_normal(MEANS[0], COVARIANCES[0]).logpdf(x)
    assert np.allclose(one(VP()).log_prob(x).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", [VP(), SubVP(), Flow(), VE()], ids=repr)
def test_denoised_mean_is_bayes_rule_by_quadrature(path):
    """∫ x₀ p(x₀) N(x; α x₀, σ²) dx₀ / ∫ p(x₀) N(x; α x₀, σ²) dx₀ on a fine grid, one dimension."""
    weights, means, stds = np.array([0.3, 0.7]), np.array([-1.0, 0.8]), np.array([0.4, 0.25])
    oracle = MixtureDenoiser(
        path,
        torch.from_numpy(weights),
        torch.from_numpy(means)[:, None],
        torch.from_numpy(stds)[:, None, None] ** 2,
    )
    x0 = np.linspace(-6, 6, 20001)[:, None]
    prior = (weights / stds * np.exp(-0.5 * ((x0 - means) / stds) ** 2)).sum(1)
    x0 = x0[:, 0]
    for t, x in ((0.2, 0.3), (0.5, -0.4), (0.9, 1.1)):
        alpha, sigma = (float(v) for v in path(t))
        posterior = prior * np.exp(-0.5 * ((x - alpha * x0) / sigma) ** 2)
        expected = (x0 * posterior).sum() / posterior.sum()
        state, time = torch.tensor([[x], [t]], dtype=torch.float64)
        got = oracle(state[:, None], time)
        assert float(got) == pytest.approx(expected, abs=1e-10)


def test_gaussian_denoiser_is_linear_regression(schedule, normal):
    """m + αC(α²C + σ²)⁻¹(x - αm), with the inverse taken outright."""
    x, (mean, covariance) = normal(6, 3), (MEANS[0], COVARIANCES[0])
    alpha, sigma = (float(v) for v in schedule(0.4))
    gain = alpha * covariance @ np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(3))
    expected = mean + (x.numpy() - alpha * mean) @ gain.T
    got = one(schedule)(x, torch.tensor(0.4, dtype=torch.float64))
    assert np.allclose(got.numpy(), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "path", [VP(), SubVP(), VE(), TutorialVE(), Cosine(), Flow()], ids=lambda p: type(p).__name__
)
def test_gaussian_flow_solves_the_probability_flow(path, normal):
    oracle, x = one(path), normal(4, 3)

    def velocity(t, y):
        x = torch.from_numpy(y).reshape(4, 3)
        return oracle.velocity(x, torch.tensor(t, dtype=torch.float64)).flatten().numpy()

    y = solve_ivp(
        velocity, (0.9, 0.1), x.flatten().numpy(), method="DOP853", rtol=1e-9, atol=1e-11
    ).y[:, -1]
    exact = oracle.flow(x, 0.9, 0.1)
    assert np.allclose(exact.flatten().numpy(), y, rtol=1e-7, atol=1e-7)
    assert torch.allclose(oracle.flow(exact, 0.1, 0.9), x, rtol=1e-12, atol=1e-11)


def test_gaussian_flow_starts_where_no_signal_is_left(normal):
    """From x = ε on the straight path to t = 0 the map is m + C^½ x."""
    x = normal(4, 3)
    values, basis = np.linalg.eigh(COVARIANCES[0])
    root = basis @ np.diag(np.sqrt(values)) @ basis.T
    end = one(Flow()).flow(x, 1.0, 0.0)
    assert np.allclose(end.numpy(), MEANS[0] + x.numpy() @ root, rtol=0, atol=1e-12)


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_empirical_denoiser_is_a_softmax_over_the_data(schedule, t, normal):
    x = normal(6, 3)
    alpha, sigma = (float(v) for v in schedule(t))
    distance = ((x.numpy()[:, None] - alpha * DATA) ** 2).sum(-1) / (2 * sigma**2)
    share = np.exp(-distance - logsumexp(-distance, axis=1, keepdims=True))
    got = five(schedule)(x, torch.tensor(t, dtype=torch.float64))
    assert np.allclose(got.numpy(), share @ DATA, rtol=0, atol=1e-10)


def test_empirical_denoiser_returns_the_nearest_point_at_little_noise(normal):
    x = normal(50, 3)
    nearest = ((x.numpy()[:, None] - DATA) ** 2).sum(-1).argmin(1)
    got = five(VP())(x, torch.tensor(1e-7, dtype=torch.float64))  # σ = 1e-4
    assert np.allclose(got.numpy(), DATA[nearest], rtol=0, atol=1e-12)


def test_empirical_density_is_a_kernel_density_estimate(schedule, normal):
    x = normal(6, 3)
    alpha, sigma = (float(v) for v in schedule(0.4))
    kernels = [multivariate_normal(alpha * d, sigma**2 * np.eye(3)).logpdf(x) for d in DATA]
    expected = logsumexp(kernels, axis=0) - math.log(len(DATA))
    got = five(schedule).log_prob(x, torch.tensor(0.4, dtype=torch.float64))
    assert np.allclose(got.numpy(), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
def test_denoised_mean_is_the_datas_where_no_signal_is_left(path, normal):
    """α = 0: x says nothing of x₀, so E[x₀ | x] = E[x₀], and p(x) = N(0, I)."""
    x, end = normal(6, 3), torch.ones((), dtype=torch.float64)
    mean = (WEIGHTS[:, None] * MEANS).sum(0) / WEIGHTS.sum()
    for oracle, expected in ((two(path), mean), (one(path), MEANS[0]), (five(path), DATA.mean(0))):
        assert np.allclose(oracle(x, end).numpy(), np.tile(expected, (6, 1)), rtol=0, atol=1e-9)
        normal_density = multivariate_normal(np.zeros(3), np.eye(3)).logpdf(x)
        assert np.allclose(oracle.log_prob(x, end).numpy(), normal_density, rtol=0, atol=1e-9)


def test_empirical_denoiser_takes_pictures(normal):
    data, t = normal(4, 1, 3, 3), torch.tensor([0.2, 0.6], dtype=torch.float64)
    x = normal(2, 1, 3, 3)
    flat = EmpiricalDenoiser(VP(), data.flatten(1))(x.flatten(1), t)
    pictures = EmpiricalDenoiser(VP(), data)
    assert torch.equal(pictures(x, t).flatten(1), flat)
    assert pictures.log_prob(x, t).shape == (2,)


def test_mixture_draws_have_its_moments(generator):
    """Mean and covariance of 20000 draws, each within 5 standard errors of the closed forms."""
    n, weights = 20000, WEIGHTS / WEIGHTS.sum()
    x = two(VP()).draw(n, generator).numpy()
    mean = weights @ MEANS
    second = np.einsum("k,kij->ij", weights, COVARIANCES + MEANS[:, :, None] * MEANS[:, None])
    products = x[:, :, None] * x[:, None]
    assert (abs(x.mean(0) - mean) < 5 * x.std(0) / n**0.5).all()
    assert (abs(products.mean(0) - second) < 5 * products.std(0) / n**0.5).all()


def test_flat_components_are_allowed(normal):
    """A covariance without rank puts the data on a line: E[x₀ | x] stays on it."""
    line = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]], dtype=torch.float64)
    oracle = MixtureDenoiser(VP(), torch.ones(1), torch.zeros(1, 2), line)
    x0 = oracle(normal(5, 2), torch.tensor(0.3, dtype=torch.float64))
    assert torch.isfinite(x0).all()
    assert torch.allclose(x0[:, 0], x0[:, 1], rtol=0, atol=1e-12)


def test_results_have_the_dtype_of_the_state():
    x, t = torch.zeros(2, 3), torch.tensor(0.5)
    assert all(problem(VP())(x, t).dtype == torch.float32 for problem in (one, two, five))


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "words"),
    [
        ([1.0, 1.0], [[0.0]], [[[1.0]]], "expected"),
        ([1.0], [[0.0, 0.0]], [[[1.0]]], "expected"),
        ([1.0, -1.0], [[0.0], [1.0]], [[[1.0]], [[1.0]]], "positive"),
        ([1.0, math.nan], [[0.0], [1.0]], [[[1.0]], [[1.0]]], "positive"),
        ([1.0], [[0.0, 0.0]], [[[1.0, 2.0], [2.0, 1.0]]], "semi-definite"),
    ],
)
def test_impossible_mixtures_are_refused(weights, means, covariances, words):
    with pytest.raises(InputError, match=words):
        MixtureDenoiser(VP(), *map(torch.tensor, (weights, means, covariances)))


def test_a_data_set_needs_a_point():
    with pytest.raises(InputError, match="at least 1 point"):
        EmpiricalDenoiser(VP(), torch.zeros(0, 2))


def test_data_without_spread_have_no_moments(normal):
    """Only what asks for moments must refuse them: the denoiser itself is exact."""
    x = normal(3, 2)
    still = GaussianDenoiser(VP(), torch.ones(2), torch.zeros(2, 2))
    same = EmpiricalDenoiser(VP(), torch.ones(5, 2, dtype=torch.float64))
    for denoiser in (still, same):
        assert denoiser.moments is None
        assert torch.allclose(denoiser(x, torch.tensor(0.5)), torch.ones(3, 2).double())


@pytest.mark.parametrize(
    ("mean", "covariance", "words"),
    [
        (torch.zeros(()), torch.eye(1), "were expected"),
        (torch.tensor([0.0, math.nan]), torch.eye(2), "means must be finite"),
        (torch.zeros(2), torch.full((2, 2), math.nan), "covariances must be finite"),
        (torch.zeros(2), torch.tensor([[1.0, 0.9], [0.0, 1.0]]), "must be symmetric"),
    ],
)
def test_impossible_gaussians_are_refused(mean, covariance, words):
    with pytest.raises(InputError, match=words):
        GaussianDenoiser(VP(), mean, covariance)


def test_no_density_is_refused_where_there_is_none(normal):
    flat = GaussianDenoiser(VP(), torch.zeros(2), torch.diag(torch.tensor([1.0, 0.0])))
    x = normal(3, 2)
    for asked in (lambda: flat.log_prob(x), lambda: flat(x, 0.0), lambda: flat.flow(x, 0.0, 0.5)):
        with pytest.raises(InputError, match="singular covariance have no density at t = 0"):
            asked()
    with pytest.raises(InputError, match="finite data set has no density at t = 0"):
        EmpiricalDenoiser(VP(), x)(x, 0.0)
    assert bool(flat.log_prob(x, 0.1).isfinite().all())
    assert bool(flat.flow(x, 0.5, 0.0).isfinite().all())
