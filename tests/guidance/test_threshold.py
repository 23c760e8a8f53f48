"""Thresholds: the published formulae by numpy, and samples that stay in range with every sampler."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VP, Flow
from scorefield.errors import InputError
from scorefield.guidance.threshold import DynamicThreshold, StaticThreshold
from scorefield.recipes.catalog import SAMPLERS
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.noise import seeded


class Loud(Denoiser):
    """Far outside of the range."""

    def forward(self, x, t, **cond):
        return 3 * x if cond.get("gain") is None else cond["gain"] * x


AT = torch.tensor(0.5, dtype=torch.float64)


def test_static_threshold_clips(normal):
    x = normal(3, 1, 4, 4)
    got = StaticThreshold(Loud(VP()), -0.5, 2.0)(x, AT)
    assert np.array_equal(got.numpy(), np.clip(3 * x.numpy(), -0.5, 2.0))


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.995, 1.0])
def test_dynamic_threshold_is_its_papers(percentile, normal):
    """Saharia et al. 2022, section 2.3: s the percentile of |x̂₀|; where s > 1 clip to ±s, divide by s."""
    x = normal(3, 1, 4, 4)
    got = DynamicThreshold(Loud(VP()), percentile)(x, AT)
    for row, estimate in zip(got.numpy(), 3 * x.numpy(), strict=True):
        s = max(np.quantile(np.abs(estimate), percentile), 1.0)
        assert np.allclose(row, np.clip(estimate, -s, s) / s, rtol=0, atol=1e-14)


def test_dynamic_threshold_leaves_alone_what_is_in_range(normal):
    x = normal(3, 8).clamp(-0.3, 0.3)
    assert torch.allclose(DynamicThreshold(Loud(VP()))(x, AT), 3 * x, rtol=1e-14, atol=1e-15)


def test_dynamic_threshold_of_another_range_is_the_same_moved(normal):
    """[0, 5] is [-1, 1] times 2.5 plus 2.5."""

    class Moved(Denoiser):
        def forward(self, x, t, **cond):
            return 2.5 * 3 * x + 2.5

    x = normal(3, 8)
    got = DynamicThreshold(Moved(VP()), 0.9, 0.0, 5.0)(x, AT)
    expected = 2.5 * DynamicThreshold(Loud(VP()), 0.9)(x, AT) + 2.5
    assert torch.allclose(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("kind", [StaticThreshold, DynamicThreshold])
def test_a_sample_does_not_depend_on_its_batch(kind, normal):
    x = normal(5, 1, 4, 4)
    assert torch.equal(kind(Loud(VP()))(x, AT)[3:4], kind(Loud(VP()))(x[3:4], AT))


@pytest.mark.parametrize("kind", [StaticThreshold, DynamicThreshold])
def test_conditions_reach_the_denoiser_within(kind, normal):
    x = normal(2, 3)
    got = kind(Loud(VP()))(x, AT, gain=torch.tensor(0.01))
    assert torch.allclose(got, 0.01 * x)


@pytest.mark.parametrize("wrap", [StaticThreshold, DynamicThreshold])
@pytest.mark.parametrize("kind", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_samples_stay_in_range_with_every_sampler(wrap, kind):
    """Data of spread 2 off the centre, held to [-1, 1]: on the whole walk, and to rounding.

    The Gaussian-residual sampler does not look at its start, and at its end only if it is told to.
    """
    residual = kind is SAMPLERS["gaussian-residual"]
    kind = partial(kind, final="denoise") if residual else kind
    denoiser = GaussianDenoiser(Flow(), torch.tensor([0.5, 0.0]), 4 * torch.eye(2))
    outside = sample(denoiser, (20, 2), kind(), 6)
    assert float(outside.abs().max()) > 1.1
    walk = list(trajectory(wrap(denoiser), (20, 2), kind(), 6, noise=seeded(0, range(20))))
    for step in walk[1:] if residual else walk:
        assert float(step.x0.abs().max()) <= 1 + 1e-6


@pytest.mark.parametrize("kind", [StaticThreshold, DynamicThreshold])
@pytest.mark.parametrize(("low", "high"), [(1.0, -1.0), (0.0, 0.0), (math.nan, 1.0)])
def test_empty_ranges_are_refused(kind, low, high):
    with pytest.raises(InputError, match="low must be below high"):
        kind(Loud(VP()), low=low, high=high)


@pytest.mark.parametrize("percentile", [0.0, 1.5, math.nan])
def test_impossible_percentiles_are_refused(percentile):
    with pytest.raises(InputError, match="percentile must lie above 0 and up to 1"):
        DynamicThreshold(Loud(VP()), percentile)
