"""The law of single numbers, against quadrature and scipy, alone and behind a network."""

import math

import mpmath
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm, truncnorm

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.independent import IndependentDenoiser
from scorefield.core.likelihood import log_likelihood
from scorefield.core.marginal import Marginal
from scorefield.core.parameterizations import EDM, X0, Noise, V
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.errors import InputError

# Four fifths in a cell at the low end, as of an 8-bit picture, and a peak at the other.
LAW = Marginal(3, (-1.0, -0.9, 0.9, 1.0), (0.8, 0.05, 0.15))
PIECES = list(zip(LAW.masses, LAW.edges, LAW.edges[1:], strict=False))


def one(value):
    return torch.tensor(value, dtype=torch.float64)


def integral(of, x, alpha, sigma):
    """∫ of(x₀) p(x₀) N(x; α x₀, σ²) dx₀."""
    total = 0.0
    for mass, low, high in PIECES:
        peak = [
            p for p in (x / alpha - 8 * sigma, x / alpha, x / alpha + 8 * sigma) if low < p < high
        ]
        value, _ = quad(
            lambda x0: of(x0) * norm.pdf(x, alpha * x0, sigma),
            low,
            high,
            points=peak or None,
            limit=200,
        )
        total += mass / (high - low) * value
    return total


@pytest.mark.parametrize("sigma", [0.005, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
@pytest.mark.parametrize("x0", [-1.0, -0.95, -0.89, 0.2, 0.93])
def test_mean_and_density_are_those_of_quadrature(x0, alpha, sigma):
    x = alpha * x0 + 0.7 * sigma
    density = integral(lambda _: 1.0, x, alpha, sigma)
    mean = integral(lambda y: y, x, alpha, sigma) / density
    state = one([[x]])
    assert float(LAW.denoised(state, one(alpha), one(sigma))) == pytest.approx(mean, abs=2e-7)
    found = float(LAW.log_prob(state, one(alpha), one(sigma)))
    assert found == pytest.approx(math.log(density), abs=1e-6)


def test_one_piece_is_a_truncated_normal():
    law, s = Marginal(1, (-1.0, 1.0), (1.0,)), 0.3
    for y in (-2.0, -1.0, 0.1, 1.5):
        expected = truncnorm.mean((-1 - y) / s, (1 - y) / s, loc=y, scale=s)
        assert float(law.denoised(one([[y]]), one(1.0), one(s))) == pytest.approx(
            expected, abs=1e-9
        )


@pytest.mark.parametrize("sigma", [0.005, 0.1, 30.0])
@pytest.mark.parametrize("y", [-1.01, -0.93, 0.5, 0.99])
def test_each_piece_is_a_truncated_normal_and_has_its_share(y, sigma):
    piece, mean = LAW.posterior(one([[y]]), one(1.0), one(sigma))
    assert piece.shape == mean.shape == (1, 3, 1)
    shares = []
    for k, (mass, low, high) in enumerate(PIECES):
        ends = ((low - y) / sigma, (high - y) / sigma)
        shares.append(mass / (high - low) * truncnorm_mass(*ends))
        if shares[-1] > 1e-6:  # less is lost in rounding
            assert float(mean[0, k]) == pytest.approx(
                truncnorm.mean(*ends, loc=y, scale=sigma), abs=1e-6
            )
        assert low <= float(mean[0, k]) <= high
    expected = [share / sum(shares) for share in shares]
    assert piece[0, :, 0].exp().tolist() == pytest.approx(expected, rel=1e-9, abs=1e-13)


def truncnorm_mass(low, high):
    return norm.cdf(high) - norm.cdf(low) if low < 0 else norm.sf(low) - norm.sf(high)


def test_where_no_signal_is_left_it_is_the_mean():
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    found = LAW.denoised(x, one(0.0), one(1.0))
    mean = sum(mass * (low + high) / 2 for mass, low, high in PIECES)
    assert torch.allclose(found, torch.full_like(x, mean), atol=1e-3)


def test_states_far_off_end_within_the_law():
    x = one([[-1e6], [-3.0], [3.0], [1e6]])
    found = LAW.denoised(x, one(1.0), one(0.01)).flatten()
    assert found.isfinite().all()
    assert bool((found >= -1).all())
    assert bool((found <= 1).all())
    assert found.tolist() == pytest.approx([-1, -1, 1, 1], abs=0.01)


@pytest.mark.parametrize("schedule", [VP(), SubVP(), VE(), Flow()], ids=lambda s: type(s).__name__)
def test_the_flow_has_the_density_of_the_law(schedule, generator):
    """Three numbers in three pieces: log p₀ is a sum of three logarithms."""
    denoiser = IndependentDenoiser(schedule, LAW)
    x0 = one([[-0.95, 0.3, 0.97], [-0.92, -0.97, 0.91]])
    alpha, sigma = schedule(schedule.t_min)
    x = alpha * x0 + sigma * torch.randn(2, 3, generator=generator, dtype=torch.float64)
    found = log_likelihood(denoiser, x, prior=lambda z: denoiser.log_prob(z, 1.0))
    assert torch.allclose(found.log_prob, denoiser.log_prob(x, schedule.t_min), atol=1e-3)


def test_the_score_is_the_slope_of_the_log_density():
    denoiser, t = IndependentDenoiser(VP(), LAW), one(0.2)
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 4).requires_grad_()
    (slope,) = torch.autograd.grad(denoiser.log_prob(x, t).sum(), x)
    assert torch.allclose(denoiser.score(x, t), slope, atol=1e-9)


class Silent(torch.nn.Module):
    """A network that has learnt nothing."""

    def forward(self, x, c):
        return torch.zeros_like(x)


@pytest.mark.parametrize("kind", [EDM, V, Noise, X0])
def test_a_silent_network_says_what_the_law_says(kind, normal, generator):
    schedule, t = VP(), one([0.01, 0.3, 0.9])
    denoiser = NetworkDenoiser(Silent(), schedule, kind(0.6), (0.25,), marginal=LAW)
    exact = IndependentDenoiser(schedule, LAW)
    x = normal(3, 1, 4, 4)
    assert torch.allclose(denoiser(x, t), exact(x, t), atol=1e-9)
    # The residual is the error of what is said, in the network's units.
    cells = torch.multinomial(one(LAW.masses), 48, replacement=True, generator=generator)
    low, high = one(LAW.edges)[cells], one(LAW.edges)[cells + 1]
    x0 = (low + (high - low) * torch.rand(48, generator=generator)).reshape(3, 1, 4, 4)
    eps = normal(3, 1, 4, 4)
    alpha, sigma = (v[:, None, None, None] for v in schedule(t))
    _, out = denoiser.parameterization.inversion(schedule, t)
    said = (exact(alpha * x0 + sigma * eps, t) - x0) / out[:, None, None, None]
    assert torch.allclose(denoiser.residual(x0, t, eps), said, atol=1e-7)


# Two numbers that know of each other: the mass of each pair of pieces.
PAIRS = one([[0.7, 0.02, 0.05], [0.02, 0.01, 0.03], [0.02, 0.05, 0.10]])
FIRST = Marginal(3, LAW.edges, tuple(((PAIRS + PAIRS.T) / 2).sum(1).tolist()))


class Neighbour(torch.nn.Module):
    """A network that says of each of two numbers what the other one tells, from what it is told."""

    def forward(self, x, c):
        x = x.unflatten(1, (4, 2))
        masses = one(FIRST.masses)
        pairs = (PAIRS + PAIRS.T) / 2 / masses / masses[:, None]
        others = torch.log(torch.einsum("kj,bji->bki", pairs, x[:, 1:].flip(2)))
        return torch.cat([torch.zeros_like(x[:, :1]), others], 1).flatten(1)


def pair_of(x, alpha, sigma):
    """Density and posterior mean of two numbers, piece by piece, with scipy."""
    pairs, total, mean = ((PAIRS + PAIRS.T) / 2).tolist(), 0.0, [0.0, 0.0]
    for i, j in ((i, j) for i in range(3) for j in range(3)):
        mass, means = pairs[i][j], []
        for y, k in zip((x / alpha).tolist(), (i, j), strict=True):
            _, low, high = PIECES[k]
            ends = ((low - y) * alpha / sigma, (high - y) * alpha / sigma)
            mass *= truncnorm_mass(*ends) / (high - low) / alpha
            means.append(truncnorm.mean(*ends, loc=y, scale=sigma / alpha))
        total += mass
        mean = [m + mass * new for m, new in zip(mean, means, strict=True)]
    return total, [m / total for m in mean]


@pytest.mark.parametrize("t", [0.05, 0.3, 0.8])
def test_a_network_that_knows_the_others_makes_the_mean_exact(t, generator):
    denoiser = NetworkDenoiser(Neighbour(), VP(), EDM(0.6), (0.1,), marginal=FIRST)
    alpha, sigma = (float(v) for v in VP()(t))
    x0, eps = torch.rand(2, 5, 2, generator=generator, dtype=torch.float64)
    x = alpha * (2 * x0 - 1) + sigma * (4 * eps - 2)
    for state, found in zip(x, denoiser(x, one(t)), strict=True):
        assert found.tolist() == pytest.approx(pair_of(state, alpha, sigma)[1], abs=1e-6)


def test_the_flow_of_numbers_that_know_of_each_other_has_their_density(generator):
    schedule = VP()
    denoiser = NetworkDenoiser(Neighbour(), schedule, EDM(0.6), (0.1,), marginal=FIRST)
    alpha, sigma = (float(v) for v in schedule(schedule.t_min))
    x = alpha * one([[-0.95, 0.3], [0.93, 0.97], [-0.9, -0.97]])
    found = log_likelihood(denoiser, x, prior=lambda z: denoiser_prior(z, schedule))
    expected = [math.log(pair_of(state, alpha, sigma)[0]) for state in x]
    assert found.log_prob.tolist() == pytest.approx(expected, abs=1e-3)


def denoiser_prior(z, schedule):
    alpha, sigma = (float(v) for v in schedule(1.0))
    return one([math.log(pair_of(state, alpha, sigma)[0]) for state in z])


def test_a_network_is_told_of_every_piece():
    assert LAW.told((3, 8, 8)) == (12, 8, 8)
    assert LAW.told((2,)) == (8,)
    assert Marginal(16).told((1, 28, 28)) == (1, 28, 28)  # not measured yet


def test_another_network_keeps_the_law(normal):
    denoiser = NetworkDenoiser(Silent(), VP(), EDM(0.6), (0.25,), marginal=LAW)
    x, t = normal(2, 1, 4, 4), one(0.3)
    assert torch.equal(denoiser.with_network(Silent())(x, t), denoiser(x, t))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((-1,), "at least 0, got -1"),
        ((2, (0.0, 1.0), (0.5, 0.5)), "one more edge than masses, got 2 edges and 2 masses"),
        ((0, (0.0, 1.0), (1.0,)), "0 pieces need"),
        ((1, (1.0, 0.0), (1.0,)), "edges must rise"),
        ((2, (0.0, 1.0, 2.0), (1.0, 0.0)), "masses must be positive with the sum 1"),
        ((1, (0.0, 1.0), (0.5,)), "masses must be positive with the sum 1"),
    ],
)
def test_what_is_no_law_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        Marginal(*given)


def test_an_unknown_law_has_no_denoiser():
    with pytest.raises(InputError, match="not measured"):
        IndependentDenoiser(VP(), Marginal(4))
    assert not Marginal(4).known


@pytest.mark.parametrize("sigma", [0.005, 0.3, 5.0])
@pytest.mark.parametrize("deviations", [0.5, 5.0, 30.0, 200.0])
def test_density_is_right_far_off_the_law(deviations, sigma):
    """Against numbers of 200 digits; Φ(b) - Φ(a) = ½ (erfc(a/√2) - erfc(b/√2))."""

    def between(near, far):
        return (mpmath.erfc(near / mpmath.sqrt(2)) - mpmath.erfc(far / mpmath.sqrt(2))) / 2

    with mpmath.workdps(200):
        for side in (-1, 1):
            y = side * (1 + deviations * sigma)
            ends = [(m, *sorted((abs(y - a), abs(y - b)))) for m, a, b in PIECES]
            density = (m / (q - p) * between(p / sigma, q / sigma) for m, p, q in ends)
            found = float(LAW.log_prob(one([[y]]), one(1.0), one(sigma)))
            assert found == pytest.approx(float(mpmath.log(sum(density))), rel=1e-9)
