"""Schedules against the published SDEs, numerical integration and their own inverses."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP, TutorialVE
from scorefield.errors import InputError

INSIDE = torch.linspace(0.01, 0.99, 25, dtype=torch.float64)


def beta(t, low=0.1, high=20.0):
    return low + t * (high - low)


def beta_integral(t, low=0.1, high=20.0):
    return low * t + (high - low) * t**2 / 2


# f and g² as functions of t: Song et al. 2021 (arXiv:2011.13456) eq. 11 for VP, eq. 12 and 29 for
# sub-VP, eq. 9 and 30 for VE; the tutorial's dx = 25^t dw; α = 1 - t and α = cos(½πt) by hand:
# f = α'/α, g² = 2σσ' - 2fσ².
PUBLISHED = {
    "vp": (VP(), lambda t: -beta(t) / 2, beta),
    "vp-mild": (VP(0.3, 5.0), lambda t: -beta(t, 0.3, 5.0) / 2, lambda t: beta(t, 0.3, 5.0)),
    "subvp": (
        SubVP(),
        lambda t: -beta(t) / 2,
        lambda t: beta(t) * -torch.expm1(-2 * beta_integral(t)),
    ),
    "ve": (
        VE(0.01, 50.0),
        torch.zeros_like,
        lambda t: 2 * (0.01 * 5000**t) ** 2 * math.log(5000),
    ),
    "ve-tutorial": (TutorialVE(25.0), torch.zeros_like, lambda t: 25.0 ** (2 * t)),
    "flow": (Flow(), lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
    "cosine": (
        Cosine(),
        lambda t: -math.pi / 2 * torch.tan(math.pi * t / 2),
        lambda t: math.pi * torch.tan(math.pi * t / 2),
    ),
}


@pytest.mark.parametrize(("path", "f", "g2"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_drift_and_diffusion_are_the_published_ones(path, f, g2):
    assert torch.allclose(path.drift(INSIDE), f(INSIDE), rtol=1e-12, atol=1e-12)
    assert torch.allclose(path.diffusion(INSIDE) ** 2, g2(INSIDE), rtol=1e-11, atol=0)


@pytest.mark.parametrize(("path", "f", "g2"), PUBLISHED.values(), ids=PUBLISHED.keys())
def test_drift_and_diffusion_hold_at_the_data_end(path, f, g2):
    zero = torch.zeros((), dtype=torch.float64)
    assert torch.allclose(path.drift(zero), f(zero), rtol=1e-12, atol=1e-12)
    assert torch.allclose(path.diffusion(zero) ** 2, g2(zero), rtol=1e-11, atol=1e-12)


def test_vp_and_subvp_moments_are_the_published_ones():
    """Song et al. eq. 29: mean e^{-B/2}, variance 1 - e^{-B} for VP and (1 - e^{-B})² for sub-VP."""
    signal = torch.exp(-beta_integral(INSIDE) / 2)
    noise = 1 - torch.exp(-beta_integral(INSIDE))
    for path, std in ((VP(), noise.sqrt()), (SubVP(), noise)):
        assert torch.allclose(path.alpha(INSIDE), signal, rtol=1e-13, atol=0)
        assert torch.allclose(path.sigma(INSIDE), std, rtol=1e-12, atol=0)


def test_subvp_has_less_noise_than_vp_at_every_time():
    assert (SubVP().sigma(INSIDE) < VP().sigma(INSIDE)).all()


def test_tutorial_spread_is_not_its_diffusion():
    """The integral of 25^{2s} from 0 to 1 is (625 - 1)/(2 log 25): a spread of 9.85, not 25."""
    one = torch.ones((), dtype=torch.float64)
    assert float(TutorialVE().sigma(one)) == pytest.approx(math.sqrt(624 / (2 * math.log(25))))
    assert float(TutorialVE().diffusion(one)) == pytest.approx(25)


MOMENT_RUNS = {
    "vp": (VP(), 0.02, 0.8),
    "subvp": (SubVP(), 0.02, 0.8),
    "ve": (VE(), 0.3, 1.0),
    "ve-tutorial": (TutorialVE(), 0.01, 1.0),
    "cosine": (Cosine(), 0.01, 0.95),
    "flow": (Flow(), 0.01, 0.95),
    # within one piece of the path, which has a kink at each knot
    "ddpm": (DDPM(5, LinearBetas(0.05, 0.6)), 0.401, 0.599),
}


@pytest.mark.parametrize(("path", "start", "end"), MOMENT_RUNS.values(), ids=MOMENT_RUNS.keys())
def test_moments_solve_the_moment_ode(path, start, end):
    """dα/dt = f α and dσ²/dt = 2 f σ² + g² (Särkkä & Solin 2019, eq. 6.2), integrated by scipy."""

    def right_hand_side(t, y):
        f, g2 = float(path.drift(t)), float(path.diffusion(t)) ** 2
        return [f * y[0], 2 * f * y[1] + g2]

    alpha, sigma = path(start)
    y0 = [float(alpha), float(sigma) ** 2]
    y = solve_ivp(right_hand_side, (start, end), y0, method="DOP853", rtol=1e-10, atol=1e-13).y
    alpha, sigma = path(end)
    assert y[0, -1] == pytest.approx(float(alpha), rel=1e-8)
    assert y[1, -1] == pytest.approx(float(sigma) ** 2, rel=1e-8)


def test_rates_are_the_derivatives(schedule):
    t = (INSIDE + 0.0003).requires_grad_()  # off the knots of the discrete chain
    rates = schedule.rates(t.detach())
    step = 1e-5
    for moment, rate in zip((schedule.alpha, schedule.sigma), rates, strict=True):
        value = moment(t)
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value.sum(), t)
            assert torch.allclose(rate, slope, rtol=1e-12, atol=1e-13)
        difference = (moment(t.detach() + step) - moment(t.detach() - step)) / (2 * step)
        assert torch.allclose(rate, difference, rtol=1e-6, atol=1e-8)


def test_rates_take_one_time_for_a_whole_batch(schedule):
    one = torch.tensor(0.3003, dtype=torch.float64)
    for many, single in zip(schedule.rates(one.expand(4)), schedule.rates(one), strict=True):
        assert torch.equal(many, single.expand(4))


def test_signal_to_noise_ratio_falls_strictly(schedule):
    t = torch.linspace(1e-3, 1, 400, dtype=torch.float64)
    alpha, sigma = schedule(t)
    assert (sigma > 0).all()
    assert (torch.diff(alpha / sigma) < 0).all()
    assert (torch.diff(schedule.log_snr(t[:-1])) < 0).all()


def test_log_snr_is_the_log_of_the_ratio_of_squares(schedule):
    alpha, sigma = (v.numpy() for v in schedule(INSIDE))
    assert np.allclose(schedule.log_snr(INSIDE).numpy(), np.log(alpha**2 / sigma**2), atol=1e-10)


def test_time_inverts_log_snr(schedule):
    log_snr = schedule.log_snr(INSIDE)
    assert torch.allclose(schedule.time(log_snr), INSIDE, rtol=0, atol=1e-11)
    assert torch.allclose(schedule.log_snr(schedule.time(log_snr)), log_snr, rtol=0, atol=1e-9)


def test_bisection_inverts_log_snr_too(schedule):
    assert torch.allclose(
        Schedule.time(schedule, schedule.log_snr(INSIDE)), INSIDE, rtol=0, atol=1e-11
    )


def test_time_is_held_to_the_ends_of_the_path(schedule):
    assert torch.allclose(schedule.time(60.0), torch.zeros(1).double(), atol=1e-11)
    assert float(schedule.time(-60.0)) == pytest.approx(1, abs=1e-12)
    assert float(schedule.time(math.inf)) == pytest.approx(0, abs=1e-12)


def test_times_keep_their_shape_and_are_float64(schedule):
    for t in (0.5, torch.tensor(0.5), torch.full((3, 2), 0.5)):
        shape = torch.as_tensor(t).shape
        values = [*schedule(t), *schedule.rates(t), schedule.log_snr(t)]
        values += [schedule.drift(t), schedule.diffusion(t), schedule.time(schedule.log_snr(t))]
        assert all(v.shape == shape and v.dtype == torch.float64 for v in values)


@pytest.mark.parametrize("path", [VP(), SubVP(), TutorialVE(), Cosine(), Flow()], ids=repr)
def test_data_are_clean_at_time_zero(path):
    alpha, sigma = path(0.0)
    assert float(alpha) == 1
    assert float(sigma) == 0


@pytest.mark.parametrize("path", [Cosine(), Flow()], ids=repr)
def test_no_signal_is_left_at_the_end(path):
    alpha, sigma = path(1.0)
    assert float(alpha) == 0
    assert float(sigma) == 1
    assert float(path.time(-math.inf)) == 1
    assert all(torch.isfinite(v) for v in path.rates(1.0))


def test_ve_runs_between_its_two_noise_levels():
    path = VE(0.002, 80.0)
    assert float(path.sigma(torch.zeros(()).double())) == pytest.approx(0.002, rel=1e-14)
    assert float(path.sigma(torch.ones(()).double())) == pytest.approx(80, rel=1e-14)
    assert path.t_min == 0


@pytest.mark.parametrize("kind", [VP, SubVP])
def test_noise_keeps_its_digits_at_small_times(kind):
    """1 - e^{-B} = B - B²/2 + …, with B = 1e-9 known to all digits, would lose 9 of them in fp64."""
    t = torch.tensor(1e-8, dtype=torch.float64)
    total = 0.1 * 1e-8 + 19.9 * 1e-16 / 2
    variance = total - total**2 / 2
    expected = math.sqrt(variance) if kind is VP else variance
    assert float(kind().sigma(t)) == pytest.approx(expected, rel=1e-13)
    assert float(kind().time(kind().log_snr(t))) == pytest.approx(1e-8, rel=1e-7)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (VP, (0.0, 20.0)),
        (VP, (20.0, 0.1)),
        (VP, (0.1, math.inf)),
        (SubVP, (0.1, math.nan)),
        (SubVP, (-1.0, 20.0)),
        (VE, (0.0, 50.0)),
        (VE, (50.0, 50.0)),
        (VE, (0.01, math.inf)),
        (VE, (math.nan, 50.0)),
        (TutorialVE, (1.0,)),
        (TutorialVE, (math.inf,)),
        (TutorialVE, (math.nan,)),
    ],
)
def test_impossible_settings_are_refused(kind, values):
    with pytest.raises(InputError, match=r"must"):
        kind(*values)


@pytest.mark.parametrize("kind", [VP, SubVP])
def test_a_path_may_begin_with_less_noise(kind):
    """σ/α at t_min, by the variance σ² = 1 - α² (VP) and its square (sub-VP), expanded at 0."""
    early = 1e-5
    path = kind(t_min=early)
    _, sigma = path(path.t_min)
    variance = path.beta_min * early + (path.beta_max - path.beta_min) * early**2 / 2
    assert float(sigma) == pytest.approx(variance ** (0.5 if kind is VP else 1), rel=1e-5)
    assert float(path.time(path.log_snr(early))) == pytest.approx(early, rel=1e-9)


@pytest.mark.parametrize("t_min", [0.0, -1e-3, 1.0, math.nan])
def test_a_path_begins_between_data_and_noise(t_min):
    with pytest.raises(InputError, match="t_min must lie between 0 and 1"):
        VP(t_min=t_min)


@pytest.mark.parametrize("high", [50.0, 2000.0, 1e5])
def test_ve_keeps_its_signal_however_much_noise_there_is(high):
    """σ is in units of the data, so no number of it alone means that the signal is gone."""
    assert VE(0.01, high).noisiest == pytest.approx(-2 * math.log(high), rel=1e-12)
