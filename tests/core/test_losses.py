"""What an error costs, and what minimizes it."""

import math

import pytest
import torch

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.losses import L1, L2, Huber
from scorefield.core.objective import Objective
from scorefield.core.parameterizations import EDM, X0
from scorefield.core.schedules import VP, Flow
from scorefield.errors import InputError
from scorefield.recipes.catalog import LOSSES, WEIGHTINGS

ROWS = torch.tensor([[[3.0, -4.0]], [[0.0, 0.0]], [[1e-9, 0.0]]], dtype=torch.float64)


def test_costs_are_their_formulas():
    assert L2()(ROWS).tolist() == pytest.approx([12.5, 0, 5e-19])
    assert L1()(ROWS).tolist() == pytest.approx([3.5, 0, 5e-10])
    # Song & Dhariwal 2023, eq. 7, of a sample of D axes with c √D in place of c, over √D
    for c in (0.5, 7.0):
        published = [
            (math.hypot(*row, c * math.sqrt(2)) - c * math.sqrt(2)) / math.sqrt(2)
            for row in ROWS[:2, 0].tolist()
        ]
        assert Huber(c)(ROWS[:2]).tolist() == pytest.approx(published)
    # far below c it is half the squared error over c, to all digits
    assert float(Huber(7.0)(ROWS[2:])) == pytest.approx(5e-19 / 14, rel=1e-12)
    assert float(Huber(1e-12)(ROWS[:1])) == pytest.approx(math.sqrt(12.5))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan])
def test_the_corner_of_huber_is_above_0(bad):
    with pytest.raises(InputError, match="c must be above 0"):
        Huber(bad)


@pytest.mark.parametrize("loss", [kind() for kind in LOSSES.values()], ids=LOSSES)
def test_gradients_are_finite_at_no_error(loss):
    residual = torch.zeros(2, 3, requires_grad=True)
    loss(residual).sum().backward()
    assert residual.grad.abs().max() == 0


def minimizer(loss):
    """The constant of least cost on numbers of which nine are 0 and one is 10, each in turn alone."""
    points = torch.tensor([0.0] * 9 + [10.0], dtype=torch.float64)[:, None]
    guesses = torch.linspace(-1, 11, 12001, dtype=torch.float64)
    costs = torch.stack([loss(guesses[:, None] - point) for point in points]).mean(0)
    return float(guesses[costs.argmin()])


def test_only_the_squared_error_is_least_at_the_mean():
    assert minimizer(L2()) == pytest.approx(1)
    assert minimizer(L1()) == pytest.approx(0, abs=1e-3)  # the median
    assert minimizer(Huber(1e4)) == pytest.approx(1, abs=1e-3)
    # where 9 g/√(g² + 1) = (10 - g)/√((10 - g)² + 1)
    corner = minimizer(Huber(1.0))
    pull = (10 - corner) / math.hypot(10 - corner, 1)
    assert 9 * corner / math.hypot(corner, 1) == pytest.approx(pull, rel=0.02)


class Table(torch.nn.Module):
    """F = k(t) x: one free number for each of the times it was made for."""

    def __init__(self, conditions):
        super().__init__()
        self.conditions = conditions
        self.slopes = torch.nn.Parameter(torch.zeros(len(conditions), dtype=torch.float64))

    def forward(self, x, c_noise):
        which = (c_noise[:, None] - self.conditions).abs().argmin(1)
        return self.slopes[which][:, None] * x


@pytest.mark.parametrize("kind", WEIGHTINGS.values(), ids=WEIGHTINGS)
@pytest.mark.parametrize("path", [VP(), Flow()], ids=["vp", "flow"])
def test_every_weighting_has_the_same_minimizer(kind, path):
    """Of N(0, s²): at the slopes of E[x₀ | x] = α s²/(α² s² + σ²) x the gradient of every loss is 0.

    The expectation is exact: x₀ and ε take the values ±s and ±1, whose second moments are those of the
    Gaussians, and the loss of a linear network knows no others.
    """
    times, s = torch.tensor([0.1, 0.4, 0.8], dtype=torch.float64), 0.7
    network = Table(X0(s).condition(path, times))
    denoiser = NetworkDenoiser(network, path, X0(s))
    signs = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    t, x0, eps = torch.cartesian_prod(times, s * signs, signs).unbind(1)
    x0, eps = x0[:, None], eps[:, None]
    objective = Objective(weighting=kind())

    def gradient():
        network.zero_grad()
        objective.losses(denoiser, x0, t, eps, None).mean().backward()
        return network.slopes.grad

    alpha, sigma = path(times)
    total = alpha**2 * s**2 + sigma**2
    right = alpha * s**2 / total * total.sqrt()  # the network sees x/√(α² s² + σ²)
    with torch.no_grad():
        network.slopes.copy_(right + 0.1)
    away = gradient().clone()
    assert (away.abs() > 1e-5).all()
    with torch.no_grad():
        network.slopes.copy_(right)
    assert (gradient().abs() < 1e-12 * away.abs()).all()


def test_the_loss_of_an_objective_is_the_loss_it_names(normal, generator):
    class Zero(torch.nn.Module):
        def forward(self, x, c_noise):
            return torch.zeros_like(x)

    denoiser, x0 = NetworkDenoiser(Zero(), VP(), EDM(1.0)), normal(5, 2, 3)
    t, eps, _ = Objective().draw(VP(), x0, None, generator)
    residual = denoiser.residual(x0, t, eps)
    for loss in (L2(), L1(), Huber(0.3)):
        found = Objective(loss=loss).losses(denoiser, x0, t, eps, None)
        assert torch.equal(found, loss(residual))
    assert Objective() == Objective(loss=L2())
