"""What noise that is left at t_min costs data of levels, against quadrature and through the flow."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from scorefield.core.independent import IndependentDenoiser
from scorefield.core.levels import Levels, data_log_likelihood
from scorefield.core.marginal import Marginal
from scorefield.core.ode import DormandPrince
from scorefield.core.schedules import VP, SubVP

PIXELS = Levels(-1.0, 1.0, 256)


@pytest.mark.parametrize("share", [3e-4, 0.004, 0.1275, 1.0, 5.0])
def test_blur_is_that_of_quadrature(share):
    def cost(u):
        return -math.log2(norm.cdf(u / share) - norm.cdf((u - 1) / share))

    ends = [8 * share, 1 - 8 * share] if share < 0.05 else None
    expected, _ = quad(cost, 0, 1, points=ends, limit=400)
    assert PIXELS.blur(share * 2 / 255) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("path", [VP(t_min=1e-5), VP(t_min=1e-8), SubVP(t_min=6.15e-3)])
def test_the_flow_pays_for_noise_that_is_left(path):
    """Black pixels, whose level has 81 of a hundred: -log₂ 0.81 bits each, and what is blurred."""
    half = PIXELS.spacing / 2
    law = Marginal(2, (-1 - half, -1 + half, 1 + half), (0.81, 0.19))
    alone = IndependentDenoiser(path, law)
    places = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)
    found = data_log_likelihood(
        alone,
        torch.full((1, 2000), -1.0, dtype=torch.float64),
        PIXELS,
        noise=places.expand_as,
        solver=DormandPrince(1e-5, 1e-5),
        prior=lambda z: alone.log_prob(z, 1.0),
    )
    bits = -float(found.log_prob) / 2000 / math.log(2) - math.log2(PIXELS.spacing)
    alpha, sigma = map(float, path(path.t_min))
    # The other levels lighten a thousandth of the blur.
    assert bits + math.log2(0.81) == pytest.approx(PIXELS.blur(sigma / alpha), abs=1e-3)
