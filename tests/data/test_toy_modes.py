"""Toys with several modes: where the modes are, how often, how wide."""

import math

import pytest
import torch
from scipy import stats

from scorefield.data.toy_modes import EightGaussians, Pinwheel, Rings
from scorefield.errors import InputError

N = 40_000


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(N, 3, generator=generator, dtype=torch.float64)
    return u, torch.randn(N, 2, generator=generator, dtype=torch.float64)


def test_eight_gaussians_are_equal_and_round(drawn):
    x = EightGaussians(std=0.05).draw(*drawn)
    angle = torch.arange(8) * math.pi / 4
    centres = torch.stack([angle.cos(), angle.sin()], 1).double()
    distance = torch.cdist(x, centres)
    counts = distance.argmin(1).bincount(minlength=8)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    # The squared distance from a centre, over the variance, is χ² with two degrees of freedom.
    radius = (distance.amin(1) / 0.05).square().numpy()
    assert stats.kstest(radius, stats.chi2(2).cdf).pvalue > 1e-3


def test_pinwheel_unbent_is_five_arms(drawn):
    x = Pinwheel().draw(*drawn)
    # |x|² = r² + s², whose mean is 1 + 0.3² + 0.1²; its standard error is about 0.003.
    assert x.square().sum(1).mean() == pytest.approx(1.1, abs=0.015)
    # A turn by a fifth leaves the distribution as it is: the fifth power of x₁ + i x₂ is what is left.
    point = torch.complex(x[:, 0], x[:, 1])
    for power in (1, 2, 3, 4):
        assert (point**power).mean().abs() < 0.2 * (point**power).abs().mean() / power
    arms = (
        point / point.abs() * torch.polar(torch.ones(N), -0.25 * point.abs().exp().float())
    ) ** 5
    assert arms.mean().real > 0.7


def test_rings_have_four_radii_and_no_direction(drawn):
    u, z = drawn
    x = Rings(noise=0.0).draw(u, z)
    radius = x.norm(dim=1)
    counts = [int((radius - r).abs().lt(1e-9).sum()) for r in (0.25, 0.5, 0.75, 1.0)]
    assert sum(counts) == N
    assert stats.chisquare(counts).pvalue > 1e-3
    angle = torch.atan2(x[:, 1], x[:, 0]).numpy()
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-3
    spread = (Rings(noise=0.1).draw(u, z) - x).std(0)
    assert spread.tolist() == pytest.approx([0.1, 0.1], rel=0.02)


def test_pinwheel_arms_are_equal_and_of_the_stated_width(drawn):
    u, z = drawn
    x = Pinwheel().draw(u, z)
    bend = 0.25 * (1 + 0.3 * z[:, 0]).exp()
    straight = torch.complex(x[:, 0], x[:, 1]) * torch.polar(torch.ones_like(bend), -bend)
    arm = torch.round(straight.angle() / (2 * math.pi / 5)) % 5
    assert stats.chisquare(arm.long().bincount(minlength=5).numpy()).pvalue > 1e-3
    point = straight * torch.polar(torch.ones_like(bend), -2 * math.pi / 5 * arm)
    # Near the centre the arms meet; beyond ½ a point is 3.6 standard deviations from the next arm.
    across = point.imag[point.real > 0.5].numpy()
    assert stats.kstest(across, stats.norm(0, 0.1).cdf).pvalue > 1e-3


def test_rings_are_whole(drawn):
    x = Rings(noise=0.0).draw(*drawn)
    ring = (4 * x.norm(dim=1)).round().long() - 1
    octant = torch.floor(torch.atan2(x[:, 1], x[:, 0]) / (math.pi / 4)).long() + 4
    table = (8 * ring + octant.clamp(0, 7)).bincount(minlength=32)
    assert stats.chisquare(table.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EightGaussians(std=0.0), r"std must be above 0, got 0\.0"),
        (lambda: Rings(noise=-1.0), r"noise must be at least 0, got -1\.0"),
        (lambda: Pinwheel(size=1), "size must be at least 2, got 1"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()
