"""The discrete chain against the published betas and its continuous limit."""

import math

import numpy as np
import pytest
import torch

from scorefield.core.ddpm import (
    DDPM,
    ConstantBetas,
    CosineBetas,
    GivenBetas,
    LinearBetas,
    QuadraticBetas,
    SigmoidBetas,
)
from scorefield.core.schedules import VP
from scorefield.errors import InputError

STEPS = 40


def alpha_bar(u):
    """Nichol & Dhariwal 2021 (arXiv:2102.09672) eq. 17 with s = 0.008."""
    return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2


# As in the code published with each paper: Ho et al. (linear, quad, const), Nichol & Dhariwal
# (cosine), Xu et al. (sigmoid).
PUBLISHED = {
    "linear": (LinearBetas(1e-3, 0.2), np.linspace(1e-3, 0.2, STEPS)),
    "quadratic": (QuadraticBetas(1e-3, 0.2), np.linspace(1e-3**0.5, 0.2**0.5, STEPS) ** 2),
    "constant": (ConstantBetas(0.02), np.full(STEPS, 0.02)),
    "cosine": (
        CosineBetas(),
        np.array(
            [
                min(1 - alpha_bar((i + 1) / STEPS) / alpha_bar(i / STEPS), 0.999)
                for i in range(STEPS)
            ]
        ),
    ),
    "sigmoid": (
        SigmoidBetas(1e-3, 0.2),
        1 / (np.exp(-np.linspace(-6, 6, STEPS)) + 1) * (0.2 - 1e-3) + 1e-3,
    ),
    "given": (
        GivenBetas(tuple(0.01 + 0.3 * (i % 3) for i in range(STEPS))),
        np.array([0.01 + 0.3 * (i % 3) for i in range(STEPS)]),
    ),
}


@pytest.mark.parametrize(("betas", "expected"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_betas_are_the_published_ones(betas, expected):
    assert np.allclose(betas.values(STEPS).numpy(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("betas", "expected"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_knots_are_the_cumulative_product(betas, expected):
    """Ho et al. 2020 eq. 4: ᾱ_i is the product of 1 - β_j up to i."""
    signal = np.cumprod(1 - expected)
    times = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    alpha, sigma = DDPM(STEPS, betas)(times)
    assert np.allclose(alpha.numpy() ** 2, signal, rtol=1e-11, atol=0)
    assert np.allclose(sigma.numpy() ** 2, 1 - signal, rtol=1e-11, atol=0)


def test_cosine_signal_is_the_closed_form_before_the_cap():
    times = torch.arange(1, STEPS, dtype=torch.float64) / STEPS
    alpha, _ = DDPM(STEPS, CosineBetas())(times)
    exact = np.array([alpha_bar(i / STEPS) / alpha_bar(0) for i in range(1, STEPS)])
    assert np.allclose(alpha.numpy() ** 2, exact, rtol=1e-11, atol=0)


def test_cosine_cap_bounds_every_beta():
    beta = CosineBetas(largest=0.5).values(STEPS)
    assert float(beta.max()) == 0.5
    assert (beta[:10] < 0.5).all()


def test_log_snr_is_linear_between_knots():
    path = DDPM(STEPS, LinearBetas(1e-3, 0.2))
    knots = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    values = path.log_snr(knots)
    quarter = path.log_snr(0.75 * knots[:-1] + 0.25 * knots[1:])
    assert torch.allclose(quarter, 0.75 * values[:-1] + 0.25 * values[1:], rtol=0, atol=1e-11)


def test_chain_ends_at_its_first_knot():
    assert DDPM(250).t_min == 1 / 250


def test_signal_of_the_published_chain():
    """log(1 - β) = -β - β²/2 - β³/3 - …, so log ᾱ_N + Σβ is known by power sums; σ/α ends at 157.4.

    The sums of the linear ramp from 1e-4 to 0.02 give -0.0677. The continuous VP(0.1, 20) ends at
    √(e^{10.05} - 1) = 152.2.
    """
    beta = np.linspace(1e-4, 0.02, 1000)
    series = -sum((beta**k).sum() / k for k in range(2, 8))
    path = DDPM(1000)
    alpha, sigma = (float(v) for v in path(1.0))
    assert 2 * math.log(alpha) + beta.sum() == pytest.approx(series, rel=1e-9)
    assert series == pytest.approx(-0.0677, abs=5e-5)
    assert sigma / alpha == pytest.approx(157.4, abs=0.05)
    alpha, sigma = (float(v) for v in VP()(1.0))
    assert sigma / alpha == pytest.approx(math.sqrt(math.exp(10.05) - 1), rel=1e-12)


def test_chain_tends_to_vp():
    """β_i = β(t_i)/N gives VP as N → ∞ with error O(1/N): twice the steps, half the error."""

    def error(steps):
        times = torch.arange(1, 11, dtype=torch.float64) / 10
        chain = DDPM(steps, LinearBetas(0.1 / steps, 20 / steps))
        return float((chain.alpha(times) - VP().alpha(times)).abs().max())

    assert error(4000) < 1e-3
    assert error(2000) / error(4000) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize(
    ("steps", "betas"),
    [
        (1, LinearBetas()),
        (10, LinearBetas(0.0, 0.02)),
        (10, LinearBetas(1e-4, 1.0)),
        (10, ConstantBetas(-0.1)),
        (10, ConstantBetas(math.nan)),
        (3, GivenBetas((0.1, 0.2))),
        (2, GivenBetas((0.1, 1.2))),
    ],
)
def test_impossible_chains_are_refused(steps, betas):
    with pytest.raises(InputError, match=r"must|were given"):
        DDPM(steps, betas)


@pytest.mark.parametrize("settings", [{"first": -1e-4}, {"last": 1.0}, {"last": math.nan}])
def test_quadratic_betas_have_roots(settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))} must lie between 0 and 1"):
        QuadraticBetas(**settings)


def test_betas_may_be_given_as_a_list():
    found = DDPM(3, GivenBetas([0.1, 0.2, 0.3]))
    assert float(found(1.0)[0]) == pytest.approx((0.9 * 0.8 * 0.7) ** 0.5)
