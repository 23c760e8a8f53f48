"""The gradient noise scale, on a quadratic whose noise is known."""

import pytest
import torch

from scorefield.training.health.noise_scale import estimates, half_gradients, noise_scale


def quadratic(slope, spread, batch, checks, part=4):
    """½‖θ - x_i‖² with x_i ~ N(θ - slope, spread² I): G = slope, Σ = spread² I."""
    generator = torch.Generator().manual_seed(0)
    theta = torch.zeros(len(slope), dtype=torch.float64, requires_grad=True)
    for _ in range(checks):
        noise = torch.randn(batch, len(slope), generator=generator, dtype=torch.float64)
        x = spread * noise - slope
        halves = half_gradients(
            lambda rows, x=x: (theta - x[rows]).square().sum(1) / 2, [theta], batch // 2, part
        )
        yield estimates(halves, batch // 2)


def test_the_estimates_are_unbiased():
    slope = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    found = torch.tensor(list(quadratic(slope, 3.0, 8, 2000)), dtype=torch.float64)
    mean, error = found.mean(0), found.std(0) / 2000**0.5
    exact = torch.tensor([5.25, 4 * 9.0], dtype=torch.float64)  # ‖G‖² and tr Σ
    assert ((mean - exact).abs() < 4 * error).all()
    assert (error < 0.1 * exact).all()


def test_without_noise_it_is_the_gradient_alone():
    slope = torch.tensor([3.0, 4.0], dtype=torch.float64)
    ((square, trace),) = quadratic(slope, 0.0, 8, 1, part=3)
    assert square == pytest.approx(25.0)
    assert trace == pytest.approx(0.0, abs=1e-9)


def test_the_scale_is_a_ratio_of_averages():
    slope = torch.linspace(-1, 1, 200, dtype=torch.float64)
    checks = list(quadratic(slope, 3.0, 512, 60, part=256))
    assert noise_scale(checks) == pytest.approx(200 * 9 / float(slope @ slope), rel=0.1)
    # older checks count for less: 0.9 of what came after it
    assert noise_scale([(1.0, 10.0), (2.0, 40.0)]) == pytest.approx((9 + 40) / (0.9 + 2))


def test_a_check_that_is_not_finite_is_left_out_and_no_gradient_gives_no_scale():
    assert noise_scale([]) is None
    assert noise_scale([(-1.0, 5.0)]) is None
    assert noise_scale([(float("nan"), 1.0), (2.0, 5.0)]) == pytest.approx(2.5)


def test_gradients_of_parts_are_those_of_the_half_and_parameters_are_left_alone():
    weight = torch.tensor([[1.0, 2.0]], requires_grad=True)
    unused = torch.zeros(3, requires_grad=True)
    x = torch.arange(16.0).reshape(8, 2)

    def loss(rows):
        return (x[rows] @ weight.T).square()[:, 0]

    whole = half_gradients(loss, [weight, unused], 4, 4)
    parts = half_gradients(loss, [weight, unused], 4, 1)
    for half, rows in enumerate((slice(0, 4), slice(4, 8))):
        by_hand = 2 * (x[rows] @ weight.detach().T * x[rows]).mean(0, keepdim=True)
        for found in (whole[half], parts[half]):
            assert torch.allclose(found[0], by_hand)
            assert not found[1].any()
    assert weight.grad is None
    assert unused.grad is None
