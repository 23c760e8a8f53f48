"""Bounds that are not bounds but exact, bounds that become tight, and sums of probabilities."""

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import multivariate_normal, norm

from scorefield.core.levels import Levels, data_log_likelihood
from scorefield.core.ode import DormandPrince
from scorefield.core.oracles import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow
from scorefield.core.variational import variational_bound
from scorefield.errors import InputError
from scorefield.samplers.ancestral import Ancestral
from scorefield.samplers.grids import UniformLogSNR, UniformTime
from scorefield.samplers.noise import seeded

MEAN, VARIANCE = torch.tensor([0.5, -0.3, 0.1], dtype=torch.float64), 0.4


def white(path):
    return GaussianDenoiser(path, MEAN, VARIANCE * torch.eye(3, dtype=torch.float64))


def exact_expectation(bound, x0):
    """The mean over ε = +1 and ε = -1: exact for what is quadratic in an ε without cross terms."""
    return sum(bound(lambda x, s=s: torch.full_like(x, s)).log_prob for s in (1.0, -1.0)) / 2


@pytest.mark.parametrize("grid", [UniformTime(), UniformLogSNR()], ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_exact_reverse_steps_give_the_exact_likelihood(schedule, grid, steps, normal):
    """Of Gaussian data, at every x₀, whatever the steps: -KL(posteriors) is 0 then."""
    denoiser, x0 = white(schedule), MEAN + normal(5, 3)
    times = grid.times(schedule, steps) if steps > 1 else torch.ones(1, dtype=torch.float64)
    found = exact_expectation(
        lambda noise: variational_bound(
            denoiser, x0, times, mean=MEAN, variance=VARIANCE, noise=noise
        ),
        x0,
    )
    expected = multivariate_normal(MEAN, VARIANCE * np.eye(3)).logpdf(x0)
    assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("variance", [0.01, 1.0, 5.0])
@pytest.mark.parametrize(
    "path", [VP(), *(pytest.param(p, marks=pytest.mark.slow) for p in (Cosine(), VE()))], ids=repr
)
def test_a_fixed_variance_bounds_and_becomes_tight(path, variance, normal):
    """With another variance than the data's it is a bound in the mean over the data.

    The gap falls as 1/steps; what stays is that of the ends, known in closed form: the prior, and the
    data's own law given x at t_min.
    """
    denoiser, root = white(path), VARIANCE**0.5
    nodes = MEAN + root * torch.tensor([[1.0] * 3, [-1.0] * 3], dtype=torch.float64)
    entropy = 1.5 * math.log(2 * math.pi * math.e * VARIANCE)

    def gap(steps):
        # the mean over x₀ = m ± √c is exact too, for all that is quadratic in x₀ and ε
        times = UniformLogSNR().times(path, steps)
        found = [
            variational_bound(
                denoiser,
                nodes,
                times,
                mean=MEAN,
                variance=variance,
                noise=lambda x, s=s: torch.full_like(x, s),
            ).log_prob.mean()
            for s in (1.0, -1.0)
        ]
        return -float(sum(found) / 2) - entropy

    def kl(narrow, wide):
        return 1.5 * float(narrow / wide - 1 - torch.log(narrow / wide))

    def left(t, c):
        alpha, sigma = path(t)
        return c * sigma**2 / (alpha**2 * c + sigma**2)

    alpha, sigma = path(1.0)
    ends = kl(alpha**2 * VARIANCE + sigma**2, alpha**2 * variance + sigma**2)
    ends += kl(left(path.t_min, VARIANCE), left(path.t_min, variance))
    gaps = [gap(n) - ends for n in (40, 80, 640)]
    assert gaps[0] > gaps[1] > gaps[2] > 0
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.6)
    assert gaps[2] < 0.12


def test_a_chain_step_has_the_published_variances(normal):
    """On VP, c = 1 is Ho et al.'s large variance: the step that `Ancestral` makes."""
    path, (t, s) = VP(), torch.tensor([0.6, 0.5], dtype=torch.float64)
    x0, guess = normal(4, 3), normal(4, 3)
    denoiser = EmpiricalDenoiser(path, guess[:1])  # always the same guess
    found = variational_bound(denoiser, x0, torch.stack([t, s]), noise=torch.zeros_like).steps[:, 0]
    (alpha_t, sigma_t), (alpha_s, sigma_s) = path(t), path(s)
    x = alpha_t * x0
    step = Ancestral(variance="large").step
    mean = step(path, x, guess[:1].expand(4, 3), t, s, torch.zeros_like)
    spread = step(path, x, guess[:1].expand(4, 3), t, s, torch.ones_like) - mean
    true = step(path, x, x0, t, s, torch.zeros_like)
    narrow = sigma_s**2 / sigma_t**2 * (sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2)
    ratio = narrow / spread**2
    by_hand = 0.5 * ((true - mean) ** 2 / spread**2 + ratio - 1 - torch.log(ratio)).sum(1)
    assert torch.allclose(found, by_hand, rtol=1e-10, atol=1e-12)


def test_entropy_is_an_integral_of_errors():
    """I-MMSE: h = ½ log 2πe - ½ ∫ [1/(1 + snr) - mmse(snr)] dsnr, for a mixture on VP.

    The bound with infinitely many steps; both sides by quadrature.
    """
    path = VP(1e-3, 40.0)
    weights, means, stds = np.array([0.4, 0.6]), np.array([-1.0, 0.7]), np.array([0.3, 0.5])
    denoiser = MixtureDenoiser(
        path, *(torch.from_numpy(v) for v in (weights, means[:, None], stds[:, None, None] ** 2))
    )
    x = np.linspace(-8, 8, 8001)
    parts = zip(weights, means, stds, strict=True)
    density = sum(weight * norm.pdf(x, m, s) for weight, m, s in parts)
    entropy = -np.trapezoid(density * np.log(density), x)

    log_snr = np.linspace(-12, 14, 261)
    z, w = hermegauss(60)
    w = w / w.sum()
    gaps = []
    for value in log_snr:
        t = path.time(float(value))
        alpha, sigma = (float(v) for v in path(t))
        error = 0.0
        for weight, m, s in zip(weights, means, stds, strict=True):
            # x of each component by Gauss-Hermite nodes; E[x₀² | component] - 2 E[x₀ x̂₀] + E[x̂₀²]
            spread = math.sqrt((alpha * s) ** 2 + sigma**2)
            state = torch.from_numpy(alpha * m + spread * z)[:, None]
            guess = denoiser(state, t).numpy()[:, 0]
            known = m + alpha * s**2 / spread**2 * (state.numpy()[:, 0] - alpha * m)
            left = s**2 * sigma**2 / spread**2
            error += weight * (w @ ((known - guess) ** 2) + left)
        snr = (alpha / sigma) ** 2
        gaps.append(snr * (1 / (1 + snr) - error))
    integral = np.trapezoid(gaps, log_snr)
    assert 0.5 * math.log(2 * math.pi * math.e) - 0.5 * integral == pytest.approx(entropy, abs=2e-3)


LEVELS = Levels(-1.0, 1.0, 5)


def test_a_normal_law_in_cells_sums_to_one_and_is_scipys():
    grid = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
    for mean, std in ((0.1, 0.3), (-3.0, 0.5), (0.9, 0.01)):
        found = LEVELS.log_prob(grid, torch.full_like(grid, mean), torch.tensor(std))
        edges = np.array([-np.inf, -0.75, -0.25, 0.25, 0.75, np.inf])
        expected = np.diff(norm.cdf(edges, mean, std))
        assert float(found.exp().sum()) == pytest.approx(1, abs=1e-12)
        assert np.allclose(found.exp(), expected, rtol=1e-6, atol=1e-12)
    far = LEVELS.log_prob(grid[3:4], torch.full((1, 1), -1.0), torch.tensor(0.01))
    # 125 deviations away the mass is that of the near edge: φ(125)/125
    assert float(far) == pytest.approx(norm.logpdf(125) - math.log(125), abs=1e-3)


def coded(path):
    """Numbers of 5 levels with probabilities of their own, as an oracle."""
    levels, shares = np.linspace(-1, 1, 5), np.array([0.4, 0.1, 0.25, 0.05, 0.2])
    count = (20 * shares).round().astype(int)
    return levels, EmpiricalDenoiser(path, torch.from_numpy(np.repeat(levels, count))[:, None])


def by_quadrature(denoiser, path, levels):
    """P(x₀) = ∫ p(x) P(x₀ | x) dx of the model that the variational bound is for."""
    t = torch.tensor(path.t_min, dtype=torch.float64)
    alpha, sigma = (float(v) for v in path(t))
    x = torch.linspace(-1 - 9 * sigma, 1 + 9 * sigma, 40001, dtype=torch.float64)[:, None]
    p = denoiser.log_prob(x, t).exp().numpy()
    guess = denoiser(x, t)
    masses = [
        LEVELS.log_prob(torch.full_like(x, v), guess, torch.tensor(sigma / alpha)).exp().numpy()
        for v in levels
    ]
    return [np.trapezoid(p * m, x[:, 0].numpy()) for m in masses]


@pytest.mark.parametrize("path", [VE(0.2, 30.0), VE(0.01, 30.0)], ids=repr)
def test_variational_dequantisation_bounds_the_probability_of_levels(path):
    """Mean over many draws ≤ log P of the model, whose P sums to one; tight at little noise."""
    levels, denoiser = coded(path)
    true = by_quadrature(denoiser, path, levels)
    assert sum(true) == pytest.approx(1, abs=1e-6)
    n = 300
    x0 = torch.from_numpy(np.repeat(levels, n))[:, None]
    found = data_log_likelihood(
        denoiser,
        x0,
        LEVELS,
        dequantisation="variational",
        noise=seeded(0, range(5 * n)),
        solver=DormandPrince(1e-4, 1e-4),
        prior=lambda z: denoiser.log_prob(z, 1.0),
    )
    log_mass = (found.log_prob + math.log(LEVELS.spacing)).reshape(5, n)
    mean, error = log_mass.mean(1).numpy(), log_mass.std(1).numpy() / n**0.5
    assert (mean < np.log(true) + 4 * error + 2e-3).all()
    if path.sigma_min == 0.01:  # cells are 50 deviations wide
        assert np.allclose(mean, np.log([0.4, 0.1, 0.25, 0.05, 0.2]), atol=2e-2)
    else:
        assert (mean < np.log(true) - 4 * error).any()


@pytest.mark.parametrize("path", [VP(), Flow()], ids=repr)
def test_uniform_dequantisation_is_the_density_of_moved_data(path):
    """E_u log q(x₀ + Δu), with q(y) = α^D p(α y) integrated by quadrature over the cell."""
    weights, means = torch.tensor([0.3, 0.7]), torch.tensor([[-0.5], [0.5]])
    denoiser = MixtureDenoiser(path, weights, means, torch.full((2, 1, 1), 0.2**2).double())
    t, n = torch.tensor(path.t_min, dtype=torch.float64), 400
    alpha, _ = path(t)
    found = data_log_likelihood(
        denoiser,
        torch.full((n, 1), 0.5, dtype=torch.float64),
        LEVELS,
        noise=seeded(1, range(n)),
        solver=DormandPrince(1e-4, 1e-4),
        prior=lambda z: denoiser.log_prob(z, 1.0),
    ).log_prob
    y = torch.linspace(0.25, 0.75, 2001, dtype=torch.float64)[:, None]
    log_q = denoiser.log_prob(alpha * y, t) + torch.log(alpha)
    expected = np.trapezoid(log_q, y[:, 0]) / 0.5
    assert float(found.mean()) == pytest.approx(
        expected, abs=4 * float(found.std()) / n**0.5 + 1e-3
    )
    assert float(found.std()) > 0.1
    # and it bounds the mass of the cell, which is larger
    mass = np.log(np.trapezoid(log_q.exp(), y[:, 0]))
    assert expected + math.log(LEVELS.spacing) < mass


def test_real_numbers_have_the_density_of_their_own_units(normal):
    """A Gaussian on Flow, where α(t_min) = 0.999: y = x/α has variance C + (σ/α)²."""
    path, x0 = Flow(), normal(4, 3)
    found = data_log_likelihood(
        white(path), x0, dequantisation="none", solver=DormandPrince(1e-8, 1e-8)
    )
    alpha, sigma = (float(v) for v in path(path.t_min))
    expected = multivariate_normal(MEAN, (VARIANCE + (sigma / alpha) ** 2) * np.eye(3)).logpdf(x0)
    assert np.allclose(found.log_prob.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("levels", [None, Levels(-1.0, 1.0, 256)])
def test_the_discrete_bound_takes_levels(levels):
    """With levels close together the probability is the density times their spacing."""
    x0 = torch.tensor([[-0.5, 0.0, 0.25], [0.1, 0.3, -0.2]], dtype=torch.float64)
    x0 = (x0 * 127.5 - 0.5).round() / 127.5 + 0.5 / 127.5  # on the levels
    path = VP(3.0, 20.0)  # noise at t_min is much wider than the levels
    found = variational_bound(
        white(path),
        x0,
        UniformLogSNR().times(path, 10),
        mean=MEAN,
        variance=VARIANCE,
        levels=levels,
        noise=torch.zeros_like,
    ).log_prob
    plain = variational_bound(
        white(path),
        x0,
        UniformLogSNR().times(path, 10),
        mean=MEAN,
        variance=VARIANCE,
        noise=torch.zeros_like,
    ).log_prob
    shift = 0.0 if levels is None else 3 * math.log(levels.spacing)
    assert torch.allclose(found, plain + shift, rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"dequantisation": "unifrom"}, "one of uniform, variational, none, got 'unifrom'"),
        ({"dequantisation": "none"}, "data of 5 levels have no density"),
        ({"dequantisation": "uniform", "levels": None}, "real numbers without levels"),
    ],
)
def test_impossible_dequantisations_are_refused(ask, words, normal):
    with pytest.raises(InputError, match=words):
        data_log_likelihood(white(VP()), normal(2, 3), **{"levels": LEVELS, **ask})


def test_impossible_bounds_are_refused(normal):
    times = UniformTime().times(VP(), 3)
    with pytest.raises(InputError, match=r"variance must be above 0, got 0\.0"):
        variational_bound(white(VP()), normal(2, 3), times, variance=0.0)
    with pytest.raises(InputError, match="times must be a row of at least 1"):
        variational_bound(white(VP()), normal(2, 3), times[:0])


def test_a_bound_of_no_number_is_none(normal):
    broken = white(VP())
    broken.forward = lambda x, t, **cond: torch.full_like(x, math.nan)
    with pytest.raises(InputError, match="output is not finite at t = 1"):
        variational_bound(broken, normal(2, 3), UniformTime().times(VP(), 3))


def test_times_of_a_chain_decrease(gaussian, normal):
    with pytest.raises(InputError, match="times must decrease"):
        variational_bound(gaussian(VP()), normal(2, 2), [0.1, 0.5, 1.0])
