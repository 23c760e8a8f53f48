"""A tabled schedule says what its schedule says."""

import pytest
import torch

from scorefield.samplers.grids import UniformTime
from scorefield.samplers.tabled import tabled


@pytest.mark.parametrize("what", ["__call__", "rates", "log_snr", "drift", "diffusion"])
def test_it_says_what_its_schedule_says(schedule, what):
    """At its times, at others and at several at once; f and g are infinite where α = 0."""
    times = UniformTime().times(schedule, 7)
    quick = tabled(schedule, times)
    for t in (*times, torch.tensor(0.123, dtype=torch.float64), times, 0.5):
        got, expected = getattr(quick, what)(t), getattr(schedule, what)(t)
        assert torch.allclose(
            torch.stack(list(got)) if isinstance(got, tuple) else got,
            torch.stack(list(expected)) if isinstance(expected, tuple) else expected,
            rtol=1e-14,
            atol=0,
            equal_nan=True,
        )


def test_its_schedule_is_asked_once_for_all_times(schedule):
    times = UniformTime().times(schedule, 5)
    quick, asked = tabled(schedule, times), []
    object.__setattr__(quick, "schedule", lambda t: asked.append(t) or schedule(t))
    for t in times:
        quick(t)
    assert len(asked) == 1
