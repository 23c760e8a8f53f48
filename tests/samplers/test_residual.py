"""The Gaussian-residual sampler: exact where it claims to be, and what its parts are."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from scorefield.core.denoisers import Denoiser
from scorefield.core.moments import Moments, white_moments
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP, Flow
from scorefield.errors import InputError
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.correctors import UniPC
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import Karras, UniformLogSNR
from scorefield.samplers.quadrature import gauss_legendre
from scorefield.samplers.residual import GaussianResidual
from scorefield.samplers.residual_grid import ResidualGrid


def at(t):
    return torch.tensor(float(t), dtype=torch.float64)


def level(path, t):
    alpha, sigma = path(t)
    return float(sigma / alpha)


def clean(data, x, t):
    """The end of the exact flow of a Gaussian where no noise is left."""
    mixture = data.mixture
    alpha, sigma = data.schedule(t)
    variances, basis = mixture.variances[0], mixture.basis[0]
    scale = torch.sqrt(variances / (alpha**2 * variances + sigma**2))
    return mixture.means[0] + (x - alpha * mixture.means[0]) @ basis * scale @ basis.T


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("grid", [ResidualGrid(), UniformLogSNR(), Karras()], ids=repr)
def test_gaussian_data_are_exact_at_any_number_of_evaluations(schedule, grid, steps, normal):
    """Eigenvalues 0.6 and 0.2, off the origin: the flow is known, and f = 0 all the way."""
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    data = GaussianDenoiser(schedule, torch.tensor([0.5, -0.3]).double(), covariance)
    x = schedule.sigma(at(1)) * normal(5, 2)
    got = sample(data, x, GaussianResidual(grid), steps)
    assert torch.allclose(got, clean(data, x, 1.0), rtol=0, atol=1e-9)


def test_a_start_on_the_way_is_taken_as_it_is(mixture, normal):
    """From σ/α = 0.5 nothing is skipped: as many evaluations, and Heun's end with 400 steps."""
    denoiser, path = mixture(VP()), VP()
    start = float(path.time(-2 * math.log(0.5)))
    x = path.alpha(at(start)) * normal(6, 2)
    run = list(trajectory(denoiser, x, GaussianResidual(final="denoise"), 30, start=start))
    assert torch.equal(run[0].x, x)
    assert float(run[0].t) == start
    low = float(run[-1].t)
    fine = sample(denoiser, x, Heun(UniformLogSNR()), 400, start=start)
    exact = GaussianResidual(ResidualGrid(last=0.002), final="denoise")
    assert low > path.t_min
    assert (sample(denoiser, x, exact, 60, start=start) - fine).abs().max() < 2e-3


def test_residual_grid_is_its_rule():
    """u₁ = 1.1 σ_data n, u_n = 1.1 σ_data/n, even ratios of σ/α; the start comes first."""
    path, n, sigma_data = VE(0.01, 157.4), 8, 0.7
    times = ResidualGrid().times(path, n, 1.0, sigma_data)
    levels = np.geomspace(1.1 * 0.7 * 8, 1.1 * 0.7 / 8, n)
    assert len(times) == n + 1
    assert float(times[0]) == 1
    assert np.allclose([level(path, t) for t in times[1:]], levels, rtol=1e-10)
    near = ResidualGrid().times(path, n, float(path.time(-2 * math.log(2.0))), sigma_data)
    assert float(near[0]) == float(near[1])
    assert level(path, near[1]) == pytest.approx(2.0)


def test_rule_for_networks():
    """u₁ = 5 σ_data n and u_n = 0.35 σ_data (5/n)^1.3, and as many levels between any two as A says."""
    path, n = VE(0.002, 80.0), 10
    times = ResidualGrid(rule="network").times(path, n, 1.0, 0.6)
    levels = np.array([level(path, t) for t in times[1:]])
    ends = (5 * 10 * 0.6, 0.35 * 0.6 * 0.5**1.3)
    assert np.allclose(levels[[0, -1]], ends, rtol=1e-10)

    def density(z):
        return 1 + 1.0 * np.exp(-((z - np.log(4 * 0.6)) ** 2) / (2 * 0.8**2))

    between = [quad(density, np.log(b), np.log(a))[0] for a, b in pairwise(levels)]
    assert np.allclose(between, np.mean(between), rtol=1e-4)


def test_crowding_grows_with_evaluations_up_to_2():
    path = VE(0.002, 80.0)

    def times(n, **options):
        return ResidualGrid(rule="network", **options).times(path, n, 1.0, 0.6)

    for n, crowding in ((5, 0.5), (15, 1.5), (20, 2), (60, 2)):
        assert torch.equal(times(n), times(n, crowding=crowding))
        assert not torch.equal(times(n), times(n, crowding=crowding - 0.1))


def test_rules_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="rule"):
        ResidualGrid(rule="networks")
    with pytest.raises(InputError, match="rule"):
        GaussianResidual(rule="networks")
    for bad in (-1, math.inf):
        with pytest.raises(InputError, match=f"crowding must be above -1 and finite, got {bad}"):
            ResidualGrid(crowding=bad)
    with pytest.raises(InputError, match="offset must be above 0 and finite, got inf"):
        GaussianResidual(offset=math.inf)


def test_offset_for_networks(mixture, normal):
    denoiser, x = mixture(VP()), normal(4, 2)
    given = GaussianResidual(offset=1.5 * 0.5**1.5)
    assert torch.equal(
        sample(denoiser, x, GaussianResidual(rule="network"), 10), sample(denoiser, x, given, 10)
    )
    assert not torch.equal(
        sample(denoiser, x, GaussianResidual(), 10), sample(denoiser, x, given, 10)
    )


def test_evaluations_are_the_steps(mixture, normal):
    calls = []

    class Counting(Denoiser):
        def forward(self, x, t, **cond):
            calls.append(float(t))
            return denoiser(x, t)

    denoiser = mixture(VP())
    counting = Counting(VP(), denoiser.moments)
    for steps in (1, 3, 8):
        for start in (1.0, 0.3):
            calls.clear()
            sample(counting, normal(2, 2), GaussianResidual(), steps, start=start)
            assert len(calls) == steps
        assert all(a > b for a, b in pairwise(calls))


def test_without_variance_its_step_is_dpm_solvers(mixture, normal):
    """Λ = 0 and c = 0 leave x_s = (u_s/u_t) x_t + (1 - u_s/u_t) x̂₀; the first interval only scales."""
    path = VE(0.05, 2.0)
    denoiser = mixture(path)
    known = denoiser.moments
    denoiser.moments = Moments(known.basis, 0 * known.mean, 0 * known.variances + 1e-20, known.row)
    x = 2 * normal(4, 2)
    sampler = GaussianResidual(UniformLogSNR(), order=1)
    zero, one, two, *_ = trajectory(denoiser, x, sampler, 12)
    u0, u1, u2 = (level(path, step.t) for step in (zero, one, two))
    assert torch.allclose(one.x, u1 / u0 * x, rtol=0, atol=1e-8)
    assert torch.allclose(two.x, u2 / u1 * one.x + (1 - u2 / u1) * one.x0, rtol=0, atol=1e-8)


NO_WEIGHTS = ((),) * 6
WEIGHTS = (
    ((0.3, -0.2),),
    ((-0.1, 0.4), (0.2, 0.1)),
    (),
    ((0.2, 0.3), (-0.3, 0.1), (0.1, -0.5)),
    ((0.1, 0.2),),
    ((-0.2, 0.6), (0.3, -0.1)),
)


@pytest.mark.parametrize(
    ("order", "weights"), [(1, ()), (2, ()), (3, ()), (3, NO_WEIGHTS), (3, WEIGHTS)]
)
def test_a_step_integrates_the_polynomial_in_every_direction(order, weights, mixture, normal):
    """y' - y = ∫ (P(τ) + Σ w f)/√(λ_i + u(τ)²) dτ, by scipy's quadrature and numpy's polynomials."""
    path = VP()
    denoiser = mixture(path)
    sampler = GaussianResidual(order=order, final="denoise", weights=weights)
    moments = denoiser.moments
    x = path.sigma(at(1)) * normal(2, 2)
    run = list(trajectory(denoiser, x, sampler, 6))
    c = ((0.05 + 3 / 6) * moments.sigma_data) ** 2
    lam, basis = moments.variances[0], moments.basis.vectors
    center = (moments.mean[0] @ basis.T)[None]

    def tau(u):
        return -0.5 * math.log(u**2 + c)

    u1 = level(path, run[1].t)
    knots, values = [tau(10 * u1)], [np.zeros((2, 2))]
    y = (
        (x - path.alpha(at(1)) * center)
        @ basis
        / torch.sqrt(path.alpha(at(1)) ** 2 * lam + path.sigma(at(1)) ** 2)
    ).numpy()
    begin = y
    for now, after, pairs in zip(run[1:-1], run[2:], weights or NO_WEIGHTS, strict=False):
        u, end = level(path, now.t), tau(level(path, after.t))
        knots, values = [tau(u), *knots], [residual(now, u, center, basis, lam, c, path), *values]
        if now is not run[1]:  # the free correction of the step before
            y = begin + integral(knots[1], knots[0], knots[:order], values[:order], lam, c)
        added = weighed(pairs, values, lam, u)
        begin = y = y + integral(knots[0], end, knots[:1], [added], lam, c)
        y = y + integral(knots[0], end, knots[:order], values[:order], lam, c)
        alpha, sigma = path(after.t)
        expected = (
            alpha * center + (torch.sqrt(alpha**2 * lam + sigma**2) * torch.from_numpy(y)) @ basis.T
        )
        assert torch.allclose(after.x, expected, rtol=0, atol=1e-9)
    last, u = run[-1], level(path, run[-1].t)
    plain = denoiser(last.x, last.t)
    values = [residual(last._replace(x0=plain), u, center, basis, lam, c, path), *values]
    added = torch.from_numpy(weighed((weights or NO_WEIGHTS)[-1], values, lam, u))
    assert torch.allclose(last.x0, plain + added / (1 + c / u**2) @ basis.T, rtol=0, atol=1e-9)


def residual(step, u, center, basis, lam, c, path):
    """f = (1 + c/u²) Uᵀ(x̂₀ - x̂₀ᴳ)."""
    z = (step.x / path.alpha(step.t) - center) @ basis
    return ((1 + c / u**2) * ((step.x0 - center) @ basis - lam / (lam + u**2) * z)).numpy()


def weighed(pairs, values, lam, u):
    """Σ (a + b Λ/(Λ + u²)) f."""
    shares = [(a + b * lam / (lam + u**2)).numpy() for a, b in pairs]
    parts = [share * value for share, value in zip(shares, values, strict=False)]
    return sum(parts, np.zeros((2, 2)))


def integral(start, end, knots, values, lam, c):
    out = np.zeros((2, 2))
    for b in range(2):
        for i in range(2):
            fit = np.polyfit(knots, [v[b, i] for v in values], len(knots) - 1)

            def f(tau, fit=fit, i=i):
                u2 = max(math.exp(-2 * tau) - c, 0)
                return np.polyval(fit, tau) / math.sqrt(float(lam[i]) + u2)

            out[b, i] = quad(f, start, end, epsabs=1e-12, epsrel=1e-12)[0]
    return out


@pytest.mark.parametrize(
    "path",
    [VP(), *(pytest.param(p, marks=pytest.mark.slow) for p in (VE(0.01, 50.0), Flow()))],
    ids=lambda p: type(p).__name__,
)
def test_order_of_convergence(path, mixture, normal):
    """With c fixed, from σ/α = 1.5 on even levels, against Heun's 2,000 steps."""
    denoiser = mixture(path)
    start = float(path.time(-2 * math.log(1.5)))
    alpha, sigma = path(start)
    x = alpha * denoiser.draw(8, torch.Generator().manual_seed(1)) + sigma * normal(8, 2)
    end = sample(denoiser, x, Heun(UniformLogSNR()), 2000, start=start)
    sampler = GaussianResidual(UniformLogSNR(), order=3, offset=0.3, final="denoise")
    coarse, fine = (
        float((sample(denoiser, x, sampler, n, start=start) - end).norm()) for n in (41, 81)
    )
    assert math.log2(coarse / fine) > sampler.order - 0.3


@pytest.fixture(scope="module")
def flower():
    """Six flat Gaussians around a circle, noise, and the flow's ends by 500 steps of Heun."""
    angle = 2 * math.pi * torch.arange(6, dtype=torch.float64) / 6 + 0.3
    means = torch.stack([angle.cos(), angle.sin()], dim=1)
    outward = means[:, :, None] * means[:, None, :]
    covariances = 0.25**2 * outward + 0.05**2 * torch.eye(2, dtype=torch.float64)
    data = MixtureDenoiser(VP(), torch.ones(6), means, covariances)
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return data, x, sample(data, x, Heun(UniformLogSNR()), 500)


@pytest.mark.parametrize("steps", [5, 8, 10, 15, 20])
def test_error_is_far_below_dpm_solvers(steps, flower):
    data, x, end = flower

    def error(sampler):
        return float((sample(data, x, sampler, steps) - end).square().mean().sqrt())

    best = min(error(DPMSolverPP(order=k)) for k in (2, 3))
    assert error(GaussianResidual()) < (best / 2 if steps <= 10 else best)


def test_a_model_without_moments_is_told_what_is_needed(mixture):
    denoiser = mixture(VP())
    denoiser.moments = None
    with pytest.raises(InputError, match="needs the mean and covariance of the data"):
        sample(denoiser, (2, 2), GaussianResidual(), 5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (GaussianResidual, {"order": 4}),
        (GaussianResidual, {"offset": 0.0}),
        (GaussianResidual, {"final": "euler"}),
        (GaussianResidual, {"weights": (((0.1, 0.2), (0.3, 0.4)),), "order": 1}),
        (GaussianResidual, {"weights": (((0.1, math.nan),),)}),
        (ResidualGrid, {"first": -1.0}),
        (ResidualGrid, {"last": math.nan}),
    ],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        kind(**settings)


@pytest.mark.parametrize("n", [1, 4, 16])
def test_quadrature_is_gauss_legendres(n):
    nodes, weights = gauss_legendre(n)
    expected, expected_weights = np.polynomial.legendre.leggauss(n)
    assert np.allclose(nodes.numpy(), (expected + 1) / 2, atol=1e-14)
    assert np.allclose(weights.numpy(), expected_weights / 2, atol=1e-14)


def test_pictures_in_a_cosine_basis(normal):
    """White images of mean 0.2 and standard deviation 0.5: exact in one evaluation."""
    path = VP()

    class White(Denoiser):
        def forward(self, x, t, **cond):
            alpha, sigma = path(t)
            return 0.2 + alpha * 0.25 / (alpha**2 * 0.25 + sigma**2) * (x - alpha * 0.2)

    x = normal(2, 3, 5, 7)
    denoiser = White(path, white_moments((0.2,), 0.5, (3, 5, 7)))
    alpha, sigma = path(1.0)
    expected = 0.2 + (x - alpha * 0.2) * 0.5 / torch.sqrt(alpha**2 * 0.25 + sigma**2)
    assert torch.allclose(sample(denoiser, x, GaussianResidual(), 1), expected, atol=1e-9)


@pytest.mark.parametrize("path", [VP(), Flow(), VE(0.01, 157.4)], ids=repr)
def test_it_starts_from_anywhere(path, mixture, normal):
    """A start that is the first level is that to the bit, wherever rounding puts it."""
    x, denoiser = normal(2, 2), mixture(path)
    for start in np.linspace(0.02, 0.6, 59):
        assert sample(denoiser, x, GaussianResidual(), 10, start=float(start)).isfinite().all()


@pytest.mark.parametrize("sampler", [DPMSolverPP, UniPC, DDIM])
@pytest.mark.parametrize("start", [1.0, 0.17])
def test_its_grid_serves_other_samplers(sampler, start, mixture, normal):
    """On a path without far noise the start is the first level, and is visited once."""
    path = VE(0.01, 20.0)
    denoiser, grid = mixture(path), ResidualGrid()
    x = path.sigma(at(start)) * normal(3, 2)
    steps = list(trajectory(denoiser, x, sampler(grid), 60, start=start))
    assert len(steps) == 60
    fine = sample(denoiser, x, Heun(UniformLogSNR()), 400, start=start)
    assert (steps[-1].x0 - fine).abs().max() < 0.3


def test_the_first_level_lies_on_the_path():
    with pytest.raises(InputError, match=r"first must be above 0\.02 on this schedule, got 0\.001"):
        ResidualGrid(first=0.001).times(VE(0.01, 20.0), 5, 1.0, 0.5)


def test_data_narrower_than_the_least_noise_can_be_sampled(normal):
    """Nothing but noise is seen of them: one level is as good as ten."""
    tight = GaussianDenoiser(VE(0.1, 20.0), torch.ones(2), 1e-6 * torch.eye(2))
    found = sample(tight, 20 * normal(4, 2), GaussianResidual(), 10)
    assert torch.allclose(found, torch.ones(4, 2).double(), atol=0.02)


def test_weights_are_for_as_many_evaluations_as_there_are(mixture, normal):
    """Counted from the first look, whether the start is crossed or looked at."""
    denoiser = mixture(VP())
    fitted = GaussianResidual(weights=(((0.1, 0.0),),) * 3)
    with pytest.raises(InputError, match="weights for 3 evaluations were given for 4"):
        sample(denoiser, normal(2, 2), fitted, 4)
    start = float(VP().time(-2 * math.log(0.5)))
    assert sample(denoiser, normal(2, 2), fitted, 3, start=start).isfinite().all()
