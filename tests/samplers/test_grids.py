"""Time grids: their formulae, their ends and what they refuse."""

import math

import numpy as np
import pytest
import torch

from scorefield.core.ddpm import DDPM
from scorefield.core.schedules import VE, VP, Cosine, Flow
from scorefield.core.times import UniformLogSNRTimes
from scorefield.errors import InputError
from scorefield.samplers.grids import Given, Karras, Knots, Quadratic, UniformLogSNR, UniformTime

GRIDS = [UniformTime(), UniformLogSNR(), Karras(), Karras(3.0), Quadratic()]


def log_ratio(path, times):
    """log σ/α of times."""
    alpha, sigma = (v.numpy() for v in path(times))
    return np.log(sigma) - np.log(alpha)


@pytest.mark.parametrize("grid", GRIDS, ids=repr)
@pytest.mark.parametrize("start", [1.0, 0.6])
@pytest.mark.parametrize("steps", [2, 3, 20])
def test_times_fall_from_start_to_the_smallest(schedule, grid, start, steps):
    times = grid.times(schedule, steps, start)
    assert times.dtype == torch.float64
    assert times.shape == (steps,)
    assert float(times[0]) == start
    assert float(times[-1]) == schedule.t_min
    assert (torch.diff(times) < 0).all()


@pytest.mark.parametrize("grid", [*GRIDS, Knots(100)], ids=repr)
def test_one_time_is_the_start(schedule, grid):
    assert grid.times(schedule, 1).tolist() == [1]
    assert grid.times(schedule, 1, 0.5).tolist() == [0.5]


def test_uniform_time_takes_equal_steps(schedule):
    times = UniformTime().times(schedule, 11, 0.9)
    low = schedule.t_min
    expected = [0.9 + i / 10 * (low - 0.9) for i in range(11)]
    assert np.allclose(times.numpy(), expected, rtol=0, atol=1e-14)


def test_uniform_log_snr_takes_equal_ratios_of_noise(schedule):
    values = log_ratio(schedule, UniformLogSNR().times(schedule, 12, 0.9))
    assert np.allclose(np.diff(values), (values[-1] - values[0]) / 11, rtol=0, atol=1e-8)


@pytest.mark.parametrize("rho", [7.0, 3.0])
def test_karras_is_its_papers_equation(schedule, rho):
    """Karras et al. 2022, eq. 5, on the levels σ/α."""
    times = Karras(rho).times(schedule, 15, 0.9)
    high, low = np.exp(log_ratio(schedule, times[[0, -1]]))
    i = np.arange(15)
    levels = (high ** (1 / rho) + i / 14 * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    assert np.allclose(log_ratio(schedule, times), np.log(levels), rtol=0, atol=1e-8)


def test_karras_levels_of_edm():
    """σ_max = 80, σ_min = 0.002, ρ = 7; the middle of 3 levels is the 7th power of a mean."""
    times = Karras().times(VE(0.002, 80.0), 3)
    middle = ((80 ** (1 / 7) + 0.002 ** (1 / 7)) / 2) ** 7
    assert math.exp(log_ratio(VE(0.002, 80.0), times)[1]) == pytest.approx(middle, rel=1e-10)


@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
@pytest.mark.parametrize("grid", [UniformLogSNR(), Karras()], ids=repr)
def test_log_snr_is_counted_from_a_floor_where_no_signal_is_left(path, grid):
    """All but the first of 100 levels lie below σ/α = e⁵ = 148, and the second is next to it."""
    levels = np.exp(log_ratio(path, grid.times(path, 100)[1:]))
    assert 0.7 * math.exp(5) < levels[0] < math.exp(5)


def test_knots_are_all_of_them_or_evenly_chosen():
    path = DDPM(20)
    assert torch.equal(Knots(20).times(path, 20), torch.arange(20, 0, -1, dtype=torch.float64) / 20)
    few = Knots(20).times(path, 5) * 20
    assert torch.allclose(few, few.round(), rtol=0, atol=1e-12)
    # 20 down to 1 in 4 steps of 4.75: 20, 15.25, 10.5, 5.75, 1
    assert few.round().tolist()[0::4] == [20, 1]
    assert np.allclose(few.numpy(), [20, 15.25, 10.5, 5.75, 1], rtol=0, atol=0.5)
    assert Knots(20).times(path, 3, 0.5)[0] == 0.5


@pytest.mark.parametrize("steps", [2, 7, 19, 500, 999])
def test_knots_are_distinct_and_known_to_the_chain(steps):
    knots = Knots(1000).times(DDPM(1000), steps) * 1000
    assert (torch.diff(knots.round()) < 0).all()
    assert float(knots[0]) == 1000
    assert float(knots[-1]) == 1


@pytest.mark.parametrize("grid", [*GRIDS, Knots(10)], ids=repr)
@pytest.mark.parametrize("steps", [0, -3])
def test_a_grid_has_a_time_at_least(grid, steps):
    with pytest.raises(InputError, match="steps must be at least 1"):
        grid.times(VP(), steps)


@pytest.mark.parametrize("grid", [*GRIDS, Knots(10)], ids=repr)
@pytest.mark.parametrize("start", [0.0, 1e-3, 1.1, -1.0, math.nan])
def test_a_start_lies_on_the_path(grid, start):
    with pytest.raises(InputError, match=r"start must lie above 0\.001 and up to 1"):
        grid.times(VP(), 5, start)


def test_there_are_no_more_knots_than_there_are():
    with pytest.raises(InputError, match="steps must be at most 10"):
        Knots(10).times(DDPM(10), 11)
    with pytest.raises(InputError, match="steps must be at most 5"):
        Knots(10).times(DDPM(10), 6, 0.5)


@pytest.mark.parametrize("rho", [0.0, -7.0, math.nan, math.inf])
def test_rho_must_be_positive(rho):
    with pytest.raises(InputError, match="rho must be above 0 and finite"):
        Karras(rho)


def test_a_tiny_rho_stays_at_the_highest_level_to_the_last():
    times = Karras(1e-9).times(VP(), 8)
    assert bool(torch.isfinite(times).all())
    assert times[0] == 1
    assert times[-1] == pytest.approx(VP().t_min)
    assert bool((times[:-1] > 0.999).all())


def test_quadratic_takes_equal_steps_of_the_root(schedule):
    """Song et al. 2021 (DDIM), App. D.2: τ_i ∝ i²."""
    times = Quadratic().times(schedule, 11, 0.81)
    low = math.sqrt(schedule.t_min)
    expected = [(0.9 + i / 10 * (low - 0.9)) ** 2 for i in range(11)]
    assert np.allclose(times.numpy(), expected, rtol=0, atol=1e-14)


def test_given_times_are_as_they_are():
    times = Given((1.0, 0.4, 0.1)).times(VP(), 3)
    assert times.dtype == torch.float64
    assert times.tolist() == [1.0, 0.4, 0.1]
    assert Given((0.5, 0.2)).times(VP(), 2, 0.5).tolist() == [0.5, 0.2]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1.0, 0.5, 0.5), "times must decrease"),
        ((0.5, 1.0), "times must decrease"),
        ((1.0, math.nan), "each time must lie between 0 and 1"),
        ((1.5, 0.5), "each time must lie between 0 and 1"),
        ((1.0, -0.1), "each time must lie between 0 and 1"),
    ],
)
def test_given_times_decrease_within_the_path(numbers, words):
    with pytest.raises(InputError, match=words):
        Given(numbers)


def test_given_times_fit_the_walk():
    given = Given((1.0, 0.4, 0.1))
    with pytest.raises(InputError, match="3 times were given for 5 steps"):
        given.times(VP(), 5)
    with pytest.raises(InputError, match=r"the first time given, 1\.0, must be the start, 0\.8"):
        given.times(VP(), 3, 0.8)
    with pytest.raises(InputError, match=r"the last time given, 0\.0001, must be at least 0\.001"):
        Given((1.0, 0.0001)).times(VP(), 2)
    with pytest.raises(InputError, match="steps must be at least 1"):
        given.times(VP(), 0)


def test_a_path_with_much_noise_is_walked_from_its_start():
    """σ/α = 348 is above where paths without signal are cut off, and is still a level."""
    levels = log_ratio(VE(0.01, 348.0), UniformLogSNR().times(VE(0.01, 348.0), 10))
    assert np.allclose(np.diff(levels), np.log(0.01 / 348) / 9, atol=1e-9)
    u = torch.tensor([1 - 1e-9], dtype=torch.float64)
    assert float(UniformLogSNRTimes()(VE(0.01, 348.0), u)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("path", "count"), [(DDPM(100), 1000), (VP(), 2000)], ids=repr)
def test_knots_of_a_longer_chain_are_refused(path, count):
    with pytest.raises(InputError, match=f"count must be at most {round(1 / path.t_min)} on this"):
        Knots(count).times(path, 5)


def test_there_is_a_knot_at_the_start():
    with pytest.raises(InputError, match=r"start must be a knot, as 0\.[56] is, got 0\.55"):
        Knots(10).times(VP(), 3, start=0.55)
    with pytest.raises(InputError, match="count must be at least 1, got 0"):
        Knots(0)


@pytest.mark.parametrize("grid", [UniformLogSNR(), Karras()], ids=repr)
@pytest.mark.parametrize("unit", [40.0, 1e4])
def test_a_unit_of_the_data_changes_no_grid(grid, unit):
    small, large = VE(0.01, 50.0), VE(0.01 * unit, 50.0 * unit)
    levels = small.sigma(grid.times(small, 12)), large.sigma(grid.times(large, 12))
    assert torch.allclose(unit * levels[0], levels[1], rtol=1e-9)
