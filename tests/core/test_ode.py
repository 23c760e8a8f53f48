"""Runge–Kutta methods against closed forms, their published orders and scipy's Dormand–Prince."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import RK45, solve_ivp

from scorefield.core.ode import DormandPrince, FixedSteps
from scorefield.errors import InputError

RATES = torch.tensor([[-1.0, 0.3], [-2.0, 0.5], [0.7, -0.1]], dtype=torch.float64)
X = torch.tensor([[1.0, 2.0], [0.5, -1.0], [1.5, 0.3]], dtype=torch.float64)


def growing(x, t):
    """dx/dt = a t x, whose solution is x exp(a t²/2)."""
    return RATES * t[:, None] * x


def exact(t, start=0.0):
    return X * torch.exp(RATES * (t**2 - start**2) / 2)


class Counted:
    def __init__(self, slope):
        self.slope, self.calls = slope, 0

    def __call__(self, x, t):
        self.calls += 1
        return self.slope(x, t)


@pytest.mark.parametrize(
    ("method", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)]
)
def test_fixed_steps_have_their_order(method, order):
    coarse, fine = (
        (FixedSteps(method, n).solve(growing, X, 0.0, 1.5).x - exact(1.5)).norm() for n in (40, 80)
    )
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)
    assert FixedSteps(method, 40).finer() == FixedSteps(method, 80)


def test_fixed_steps_are_the_textbook_formulas():
    """One step of each from x = 1 for dx/dt = x + t, written out."""

    def slope(x, t):
        return x + t[:, None]

    x, h = torch.ones(1, 1, dtype=torch.float64), 0.5
    k1 = 1.0
    by_hand = {"euler": 1 + h * k1}
    by_hand["midpoint"] = 1 + h * (1 + h / 2 * k1 + h / 2)
    by_hand["heun"] = 1 + h / 2 * (k1 + (1 + h * k1 + h))
    k2 = 1 + h / 2 * k1 + h / 2
    k3 = 1 + h / 2 * k2 + h / 2
    k4 = 1 + h * k3 + h
    by_hand["rk4"] = 1 + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    for method, expected in by_hand.items():
        got = FixedSteps(method, 1).solve(slope, x, 0.0, h).x
        assert float(got) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(("start", "end"), [(0.0, 2.0), (2.0, 0.0), (-1.0, 0.3)])
@pytest.mark.parametrize("per_sample", [True, False])
def test_adaptive_error_follows_the_tolerance(start, end, per_sample):
    """The equation itself enlarges an early error by up to e⁴, on the way back from t = 2."""
    errors = []
    for tolerance in (1e-4, 1e-7, 1e-10):
        solver = DormandPrince(tolerance, tolerance, per_sample=per_sample)
        last = solver.solve(growing, X, start, end)
        assert torch.equal(last.t, torch.full((3,), end, dtype=torch.float64))  # never beyond
        errors.append(float((last.x - exact(end, start)).abs().max()) / tolerance)
    assert max(errors) < 2 * math.exp(4)


def test_a_step_is_scipys():
    """The same first step from the same state: state, and estimate of the error."""
    h, y = 0.3, X[:1]

    def flat(t, v):
        return (RATES[:1].numpy() * t * v.reshape(1, 2)).ravel()

    theirs = RK45(flat, 0.2, y.numpy().ravel(), 5.0, first_step=h, rtol=1e-2, atol=1e-2)
    theirs.step()
    walk = DormandPrince(1e-2, 1e-2).walk(
        lambda x, t: RATES[:1] * t[:, None] * x,
        y,
        0.2,
        5.0,
        step=torch.full((1,), h, dtype=torch.float64),
    )
    ours = next(walk)
    assert float(ours.t) == pytest.approx(theirs.t, abs=1e-15)
    assert np.allclose(ours.x.numpy().ravel(), theirs.y, rtol=0, atol=1e-14)
    scale = 1e-2 + 1e-2 * np.maximum(np.abs(theirs.y_old), np.abs(theirs.y))
    norm = np.sqrt(np.mean((theirs.K.T @ theirs.E * h / scale) ** 2))
    assert float(ours.error) == pytest.approx(norm, rel=1e-9)


def test_a_solution_and_its_cost_are_scipys():
    """The swinging pendulum, to 1e-8: errors of one size, within a third of the evaluations."""

    def slope(x, t):
        return torch.stack([x[:, 1], -torch.sin(x[:, 0])], 1)

    start = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    ours = DormandPrince(1e-8, 1e-8).solve(slope, start, 0.0, 10.0)
    theirs, fine = (
        solve_ivp(lambda t, y: [y[1], -math.sin(y[0])], (0, 10), [2, 0], method=m, rtol=r, atol=r)
        for m, r in (("RK45", 1e-8), ("DOP853", 1e-12))
    )
    assert np.abs(ours.x.numpy()[0] - fine.y[:, -1]).max() < 1e-6
    assert 0.67 < ours.evaluations / theirs.nfev < 1.5


def test_a_sample_does_not_depend_on_its_batch():
    solver = DormandPrince(1e-6, 1e-6)
    together = solver.solve(growing, X, 0.0, 3.0).x
    for i in range(3):
        alone = solver.solve(lambda x, t, i=i: RATES[i] * t[:, None] * x, X[i : i + 1], 0.0, 3.0).x
        assert torch.allclose(alone[0], together[i], rtol=1e-13, atol=0)
    shared = DormandPrince(1e-6, 1e-6, per_sample=False)
    assert not torch.allclose(
        shared.solve(growing, X, 0.0, 3.0).x, together, rtol=1e-13, atol=0
    )  # what the option is for


@pytest.mark.parametrize("solver", [DormandPrince(), FixedSteps("rk4", 7), FixedSteps("heun", 7)])
def test_evaluations_are_counted(solver):
    slope = Counted(growing)
    walk = list(solver.walk(slope, X, 0.0, 1.0))
    assert walk[-1].evaluations == slope.calls
    assert [p.evaluations for p in walk] == sorted(p.evaluations for p in walk)


def test_a_walk_goes_on_with_the_step_of_another():
    solver, slope = DormandPrince(1e-7, 1e-7), Counted(growing)
    half = solver.solve(slope, X, 0.0, 1.0)
    (*_, last) = solver.walk(slope, half.x, 1.0, 2.0, step=half.step)
    assert slope.calls == half.evaluations + last.evaluations
    assert torch.allclose(last.x, exact(2.0), rtol=1e-5, atol=0)
    # the first walk's two calls for a first step are one in the second
    assert last.evaluations % 6 == 1


def test_no_way_to_go_is_where_one_is():
    last = DormandPrince().solve(growing, X, 0.7, 0.7)
    assert torch.equal(last.x, X)


def test_pictures_and_single_precision_keep_their_form():
    x = torch.ones(2, 1, 2, 3)
    last = DormandPrince().solve(lambda x, t: -x, x, 0.0, 1.0)
    assert (last.x.dtype, last.x.shape, last.t.dtype) == (torch.float32, x.shape, torch.float64)
    assert torch.allclose(last.x, x / math.e, atol=1e-4)


def test_steps_that_run_out_are_reported_with_where_they_led():
    """dx/dt = x², x(0) = 1 is infinite at t = 1."""
    x = torch.ones(1, 1, dtype=torch.float64)
    words = r"100 steps led only to t = (1|0\.9\d+), where the error is .* times the tolerance"
    with pytest.raises(InputError, match=words):
        DormandPrince(max_steps=100).solve(lambda x, t: x**2, x, 0.0, 2.0)
    with pytest.raises(InputError, match="led only to t = 7"):
        DormandPrince(max_steps=1).solve(growing, X, 0.0, 9.0, clock=lambda t: 0 * t + 7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DormandPrince(rtol=0.0), "rtol must lie above 0 and below 1, got 0.0"),
        (lambda: DormandPrince(atol=-1.0), "atol must lie above 0 and below 1, got -1.0"),
        (lambda: DormandPrince(rtol=math.nan), "rtol"),
        (lambda: DormandPrince(max_steps=0), "max_steps must be at least 1, got 0"),
        (lambda: DormandPrince(max_steps=1.5), "max_steps must be a whole number, at least 1"),
        (lambda: FixedSteps("rk5"), "method must be one of euler, midpoint, heun, rk4, got 'rk5'"),
        (lambda: FixedSteps(steps=0), "steps must be at least 1, got 0"),
        (lambda: DormandPrince().solve(growing, torch.ones(3, 2).long(), 0, 1), "floating point"),
    ],
)
def test_impossible_settings_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_half_the_tolerance_is_finer():
    assert DormandPrince(1e-4, 1e-6).finer() == DormandPrince(5e-5, 5e-7)
