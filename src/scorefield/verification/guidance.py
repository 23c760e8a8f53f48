"""Guidance and conditions where they are exact, and what they miss by where they are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP
from scorefield.core.sde import ReverseSDE
from scorefield.guidance.cfg import CFG
from scorefield.guidance.classifier import ClassifierGuidance
from scorefield.samplers.base import trajectory
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.verification.claims import Claim, Place
from scorefield.verification.problems import (
    MIDDLE,
    MIXTURE,
    PATHS,
    Labelled,
    clock,
    mixture,
    states,
)
from scorefield.verification.schedules import runge_kutta

WIDE = VE(1e-3, 1e3)  # nearly all noise levels there are


def normal(path: Schedule, mean: float, variance: float, place: Place) -> GaussianDenoiser:
    """Data N(mean, variance) on a line."""
    numbers = (
        torch.tensor([mean], dtype=torch.float64),
        torch.tensor([[variance]], dtype=torch.float64),
    )
    return place.put(GaussianDenoiser(path, *numbers))


def components(path: Schedule, place: Place) -> list[GaussianDenoiser]:
    """The parts of `mixture`, each the denoiser of a class."""
    return [
        place.put(GaussianDenoiser(path, mean, covariance))
        for mean, covariance in zip(*MIXTURE[1:], strict=True)
    ]


def classifier(path: Schedule, place: Place) -> float:
    """The score led by the exact log p(c | x_t) against the class's own, in units of 1/σ."""
    denoiser, worst = mixture(path, place.double), 0.0
    for k, part in enumerate(components(path, place)):
        weight = math.log(float(MIXTURE[0][k]))

        def log_class(
            x: Tensor, t: Tensor, part: GaussianDenoiser = part, w: float = weight
        ) -> Tensor:
            return w + part.log_prob(x, t) - denoiser.log_prob(x, t)

        led = ClassifierGuidance(denoiser, log_class)
        for time in MIDDLE:
            t, x = clock(time), states(denoiser, place.double, time)
            error = (led.score(x, t) - part.score(x, t)).abs().max()
            worst = max(worst, float(error * path(t)[1].to(error)))
    return worst


def line_through_both(path: Schedule, place: Place) -> float:
    """CFG at w = 0, 1 and 2.5 against (1 - w) x̂₀(x) + w x̂₀(x | c), each sample with its own label."""
    free, parts, worst = mixture(path, place), components(path, place), 0.0
    both, label = Labelled(free, *parts), torch.arange(16) % 4 - 1
    for time in MIDDLE:
        t, x = clock(time), states(free, place, time)
        plain = free(x, t)
        rows = [(plain if c < 0 else parts[c](x, t))[i] for i, c in enumerate(label.tolist())]
        led = torch.stack(rows)
        for scale in (0.0, 1.0, 2.5):
            got = CFG(both, scale)(x, t, label=label.to(x.device))
            worst = max(worst, float((got - (1 - scale) * plain - scale * led).abs().max()))
    return worst


def flow_slope(denoiser: Denoiser, place: Place, steps: int = 400) -> tuple[float, float]:
    """Offset and slope of the flow's affine map from t = 1 to t_min on a line, by DPM-Solver++.

    An extrapolation of order 2 from half the steps takes out most of what is left.
    """
    x, label = place.double.tensor([[0.0], [1.0]]), torch.zeros(2, dtype=torch.int64)
    ends = []
    for n in (steps // 2, steps):
        *_, last = trajectory(denoiser, x, DPMSolverPP(), n + 1, label=label.to(place.device))
        ends.append(last.x[:, 0])
    offset, other = ((4 * ends[1] - ends[0]) / 3).tolist()
    return offset, other - offset


def equal_spreads(scale: float, place: Place) -> float:
    """CFG of N(-0.5, 0.4) and N(1, 0.4): its flow from the start (1-w)m_u + w m_c ends there again."""
    both = Labelled(normal(WIDE, -0.5, 0.4, place), normal(WIDE, 1.0, 0.4, place))
    offset, slope = flow_slope(CFG(both, scale), place)
    mean = (1 - scale) * -0.5 + scale * 1.0
    shrink = math.sqrt((0.4 + 1e-6) / (0.4 + 1e6))
    return max(abs(offset + slope * mean - mean), abs(slope / shrink - 1))


def flow_variance(free: float, conditional: float, scale: float, place: Place) -> float:
    """The variance that CFG's flow ends with for N(0, v_u) and N(0, v_c), from that at σ = 1000."""
    both = Labelled(normal(WIDE, 0.0, free, place), normal(WIDE, 0.0, conditional, place))
    _, slope = flow_slope(CFG(both, scale), place)
    start = math.exp((1 - scale) * math.log(free + 1e6) + scale * math.log(conditional + 1e6))
    return slope**2 * start


def sde_variance(free: float, conditional: float, scale: float, place: Place) -> float:
    """The variance that CFG's reverse SDE ends with, from the equation of its variance by RK4.

    dV/dt = 2 a V - g²,   a the slope of the drift,   from V = σ² at σ = 1000
    """
    both = Labelled(normal(WIDE, 0.0, free, place), normal(WIDE, 0.0, conditional, place))
    process = ReverseSDE(CFG(both, scale))
    one, label = place.double.tensor([[1.0]]), torch.zeros(1, dtype=torch.int64).to(place.device)

    def rate(t: Tensor, variance: Tensor) -> Tensor:
        slope = process.drift(one, t, label=label)[0, 0].cpu()
        return 2 * slope * variance - process.diffusion(t) ** 2

    times, variance = torch.linspace(1, 0, 101, dtype=torch.float64), torch.tensor(1e6).double()
    for t, s in pairwise(times):
        variance = runge_kutta(rate, variance, t, s)
    return float(variance)


def predictor_corrector_form(place: Place) -> float:
    """CFG's reverse SDE with w is the conditional flow and a Langevin part of CFG with 2w - 1."""
    path, w, worst = VP(), 3.0, 0.0
    both = Labelled(mixture(path, place.double), *components(path, place))
    label = (torch.arange(16) % 3).to(place.device)
    for time in MIDDLE:
        t, x = clock(time), states(both, place.double, time)
        drift = ReverseSDE(CFG(both, w)).drift(x, t, label=label)
        pull = 0.5 * path.diffusion(t) ** 2 * CFG(both, 2 * w - 1).score(x, t, label=label)
        parts = both.velocity(x, t, label=label) - pull
        worst = max(worst, float((drift - parts).abs().max() / drift.abs().max()))
    return worst


# A linear measurement y = A x₀ + n of the plane, n ~ N(0, NOISE²).
MATRIX = torch.tensor([[0.8, -0.6]], dtype=torch.float64)
Y, NOISE = 0.5, 0.3


def log_evidence(x: Tensor, t: Tensor, path: Schedule, parts: list[GaussianDenoiser]) -> Tensor:
    """log p(y | x_t) of a mixture, component by component: y ~ N(A m_k(x), A C_k(t) Aᵀ + noise²)."""
    alpha, sigma = (v.to(x.device) for v in path(t))
    a, joint, prior = MATRIX.to(x.device), [], []
    for weight, covariance, part in zip(MIXTURE[0], MIXTURE[2], parts, strict=True):
        c = covariance.to(x.device)
        eye = torch.eye(2, dtype=c.dtype, device=c.device)
        left = c - alpha**2 * c @ torch.linalg.inv(alpha**2 * c + sigma**2 * eye) @ c
        variance = (a @ left @ a.T)[0, 0] + NOISE**2
        off = Y - (part(x, t) @ a.T)[:, 0]
        prior.append(weight.log() + part.log_prob(x, t))
        joint.append(prior[-1] - 0.5 * (off**2 / variance + torch.log(2 * math.pi * variance)))
    return torch.logsumexp(torch.stack(joint), 0) - torch.logsumexp(torch.stack(prior), 0)


def given_y(mean: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """√2π p(y), and mean and covariance given y, of data N(mean, c), by Kálmán's formulas."""
    seen, off = c @ MATRIX[0], Y - MATRIX[0] @ mean
    spread = MATRIX[0] @ seen + NOISE**2
    evidence = torch.exp(-0.5 * off**2 / spread) / torch.sqrt(spread)
    return evidence, mean + seen / spread * off, c - torch.outer(seen, seen) / spread


def posterior(path: Schedule, place: Place) -> MixtureDenoiser:
    """The exact posterior of `mixture` given y, a mixture again."""
    parts = zip(*(given_y(m, c) for m, c in zip(*MIXTURE[1:], strict=True)), strict=True)
    evidence, means, covariances = map(torch.stack, parts)
    return place.put(MixtureDenoiser(path, MIXTURE[0] * evidence, means, covariances))


def inverse_problem(path: Schedule, place: Place) -> float:
    """The score led by log p(y | x_t) against the posterior's own score, in units of 1/σ."""
    parts, exact, worst = components(path, place), posterior(path, place), 0.0
    led = ClassifierGuidance(mixture(path, place), partial(log_evidence, path=path, parts=parts))
    for time in MIDDLE:
        t, x = clock(time), states(led, place.double, time)
        error = (led.score(x, t) - exact.score(x, t)).abs().max()
        worst = max(worst, float(error * path(t)[1].to(error)))
    return worst


def unit_gaussian(
    spread: Callable[[Tensor], Tensor], sigma: float, noise: float, place: Place
) -> tuple[Tensor, Tensor]:
    """∇ log N(y; x̂₀(x), spread + noise²) for data N(0, I) on a VE path, and the exact gradient."""
    path = WIDE
    t, eye = path.time(-2 * math.log(sigma)), torch.eye(2, dtype=torch.float64)
    denoiser = place.put(GaussianDenoiser(path, torch.zeros(2).double(), eye))
    x, y = place.double.normal(8, 2), place.double.tensor([0.5, -1.0])
    variance = spread(torch.tensor(sigma**2 / (1 + sigma**2), dtype=torch.float64)) + noise**2

    def log_prob(x: Tensor, t: Tensor) -> Tensor:
        x0: Tensor = denoiser(x, t)
        return -((y - x0) ** 2).sum(1) / (2 * variance)

    led = ClassifierGuidance(denoiser, log_prob)
    exact = (y - x / (1 + sigma**2)) / (1 + sigma**2) / (sigma**2 / (1 + sigma**2) + noise**2)
    return (led(x, t) - denoiser(x, t)) / sigma**2, exact


def pseudoinverse_guidance(place: Place) -> float:
    """ΠGDM, which takes Cov[x₀ | x_t] = r² I: exact for N(0, I), r² = σ²/(1 + σ²)."""
    got, exact = unit_gaussian(lambda covariance: covariance, 0.8, 0.1, place)
    return float((got - exact).abs().max())


def posterior_sampling(place: Place) -> float:
    """How much too strong DPS is for N(0, 1), which takes Cov[x₀ | x_t] = 0."""
    got, exact = unit_gaussian(lambda covariance: 0 * covariance, 0.8, 0.1, place)
    return float((got / exact).mean())


CLAIMS = (
    *(
        Claim(
            f"{kind}: classifier guidance, w = 1, is Bayes' rule",
            "Song et al. 2021, eq. 14",
            partial(classifier, path),
            1e-10,
        )
        for kind, path in PATHS.items()
    ),
    Claim(
        "CFG is the line through both estimates",
        "Ho & Salimans 2022, eq. 6",
        partial(line_through_both, VP()),
        1e-12,
        rounding=256,
    ),
    Claim(
        "CFG, equal spreads, w = 3: N((1-w)m_u + w m_c, v)",
        "Bradley & Nakkiran 2024, arXiv:2408.09000",
        partial(equal_spreads, 3.0),
        1e-4,
    ),
    Claim(
        "CFG's flow, w = 2: variance v_u^(1-w) v_c^w",
        "Bradley & Nakkiran 2024, arXiv:2408.09000",
        partial(flow_variance, 2.0, 1.0, 2.0),
        1e-4,
        expected=0.5,
    ),
    Claim(
        "CFG's SDE, w = 2: variance (2 - 2^(2-2w))/(2w-1)",
        "Bradley & Nakkiran 2024, arXiv:2408.09000",
        partial(sde_variance, 2.0, 1.0, 2.0),
        1e-4,
        expected=(2 - 2**-2) / 3,
    ),
    Claim(
        "autoguidance, w = 2, bad model N(0, v + τ²)",
        "Karras et al. 2024, eq. 3; as CFG's flow",
        partial(flow_variance, 0.6 + 0.3, 0.6, 2.0),
        1e-4,
        expected=0.6**2 / 0.9,
    ),
    Claim(
        "CFG's SDE is a flow and Langevin with 2w - 1",
        "Bradley & Nakkiran 2024, arXiv:2408.09000",
        predictor_corrector_form,
        1e-12,
    ),
    *(
        Claim(
            f"{kind}: score + ∇ log p(y | x_t) is the posterior's",
            "Bayes' rule; y = A x₀ + n on a mixture",
            partial(inverse_problem, path),
            1e-9,
        )
        for kind, path in PATHS.items()
    ),
    Claim(
        "ΠGDM is exact for N(0, I)",
        "Song et al. 2023, ΠGDM, section 3",
        pseudoinverse_guidance,
        1e-9,
    ),
    Claim(
        "DPS pulls 1 + Cov/noise² too hard (not exact)",
        "Chung et al. 2023, theorem 1",
        posterior_sampling,
        1e-6,
        expected=1 + (0.64 / 1.64) / 0.01,
    ),
)
