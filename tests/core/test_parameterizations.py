"""What networks regress on: definitions, inversion, and EDM's table."""

import math

import pytest
import torch

from scorefield.core.parameterizations import EDM, X0, Noise, Score, V, Velocity
from scorefield.core.schedules import VE, VP, Cosine, Flow
from scorefield.errors import InputError

KINDS = [X0, Noise, V, Velocity, Score, EDM]
TIMES = torch.linspace(0.02, 0.98, 13, dtype=torch.float64)


def parts(schedule, normal, times=TIMES):
    """Data, noise and the state they make, with the target's coefficients left to the test."""
    x0, eps = normal(len(times)), normal(len(times))
    alpha, sigma = schedule(times)
    return x0, eps, alpha * x0 + sigma * eps


@pytest.mark.parametrize("kind", KINDS)
def test_x0_is_read_back_from_the_target(schedule, kind, normal):
    x0, eps, x = parts(schedule, normal)
    a, b = kind(0.5).target(schedule, TIMES)
    skip, out = kind(0.5).inversion(schedule, TIMES)
    assert torch.allclose(skip * x + out * (a * x0 + b * eps), x0, rtol=0, atol=1e-12)


def test_x0_and_noise_are_themselves(schedule):
    one, zero = torch.ones_like(TIMES), torch.zeros_like(TIMES)
    assert torch.equal(torch.stack(X0().target(schedule, TIMES)), torch.stack([one, zero]))
    assert torch.equal(torch.stack(Noise().target(schedule, TIMES)), torch.stack([zero, one]))


def test_v_turns_the_angle_of_vp(normal):
    """Salimans & Ho 2022, App. D: v = α ε - σ x, x = α z - σ v and ε = σ z + α v."""
    x0, eps, x = parts(VP(), normal)
    alpha, sigma = VP()(TIMES)
    a, b = V().target(VP(), TIMES)
    v = a * x0 + b * eps
    assert torch.allclose(v, alpha * eps - sigma * x0, rtol=0, atol=1e-14)
    assert torch.allclose(alpha * x - sigma * v, x0, rtol=0, atol=1e-14)
    assert torch.allclose(sigma * x + alpha * v, eps, rtol=0, atol=1e-14)


def test_velocity_is_the_derivative_of_the_path(schedule, normal):
    times = TIMES + 0.0003  # off the knots of the discrete chain
    x0, eps, _ = parts(schedule, normal, times)
    a, b = Velocity().target(schedule, times)
    (alpha, sigma), (alpha_before, sigma_before) = schedule(times + 1e-5), schedule(times - 1e-5)
    slope = ((alpha - alpha_before) * x0 + (sigma - sigma_before) * eps) / 2e-5
    assert torch.allclose(a * x0 + b * eps, slope, rtol=1e-6, atol=1e-7)


def test_velocity_of_the_straight_path_is_noise_minus_data():
    a, b = Velocity().target(Flow(), TIMES)
    assert torch.equal(a, -torch.ones_like(a))
    assert torch.equal(b, torch.ones_like(b))


def test_score_is_the_gradient_of_the_kernel(schedule, normal):
    """∇_x log N(x; α x₀, σ²), by differentiation."""
    x0, eps, x = parts(schedule, normal)
    alpha, sigma = schedule(TIMES)
    x.requires_grad_()
    log_kernel = torch.distributions.Normal(alpha * x0, sigma).log_prob(x)
    (gradient,) = torch.autograd.grad(log_kernel.sum(), x)
    a, b = Score().target(schedule, TIMES)
    assert torch.allclose(a * x0 + b * eps, gradient, rtol=1e-10, atol=1e-10)


def test_edm_is_its_papers_table():
    """Karras et al. 2022 (arXiv:2206.00364), table 1, last column, with σ_data = 0.5."""
    path, edm, data = VE(0.002, 80.0), EDM(0.5), 0.5
    _, sigma = path(TIMES)
    skip, out = edm.inversion(path, TIMES)
    assert torch.allclose(skip, data**2 / (sigma**2 + data**2), rtol=1e-12, atol=0)
    assert torch.allclose(out, sigma * data / torch.sqrt(sigma**2 + data**2), rtol=1e-12, atol=0)
    c_in = 1 / torch.sqrt(sigma**2 + data**2)
    assert torch.allclose(edm.input_scale(path, TIMES), c_in, rtol=1e-12, atol=0)
    assert torch.allclose(edm.condition(path, TIMES), torch.log(sigma) / 4, rtol=0, atol=1e-12)


def test_edm_target_has_unit_variance(schedule):
    a, b = EDM(0.5).target(schedule, TIMES)
    assert torch.allclose(0.25 * a**2 + b**2, torch.ones_like(a), rtol=0, atol=1e-12)


def test_edm_is_minus_v_for_unit_data_on_vp():
    edm, v = EDM(1.0).target(VP(), TIMES), V().target(VP(), TIMES)
    assert torch.allclose(torch.stack(edm), -torch.stack(v), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_network_sees_unit_variance_and_a_bounded_time(schedule, kind):
    alpha, sigma = schedule(TIMES)
    scale = kind(0.3).input_scale(schedule, TIMES)
    variance = scale**2 * (alpha**2 * 0.09 + sigma**2)
    assert torch.allclose(variance, torch.ones_like(variance), rtol=0, atol=1e-13)
    told = kind(0.3).condition(schedule, TIMES)
    assert torch.allclose(told, torch.log(sigma / alpha) / 4, rtol=0, atol=1e-12)
    ends = kind(0.3).condition(schedule, torch.tensor([0.0, 1.0]))
    assert (ends.abs() <= 5).all()
    assert ends[0] < told[0] < told[-1] <= ends[1]


def test_condition_is_cut_off_where_no_signal_is_left():
    assert Noise().condition(Flow(), torch.tensor([0.0, 1.0])).tolist() == [-5, 1.25]


def test_scale_is_one_until_it_is_known():
    assert EDM().scale == 1
    assert EDM(0.25).scale == 0.25


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_spread_of_data_must_be_positive(bad):
    with pytest.raises(InputError, match="sigma_data must be above 0"):
        EDM(bad)


@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
def test_a_network_is_not_asked_where_it_was_never_trained(path):
    """Where no signal is left c_noise would be infinite; it ends at σ/α = e⁵."""
    told = EDM(0.5).condition(path, torch.tensor([0.5, 0.9999, 1.0]).double())
    sigma_over_alpha = float(path.sigma(torch.tensor(0.5)) / path.alpha(torch.tensor(0.5)))
    assert told.tolist() == pytest.approx([math.log(sigma_over_alpha) / 4, 1.25, 1.25])


def test_a_path_with_much_noise_is_told_all_of_it():
    told = EDM(0.5).condition(VE(0.01, 348.0), torch.ones(1).double())
    assert float(told) == pytest.approx(math.log(348) / 4)
