"""Paths: the f and g² of the published SDEs, their moments, and DDPM's chain against its limit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.oracles import MixtureDenoiser
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP, TutorialVE
from scorefield.core.sde import ForwardSDE
from scorefield.verification.claims import Claim, Place
from scorefield.verification.problems import PATHS, SMOOTH, clock, mixture, states

Rate = Callable[[Tensor], Tensor]


def _beta(t: Tensor) -> Tensor:
    return 0.1 + 19.9 * t


def _integral(t: Tensor) -> Tensor:
    return 0.1 * t + 9.95 * t**2


# f and g² as they are printed, of the SDEs with the constants as they are printed.
PUBLISHED: dict[str, tuple[Schedule, str, Rate, Rate, str]] = {
    "vp": (
        VP(),
        "f = -½β, g² = β",
        lambda t: -0.5 * _beta(t),
        _beta,
        "Song et al. 2021, eq. 11",
    ),
    "subvp": (
        SubVP(),
        "f = -½β, g² = β (1 - exp(-2∫β))",
        lambda t: -0.5 * _beta(t),
        lambda t: _beta(t) * -torch.expm1(-2 * _integral(t)),
        "Song et al. 2021, eq. 12",
    ),
    "ve": (
        VE(0.01, 50.0),
        "f = 0, g² = 2σ² log(σ_max/σ_min)",
        torch.zeros_like,
        lambda t: 2 * (0.01 * 5000**t) ** 2 * math.log(5000),
        "Song et al. 2021, eq. 30",
    ),
    "ve-tutorial": (
        TutorialVE(25.0),
        "f = 0, g = ςᵗ",
        torch.zeros_like,
        lambda t: 25.0 ** (2 * t),
        "Song, score-SDE tutorial",
    ),
    "cosine": (
        Cosine(),
        "f = -½β, g² = β, β = π tan(½πt)",
        lambda t: -0.5 * math.pi * torch.tan(0.5 * math.pi * t),
        lambda t: math.pi * torch.tan(0.5 * math.pi * t),
        "Nichol & Dhariwal 2021, eq. 17",
    ),
    "flow": (
        Flow(),
        "f = -1/(1-t), g² = 2t/(1-t)",
        lambda t: -1 / (1 - t),
        lambda t: 2 * t / (1 - t),
        "Lipman et al. 2023, eq. 20",
    ),
}


def published_rates(schedule: Schedule, drift: Rate, squared: Rate, place: Place) -> float:
    """The largest relative error of f and g² against what is printed."""
    t = torch.linspace(0.02, 0.98, 97, dtype=torch.float64)
    errors = [
        (schedule.drift(t) - drift(t)) / drift(t).abs().clamp(min=1),
        schedule.diffusion(t) ** 2 / squared(t) - 1,
    ]
    return max(float(error.abs().max()) for error in errors)


def moments(schedule: Schedule, drift: Rate, squared: Rate, place: Place) -> float:
    """α and σ against the moments of the printed SDE, α' = f α and (σ²)' = 2f σ² + g², by RK4.

    The integration sets out from the path's own values at t = 0.02 and takes 1000 steps to 0.98; the
    largest relative error on the way counts.
    """

    def rate(t: Tensor, m: Tensor) -> Tensor:
        return torch.stack([drift(t) * m[0], 2 * drift(t) * m[1] + squared(t)])

    times = torch.linspace(0.02, 0.98, 1001, dtype=torch.float64)
    alpha, sigma = schedule(times)
    m = [torch.stack([alpha[0], sigma[0] ** 2])]
    for t, s in pairwise(times):
        m.append(runge_kutta(rate, m[-1], t, s))
    return float((torch.stack(m, 1) / torch.stack([alpha, sigma**2]) - 1).abs().max())


def runge_kutta(
    rate: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor, s: Tensor
) -> Tensor:
    """One step of the classical fourth-order method for dx/dt = rate(t, x), from t to s."""
    h = s - t
    k1 = rate(t, x)
    k2 = rate(t + h / 2, x + h / 2 * k1)
    k3 = rate(t + h / 2, x + h / 2 * k2)
    k4 = rate(s, x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def generic_rates(schedule: Schedule, place: Place) -> float:
    """α', σ', f and g² of the path's own formulas against central differences of α and σ alone."""
    t, h = torch.linspace(0.05, 0.95, 31, dtype=torch.float64) + 0.0037, 1e-4

    def slope(of: Rate) -> Tensor:  # of fourth order
        return (8 * (of(t + h) - of(t - h)) - of(t + 2 * h) + of(t - 2 * h)) / (12 * h)

    (alpha, sigma), (alpha_rate, sigma_rate) = schedule(t), schedule.rates(t)
    drift = slope(schedule.alpha) / alpha
    squared = 2 * sigma * (slope(schedule.sigma) - drift * sigma)
    errors = [
        (alpha_rate - slope(schedule.alpha)) / slope(schedule.alpha).abs().clamp(min=1),
        sigma_rate / slope(schedule.sigma) - 1,
        (schedule.drift(t) - drift) / drift.abs().clamp(min=1),
        schedule.diffusion(t) ** 2 / squared - 1,
    ]
    return max(float(error.abs().max()) for error in errors)


def round_trip(schedule: Schedule, place: Place) -> float:
    """|t - time(log_snr(t))|, and 1 where α/σ does not decrease."""
    t = torch.linspace(schedule.t_min, 0.999, 500, dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    decreasing = bool((log_snr.diff() < 0).all())
    return float((schedule.time(log_snr) - t).abs().max()) if decreasing else 1.0


def transitions(schedule: Schedule, place: Place) -> float:
    """The forward transitions, one after the other, against the marginal they must end in.

    They are affine in x₀ and in each noise: unit vectors tell the mean's factor and the variance.
    """
    times = torch.linspace(schedule.t_min, 0.95, 9, dtype=torch.float64)
    calls = iter(range(1, 10))

    def unit(x: Tensor) -> Tensor:
        z = torch.zeros_like(x)
        z[next(calls)] = 1
        return z

    x0 = place.tensor([[1.0], *[[0.0]] * 9])
    *_, (_, x) = ForwardSDE(schedule).simulate(x0, times, unit)
    alpha, sigma = (float(v) for v in schedule(times[-1]))
    return max(abs(float(x[0]) / alpha - 1), abs(float(x[1:].norm()) / sigma - 1))


def continuity(schedule: Schedule, place: Place) -> float:
    """∂p/∂t + ∇·(p v) = 0 for a mixture: |∂ log p/∂t + ∇·v + v·∇ log p| relative to its terms."""
    denoiser, worst = mixture(schedule, place.double), 0.0
    for time in (0.1037, 0.353, 0.6037, 0.8537):
        t, x = clock(time), states(denoiser, place.double, time)
        rate = _time_derivative(denoiser, x, t)
        divergence = torch.zeros_like(rate)
        for axis in range(x.shape[1]):
            one = torch.zeros_like(x)
            one[:, axis] = 1
            tangent = torch.func.jvp(lambda x, t=t: denoiser.velocity(x, t), (x,), (one,))[1]
            divergence = divergence + tangent[:, axis]
        carried = (denoiser.velocity(x, t) * denoiser.score(x, t)).sum(1)
        size = rate.abs() + divergence.abs() + carried.abs()
        worst = max(worst, float(((rate + divergence + carried) / size).abs().max()))
    return worst


def _time_derivative(denoiser: MixtureDenoiser, x: Tensor, t: Tensor) -> Tensor:
    out: Tensor = torch.func.jvp(lambda t: denoiser.log_prob(x, t), (t,), (torch.ones_like(t),))[1]
    return out


def gap_to_limit(chain: DDPM, place: Place) -> float:
    """log ᾱ_N + Σβ against its series -½Σβ² - ⅓Σβ³ - ¼Σβ⁴, relative."""
    beta = chain.betas.values(chain.steps)
    log_signal = 2 * torch.log(chain.alpha(clock(1.0)))
    series = -(beta**2 / 2 + beta**3 / 3 + beta**4 / 4).sum()
    return float((log_signal + beta.sum()) / series - 1)


def distance_to_vp(steps: int) -> float:
    """The largest |α_DDPM - α_VP| over the knots of a chain whose βᵢ are those of VP over N."""
    chain, path = DDPM(steps, LinearBetas(0.1 / steps, 20 / steps)), VP()
    t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return float((chain.alpha(t) - path.alpha(t)).abs().max())


def order_of_limit(place: Place) -> float:
    """The order in 1/N at which the chain meets VP."""
    return math.log2(distance_to_vp(1000) / distance_to_vp(2000))


def end_of_chain(place: Place) -> float:
    """σ/α at the end of Ho et al.'s chain."""
    alpha, sigma = DDPM()(1.0)
    return float(sigma / alpha)


CLAIMS = (
    *(
        Claim(f"{kind}: {what}", source, partial(published_rates, path, f, g2), 1e-9)
        for kind, (path, what, f, g2, source) in PUBLISHED.items()
    ),
    *(
        Claim(f"{kind}: α and σ are its SDE's moments", source, partial(moments, path, f, g2), 1e-9)
        for kind, (path, _, f, g2, source) in PUBLISHED.items()
    ),
    *(
        Claim(
            f"{kind}: α', σ', f, g² follow from α and σ",
            "Song et al. 2021, App. B",
            partial(generic_rates, path),
            1e-6,
        )
        for kind, path in PATHS.items()
    ),
    *(
        Claim(
            f"{kind}: t ↔ log-SNR", "Kingma et al. 2021, section 3", partial(round_trip, path), 1e-9
        )
        for kind, path in PATHS.items()
    ),
    *(
        Claim(
            f"{kind}: forward steps give the marginal",
            "Song et al. 2021, App. B",
            partial(transitions, path),
            1e-12,
            rounding=64,
        )
        for kind, path in PATHS.items()
    ),
    *(
        Claim(
            f"{kind}: the flow carries p_t (continuity equation)",
            "Song et al. 2021, eq. 13",
            partial(continuity, path),
            1e-9,
        )
        for kind, path in SMOOTH.items()
    ),
    Claim(
        "ddpm: log ᾱ_N + Σβ is -½Σβ² - ⅓Σβ³ - …",
        "series of log(1 - β)",
        partial(gap_to_limit, DDPM()),
        1e-4,
    ),
    Claim(
        "ddpm: σ/α ends at 157.4", "Ho et al. 2020, section 4", end_of_chain, 0.05, expected=157.4
    ),
    Claim(
        "ddpm: meets VP with order 1 in 1/N",
        "Song et al. 2021, App. B",
        order_of_limit,
        0.05,
        expected=1,
    ),
)
