"""A calibration lowers the error to the exact flow, and never keeps what does not."""

import math

import pytest
import torch

from scorefield.core.oracles import MixtureDenoiser
from scorefield.core.schedules import VP
from scorefield.errors import InputError
from scorefield.samplers.base import sample
from scorefield.samplers.calibration import calibrate
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import UniformLogSNR
from scorefield.samplers.residual import GaussianResidual, ResidualGrid


@pytest.fixture(scope="module")
def line():
    """Three Gaussians on a line, noise, and the flow's ends by 800 steps of Heun."""
    weights = torch.tensor([0.3, 0.5, 0.2])
    means = torch.tensor([[-1.0], [0.2], [0.9]])
    data = MixtureDenoiser(VP(), weights, means, torch.full((3, 1, 1), 0.02))
    x = torch.randn(160, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return data, x, sample(data, x, Heun(UniformLogSNR()), 800)


@pytest.mark.parametrize("steps", [5, 10])
def test_the_error_to_the_exact_flow_falls(line, steps):
    """On noise that the search has not seen, against an end that it has not seen either."""
    data, x, end = line
    *_, last = calibrate(data, x[:100], steps)

    def error(sampler):
        return float((sample(data, x[100:], sampler, steps) - end[100:]).abs().mean())

    assert last.error < last.before
    assert error(last.sampler) < 0.8 * error(GaussianResidual())


def test_it_tells_how_far_it_is_and_only_gets_better(line):
    data, x, _ = line
    seen = list(calibrate(data, x[:40], 5))
    shares = [stop.share for stop in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert all(stop.error <= stop.before for stop in seen)
    assert len({stop.before for stop in seen}) == 1


def test_what_does_not_help_is_not_kept(line, monkeypatch):
    """With nothing changed nothing is better, and the sampler stays as it came."""
    data, x, _ = line
    monkeypatch.setattr("scorefield.samplers.calibration.FACTOR", 1.0)
    *_, last = calibrate(data, x[:40], 5)
    assert last.sampler == GaussianResidual()
    assert last.error == last.before


def test_conditions_go_with_their_samples(line):
    """A label for each sample reaches the denoiser with its own sample."""
    _, x, _ = line
    labelled = MixtureDenoiser(VP(), torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
    rows = []
    plain = labelled.forward

    def forward(x, t, label=None):
        rows.append(label.tolist())
        return plain(x, t)

    labelled.forward = forward
    list(calibrate(labelled, x[:6], 3, label=torch.arange(6)))
    assert {tuple(row) for row in rows} == {(0, 1, 2, 3, 4, 5), (0, 2, 4), (1, 3, 5)}


def test_impossible_requests_are_refused(line):
    data, x, _ = line
    with pytest.raises(InputError, match="at least 2 samples, got 1"):
        calibrate(data, x[:1], 5)
    with pytest.raises(InputError, match="steps must be at least 2, got 1"):
        calibrate(data, x, 1)
    assert math.isfinite(next(iter(calibrate(data, x[:4], 2))).error)


def test_before_is_the_error_of_the_sampler_as_it_came(line):
    data, x, _ = line
    own = GaussianResidual(ResidualGrid(first=3.0), offset=0.2)
    last = list(calibrate(data, x[:40], 5, own))[-1]
    ends = sample(data, x[:40], own, 80)
    apart = (sample(data, x[1:40:2], own, 5) - ends[1::2]).abs().mean()
    assert last.before == pytest.approx(float(apart))
