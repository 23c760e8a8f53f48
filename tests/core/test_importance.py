"""Times that are drawn by their losses: unbiased, and of less variance."""

import math

import pytest
import torch

from scorefield.core.schedules import VP, Flow
from scorefield.core.times import ImportanceTimes, UniformTimes, stretch
from scorefield.errors import InputError

MIDDLES = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
SQUARES = torch.tensor([0.0, 1.0, 4.0, 25.0])


def loss(t):
    return 1 / (t + 0.05) + t**2


def test_shares_are_as_the_root_of_the_mean_square(schedule):
    times = ImportanceTimes(stretches=4, floor=0.2).told(SQUARES)
    t = times(schedule, MIDDLES)
    where = stretch(schedule, t, 4)
    # 0.2 from all alike, and 0.8 as √0 : √1 : √4 : √25
    expected = [0.05 + 0.8 * root / 8 for root in (0, 1, 2, 5)]
    assert (where.bincount() / len(t)).tolist() == pytest.approx(expected, abs=1e-4)
    assert ((t >= schedule.t_min) & (t <= 1)).all()
    # within a stretch all alike: the mean is its middle
    for k in range(4):
        middle = schedule.t_min + (1 - schedule.t_min) * (k + 0.5) / 4
        assert float(t[where == k].mean()) == pytest.approx(middle, abs=1e-4)
    assert torch.allclose(
        times.correction(schedule, t), 1 / (4 * torch.tensor(expected).double()[where])
    )


@pytest.mark.parametrize("path", [VP(), Flow()], ids=["vp", "flow"])
def test_the_corrected_loss_is_the_uniform_one_and_varies_less(path):
    alike = loss(UniformTimes()(path, MIDDLES))
    low, high = path.t_min, 1.0
    integral = math.log((high + 0.05) / (low + 0.05)) + (high**3 - low**3) / 3
    assert float(alike.mean()) == pytest.approx(integral / (high - low), rel=1e-4)
    chosen = ImportanceTimes(stretches=16)
    where = stretch(path, UniformTimes()(path, MIDDLES), 16)
    squares = torch.stack([alike[where == k].square().mean() for k in range(16)])
    times = chosen.told(squares)
    t = times(path, MIDDLES)
    corrected = times.correction(path, t) * loss(t)
    assert float(corrected.mean()) == pytest.approx(float(alike.mean()), rel=1e-4)
    assert float(corrected.var()) < 0.1 * float(alike.var())
    # Nichol & Dhariwal 2021, eq. 18: no other shares of the stretches have less, p ∝ E[L²] say
    other = ImportanceTimes(stretches=16).told(squares**2)
    assert float((other.correction(path, (s := other(path, MIDDLES))) * loss(s)).var()) > float(
        corrected.var()
    )


def test_nothing_known_and_nothing_lost_is_all_alike(schedule):
    chosen = ImportanceTimes(stretches=4)
    for times in (chosen, chosen.told(torch.zeros(4)), chosen.told(torch.full((4,), math.inf))):
        assert torch.equal(times(schedule, MIDDLES[:50]), UniformTimes()(schedule, MIDDLES[:50]))
        assert (times.correction(schedule, MIDDLES[:50]) == 1).all()


def test_the_correction_is_bounded_by_the_floor():
    times = ImportanceTimes(stretches=4, floor=0.1).told(SQUARES)
    t = torch.linspace(0.001, 1, 1001, dtype=torch.float64)
    assert float(times.correction(VP(), t).max()) == pytest.approx(10)


@pytest.mark.parametrize(
    ("settings", "word"), [({"stretches": 0}, "stretches"), ({"floor": 0.0}, "floor")]
)
def test_impossible_settings(settings, word):
    with pytest.raises(InputError, match=f"{word} must be"):
        ImportanceTimes(**settings)
