"""What a bound of the data adds to a calibration: the formula, its place in a step, its worth."""

import math

import pytest
import torch

from scorefield.core.oracles import MixtureDenoiser
from scorefield.core.schedules import VE, VP, Flow
from scorefield.errors import InputError
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.bounded import bounded_terms
from scorefield.samplers.calibration import calibrate
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import UniformLogSNR
from scorefield.samplers.residual import GaussianResidual

SPREADS = ((0.3, -0.2), (-0.1, 0.4), (0.0, 0.0), (0.2, 0.1))


def ends_of_a_range(bound, variance=1e-12):
    """One value, near -b or b."""
    means = torch.tensor([[-bound], [bound]], dtype=torch.float64)
    covariances = torch.full((2, 1, 1), variance, dtype=torch.float64)
    return MixtureDenoiser(VP(), torch.tensor([0.4, 0.6]).double(), means, covariances)


@pytest.mark.parametrize("bound", [1.0, 2.5])
def test_for_values_at_the_ends_the_room_is_the_variance(bound, normal):
    """There Bhatia and Davis's bound is met: v (x/α - x̂₀) = (u/b)² ∂x̂₀/∂(x/α) (x/α - x̂₀)."""
    t = torch.tensor(0.6, dtype=torch.float64)
    alpha, sigma = VP()(t)
    state = (alpha * bound * normal(32, 1)).requires_grad_()
    x0 = ends_of_a_range(bound)(state, t)
    (slope,) = torch.autograd.grad(x0.sum(), state)
    noise = state / alpha - x0
    expected = alpha * slope * (sigma / alpha / bound) ** 2
    first, second = bounded_terms(x0, noise, bound)
    assert torch.allclose(first, expected * noise, rtol=1e-6, atol=1e-9)
    assert torch.allclose(second, expected * x0, rtol=1e-6, atol=1e-9)


def test_beyond_the_bound_there_is_no_room():
    x0 = torch.tensor([-3.0, -2.0, 2.0, 3.0])
    for term in bounded_terms(x0, torch.ones(4), 2.0):
        assert torch.equal(term, torch.zeros(4))


@pytest.mark.parametrize("path", [VP(), Flow(), VE(0.01, 50.0)], ids=repr)
def test_a_step_is_moved_by_its_shares(path, mixture, normal):
    """The last, on x̂₀ itself; the first, in the whitened variable, by ∫ dτ/√(Λ + u²) times as much."""
    data, x = mixture(path), path.sigma(torch.tensor(1.0).double()) * normal(3, 2)
    plain = GaussianResidual(final="denoise")
    before = list(trajectory(data, x, plain, 4))
    last, alpha, sigma = before[-1], *path(before[-1].t)
    x0 = data(last.x, last.t)
    room = (1 - (x0 / 3) ** 2).clamp(min=0)
    late = GaussianResidual(final="denoise", bound=3.0, spreads=((0.0, 0.0),) * 3 + ((0.2, 0.1),))
    moved = room * (0.2 * (last.x / alpha - x0) + 0.1 * x0)
    assert torch.allclose(sample(data, x, late, 4), x0 + moved, rtol=0, atol=1e-9)
    early = GaussianResidual(final="denoise", bound=3.0, spreads=((0.2, 0.1),) + ((0.0, 0.0),) * 3)
    _, one, two, *_ = trajectory(data, x, early, 4)
    now = before[1]
    alpha, sigma = path(now.t)
    room = (1 - (now.x0 / 3) ** 2).clamp(min=0)
    term = room * (0.2 * (now.x / alpha - now.x0) + 0.1 * now.x0)
    assert torch.equal(one.x, now.x)
    u, s = float(sigma / alpha), float(path.sigma(two.t) / path.alpha(two.t))
    c = ((0.05 + 3 / 4) * data.moments.sigma_data) ** 2
    lam, basis = data.moments.variances[0], data.moments.basis.vectors
    gain = (1 + c / u**2) * quadrature(lam, c, u, s)
    alpha, sigma = path(two.t)
    scale = torch.sqrt(alpha**2 * lam + sigma**2)
    expected = before[2].x + (scale * gain * (term @ basis)) @ basis.T
    assert torch.allclose(two.x, expected, rtol=0, atol=1e-6)


def quadrature(lam, c, u, s):
    """∫ dτ/√(Λ + u²) from u down to s, with τ = -½ log(u² + c), by the trapezoidal rule."""
    tau = torch.linspace(-0.5 * math.log(u**2 + c), -0.5 * math.log(s**2 + c), 20001).double()
    levels = torch.exp(-2 * tau) - c
    return torch.trapezoid(torch.rsqrt(lam[:, None] + levels.clamp(min=0)), tau, dim=1)


def test_a_calibration_with_the_bound_is_closer():
    """Values around -1 and 1 with variance 0.02, four evaluations, on noise that was not seen before."""
    data = ends_of_a_range(1.0, variance=0.02)
    x = torch.randn(400, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ends = sample(data, x, Heun(UniformLogSNR()), 800)

    def error(sampler):
        *_, found = calibrate(data, x[:200], 4, sampler)
        assert bool(found.sampler.spreads) is (sampler.bound is not None)
        return float((sample(data, x[200:], found.sampler, 4) - ends[200:]).abs().mean())

    bounded, plain = GaussianResidual(final="denoise", bound=1.0), GaussianResidual(final="denoise")
    assert error(bounded) < error(plain) / 2


def test_no_spreads_and_spreads_of_nothing_are_the_same(mixture, normal):
    data, x = mixture(VP()), normal(4, 2)
    for final in ("integrate", "denoise"):
        none = GaussianResidual(final=final, bound=1.0, spreads=((0.0, 0.0),) * 4)
        expected = sample(data, x, GaussianResidual(final=final), 4)
        assert torch.allclose(sample(data, x, none, 4), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"bound": 0.0}, "bound must be above 0 and finite, got 0.0"),
        ({"bound": math.inf}, "bound must be above 0 and finite, got inf"),
        ({"spreads": SPREADS}, "spreads need a bound of the data"),
        ({"spreads": ((0.1, math.nan),), "bound": 1.0}, "spreads must be finite"),
    ],
)
def test_impossible_spreads_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        GaussianResidual(**settings)


def test_spreads_are_for_as_many_evaluations_as_there_are(mixture, normal):
    fitted = GaussianResidual(bound=1.0, spreads=SPREADS)
    with pytest.raises(InputError, match="spreads for 4 evaluations were given for 5"):
        sample(mixture(VP()), normal(2, 2), fitted, 5)
