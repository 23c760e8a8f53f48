"""Noise, score and velocity from x̂₀; a network behind a parameterization."""

import pytest
import torch
from torch import nn

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.marginal import Marginal
from scorefield.core.parameterizations import EDM, X0, Noise, Score, V, Velocity
from scorefield.core.schedules import VP, Flow

KINDS = [X0, Noise, V, Velocity, Score, EDM]
MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
TIMES = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)


class Perfect(nn.Module):
    """Answers E[a (x₀ - m) + b ε | x], knowing only what a network is given."""

    def __init__(self, oracle, parameterization):
        super().__init__()
        self.oracle, self.parameterization = oracle, parameterization

    def forward(self, x, c_noise):
        schedule = self.oracle.schedule
        t = schedule.time(-8 * c_noise)
        alpha, sigma = (v[:, None] for v in schedule(t))
        centred = x * torch.sqrt(alpha**2 * self.parameterization.scale**2 + sigma**2)
        x0 = self.oracle(centred + alpha * MEAN, t) - MEAN
        a, b = (v[:, None] for v in self.parameterization.target(schedule, t))
        return a * x0 + b * (centred - alpha * x0) / sigma


class Line(nn.Module):
    """A network with a written-out answer; it remembers what it was called with."""

    def forward(self, x, c_noise, **cond):
        self.seen = (x, c_noise, cond)
        return 0.3 * x + c_noise.reshape(-1, *[1] * (x.ndim - 1)) + 0.1


def test_noise_score_and_velocity_of_a_gaussian(schedule, gaussian, normal):
    """For N(αm, S), S = α²C + σ²: ∇log p = -S⁻¹(x - αm), ε̂ = -σ ∇log p, v = f x - ½ g² ∇log p."""
    oracle, x = gaussian(schedule), normal(len(TIMES), 2)
    alpha, sigma = (v[:, None] for v in schedule(TIMES))
    spread = alpha[..., None] ** 2 * COVARIANCE + sigma[..., None] ** 2 * torch.eye(2)
    score = -torch.linalg.solve(spread, (x - alpha * MEAN)[..., None])[..., 0]
    f, g = schedule.drift(TIMES)[:, None], schedule.diffusion(TIMES)[:, None]
    assert torch.allclose(oracle.score(x, TIMES), score, rtol=1e-9, atol=1e-10)
    assert torch.allclose(oracle.noise(x, TIMES), -sigma * score, rtol=1e-9, atol=1e-10)
    velocity = f * x - 0.5 * g**2 * score
    assert torch.allclose(oracle.velocity(x, TIMES), velocity, rtol=1e-9, atol=1e-9)


def test_velocity_is_finite_where_no_signal_is_left(gaussian, normal):
    """α = 0 leaves x = ε and x₀ independent of it: v = ε - m on the straight path."""
    x = normal(4, 2)
    velocity = gaussian(Flow()).velocity(x, torch.tensor(1.0))
    assert torch.allclose(velocity, x - MEAN, rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_perfect_network_is_the_oracle(schedule, kind, gaussian, normal):
    oracle, parameterization, x = gaussian(schedule), kind(0.6), normal(len(TIMES), 2)
    denoiser = NetworkDenoiser(
        Perfect(oracle, parameterization), schedule, parameterization, MEAN.tolist()
    )
    assert torch.allclose(denoiser(x, TIMES), oracle(x, TIMES), rtol=0, atol=1e-9)
    assert torch.allclose(denoiser(x, TIMES[3]), oracle(x, TIMES[3]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_perfect_network_regresses_on_its_target(kind, mixture, generator, normal):
    """E[F | x] = F_perfect(x), so the mean residual of many draws is 0 within 5 standard errors."""
    oracle, parameterization, n = mixture(VP()), kind(0.6), 4000
    x0, eps, t = oracle.draw(n, generator), normal(n, 2), torch.full((n,), 0.3).double()
    alpha, sigma = (v[:, None] for v in VP()(t))
    x = alpha * x0 + sigma * eps
    network = Perfect(oracle, parameterization)
    residual = NetworkDenoiser(network, VP(), parameterization, MEAN.tolist()).residual(x0, t, eps)
    for weight in (torch.ones_like(x), x):  # orthogonal to 1 and to x, as a regression's is
        product = residual * weight
        assert (product.mean(0).abs() < 5 * product.std(0) / n**0.5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_residual_is_the_written_out_formula(kind, normal):
    schedule, parameterization, mean = VP(), kind(0.7), (0.2, -0.4, 0.1)
    x0, eps, t = normal(3, 3, 4, 4), normal(3, 3, 4, 4), torch.tensor([0.1, 0.5, 0.9]).double()
    line = Line()
    residual = NetworkDenoiser(line, schedule, parameterization, mean).residual(x0, t, eps, label=t)
    centred = x0 - torch.tensor(mean, dtype=torch.float64)[:, None, None]
    for i in range(3):
        alpha, sigma = schedule(t[i])
        a, b = parameterization.target(schedule, t[i])
        seen = (alpha * centred[i] + sigma * eps[i]) / torch.sqrt((0.7 * alpha) ** 2 + sigma**2)
        answer = 0.3 * seen + torch.log(sigma / alpha) / 4 + 0.1
        expected = answer - (a * centred[i] + b * eps[i])
        assert torch.allclose(residual[i], expected, rtol=1e-12, atol=1e-14)
    assert line.seen[1].shape == (3,)
    assert line.seen[2]["label"] is t


@pytest.mark.parametrize("kind", KINDS)
def test_forward_is_the_written_out_formula(kind, normal):
    schedule, parameterization, mean = VP(), kind(0.7), (0.2, -0.4, 0.1)
    x, t = normal(2, 3, 4, 4), torch.tensor(0.4).double()
    got = NetworkDenoiser(Line(), schedule, parameterization, mean)(x, t)
    m = torch.tensor(mean, dtype=torch.float64)[:, None, None]
    alpha, sigma = schedule(t)
    centred = x - alpha * m
    answer = 0.3 * centred / torch.sqrt((0.7 * alpha) ** 2 + sigma**2)
    answer = answer + torch.log(sigma / alpha) / 4 + 0.1
    # x - αm = α y + σ ε and F = a y + b ε, solved for y = x₀ - m as a linear system
    a, b = parameterization.target(schedule, t)
    matrix = torch.stack([torch.stack([alpha, sigma]), torch.stack([a, b])])
    sides = torch.stack([centred.flatten(), answer.flatten()])
    x0 = torch.linalg.solve(matrix, sides)[0].reshape(x.shape) + m
    assert torch.allclose(got, x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtype_is_that_of_the_state(dtype):
    """A network that computes in another dtype must not take the rest of the formula with it."""

    class Other(nn.Module):
        def forward(self, x, c_noise):
            return x.to(dtype)

    denoiser = NetworkDenoiser(Other(), VP(), EDM(0.5))
    x, t = torch.ones(2, 3), torch.tensor([0.2, 0.7]).double()
    assert denoiser(x, t).dtype == torch.float32
    assert denoiser.residual(x, t, x).dtype == torch.float32
    skip, out = EDM(0.5).inversion(VP(), t)
    expected = skip + out * EDM(0.5).input_scale(VP(), t).float().to(dtype).double()
    assert torch.allclose(denoiser(x, t)[:, 0].double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("law", [Marginal(), Marginal(2, (-1.0, 0.0, 1.0), (0.3, 0.7))])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
@pytest.mark.parametrize("state", [torch.float32, torch.float64])
def test_network_sees_numbers_of_its_own_dtype(law, weights, state, normal):
    """Solvers may keep in float64 a state that a network of float32 is asked about, and the other way."""

    class Factor(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(0.75), requires_grad=False)

        def forward(self, x, c_noise):
            assert x.dtype == c_noise.dtype == self.factor.dtype
            return self.factor * x + c_noise[:, None]

    x, t = normal(4, 3).to(state), torch.tensor([0.02, 0.2, 0.5, 0.9]).double()
    found = NetworkDenoiser(Factor().to(weights), VP(), EDM(0.5), marginal=law)(x, t)
    exact = NetworkDenoiser(Factor().double(), VP(), EDM(0.5), marginal=law)(x.double(), t)
    assert found.dtype == state
    assert torch.allclose(found.double(), exact, rtol=1e-5, atol=1e-6)
