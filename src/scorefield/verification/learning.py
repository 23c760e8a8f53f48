"""What training aims at: regret over the ideal error, targets, and the maps that distillation learns."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedule import Schedule, as_time
from scorefield.core.schedules import VE, VP, Flow
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.flow import Euler
from scorefield.verification.claims import Claim, Place
from scorefield.verification.flows import CENTRES, SPREADS, WEIGHTS, line
from scorefield.verification.problems import clock, gaussian, states


def regret(place: Place) -> float:
    """E‖x̂₀ - x₀‖² - E‖x̂₀* - x₀‖² against E‖x̂₀ - x̂₀*‖², by quadrature over x₀ and ε; relative.

    x̂₀ is the denoiser of data that are 0.3 too wide, x̂₀* the true one's.
    """
    path, worst = VP(), 0.0
    true, wide = line(path, place.double), widened(path, place)
    x0, eps, weight = (place.double.tensor(v) for v in _square())
    for time in (0.15, 0.35, 0.6):
        t = clock(time)
        alpha, sigma = (float(v) for v in path(t))
        x = (alpha * x0 + sigma * eps)[:, None]
        ideal, other = true(x, t)[:, 0], wide(x, t)[:, 0]
        gap = (weight * ((other - x0) ** 2 - (ideal - x0) ** 2)).sum()
        apart = (weight * (other - ideal) ** 2).sum()
        worst = max(worst, abs(float(gap / apart - 1)))
    return worst


def divergence(place: Place) -> float:
    """KL(p ‖ q) = ∫ E_p‖D_p - D_q‖²/σ² d log σ, of the data and of data that are 0.3 too wide; relative.

    By quadrature over noise levels, and over the line at each, against ∫ p log p/q of the densities.
    """
    path = VE(1e-3, 1e3)
    true, wide = line(path, place.double), widened(path, place)
    y = place.double.tensor(torch.linspace(-8, 8, 4001, dtype=torch.float64))[:, None]
    log_p, log_q = (d.log_prob(y, 0.0) for d in (true, wide))
    exact = torch.trapezoid(log_p.exp() * (log_p - log_q), y[:, 0])
    gaps, log_levels = [], torch.linspace(math.log(1e-3), math.log(1e3), 601, dtype=torch.float64)
    for log_level in log_levels:
        level = float(log_level.exp())
        t, x = path.time(-2 * log_level), (1 + level) * y
        apart = (true(x, t) - wide(x, t))[:, 0].square() * true.log_prob(x, t).exp()
        gaps.append(torch.trapezoid(apart, x[:, 0]).cpu() / level**2)
    found = torch.trapezoid(torch.stack(gaps), log_levels)
    return abs(float(found / exact.cpu()) - 1)


def widened(path: Schedule, place: Place) -> MixtureDenoiser:
    """The denoiser of `line`, of data with 0.3² more variance."""
    data = line(path, place.double)
    parts = data.log_weights.exp(), data.means, (data.variances + 0.09)[:, :, None]
    return place.put(MixtureDenoiser(path, *(part.cpu() for part in parts)))


def _square() -> tuple[Tensor, Tensor, Tensor]:
    """A grid over x₀ and ε, flattened, with the probability of each of its cells."""
    x0, eps = (torch.linspace(-r, r, 301, dtype=torch.float64) for r in (5.0, 8.0))
    weights, centres, spreads = (
        torch.tensor(v, dtype=torch.float64) for v in (WEIGHTS, CENTRES, SPREADS)
    )
    data = (weights / spreads * torch.exp(-0.5 * ((x0[:, None] - centres) / spreads) ** 2)).sum(1)
    noise = torch.exp(-0.5 * eps**2)
    both = (data / data.sum())[:, None] * (noise / noise.sum())
    return x0.repeat_interleave(301), eps.repeat(301), both.flatten()


def consistency(path: Schedule, place: Place) -> float:
    """f(x_t, t) = the flow's end: the same for all states of one flow line, and x itself at the end."""
    denoiser = gaussian(path, place.double)
    x = states(denoiser, place.double, 0.9)
    end = denoiser.flow(x, 0.9, path.t_min)
    worst = 0.0
    for time in (0.7, 0.4, 0.1, path.t_min):
        stop = denoiser.flow(x, 0.9, time)
        worst = max(worst, float((denoiser.flow(stop, time, path.t_min) - end).abs().max()))
    return worst


def consistency_in_sigma(place: Place) -> float:
    """f(x, σ) = m + √(λ/(λ + σ²)) (x - m) is constant along the flow: ∂f/∂σ + f' dx/dσ = 0."""
    path, mean, spread = VE(1e-4, 50.0), 0.7, 0.3
    denoiser = place.put(
        GaussianDenoiser(path, torch.tensor([mean]).double(), torch.tensor([[spread]]))
    )
    lam = denoiser.mixture.variances[0, 0]
    middle = denoiser.mixture.means[0]
    worst = 0.0
    for level in (0.05, 0.4, 3.0, 20.0):
        sigma = clock(level)
        t = path.time(-2 * torch.log(sigma))
        x = middle + place.double.normal(8, 1) * (lam + level**2).sqrt()
        rate = (x - denoiser(x, t)) / level

        def map_to_data(x: Tensor, sigma: Tensor) -> Tensor:
            return middle + torch.sqrt(lam / (lam + sigma**2)) * (x - middle)

        slope = torch.func.jvp(map_to_data, (x, sigma), (rate, torch.ones_like(sigma)))[1]
        worst = max(worst, float(slope.abs().max()))
    return worst


def mean_flow(path: Schedule, place: Place) -> float:
    """u = (x_t - x_r)/(t - r) satisfies u = v - (t - r) du/dt along the flow, for Gaussian data."""
    denoiser, r, worst = gaussian(path, place.double), 0.15, 0.0
    for time in (0.3, 0.6, 0.9):
        t, x = clock(time), states(denoiser, place.double, time)
        velocity = denoiser.velocity(x, t)

        def average(x: Tensor, t: Tensor) -> Tensor:
            return (x - denoiser.flow(x, t, r)) / (t - r).to(x.device)

        u, rate, *_ = torch.func.jvp(average, (x, t), (velocity, torch.ones_like(t)))
        worst = max(worst, float((u - velocity + (time - r) * rate).abs().max()))
    return worst


class Straightened(Denoiser):
    """The denoiser of rectified flow for N(m, s²) on a line, its noise tied to the data by the flow.

    x₀ = m + s ε, so x_t = (1 - t)(m + s ε) + t ε names ε.
    """

    def __init__(self, mean: float, std: float) -> None:
        super().__init__(Flow())
        self.mean, self.std = mean, std

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """x₀ of the pair whose line passes through x at t."""
        t = as_time(t).to(x)
        eps = (x - (1 - t) * self.mean) / ((1 - t) * self.std + t)
        return self.mean + self.std * eps


def reflow(place: Place) -> float:
    """Euler's method on the straightened flow: the state after one step and after 40."""
    denoiser, x = Straightened(0.7, 0.4), place.double.normal(16, 1)
    ends = []
    for steps in (2, 41):
        *_, last = trajectory(denoiser, x, Euler(), steps)
        ends.append(last.x)
    t = Flow().t_min
    exact = (1 - t) * (0.7 + 0.4 * x) + t * x
    return max(float((end - exact).abs().max()) for end in ends)


def reflow_pairs(place: Place) -> float:
    """The pairs that reflow trains on, from a sampler with many steps, lie on those lines."""
    data = torch.tensor([0.7]).double(), torch.tensor([[0.16]], dtype=torch.float64)
    denoiser, x = place.put(GaussianDenoiser(Flow(), *data)), place.double.normal(16, 1)
    return float((sample(denoiser, x, Euler(), 3000) - (0.7 + 0.4 * x)).abs().max())


def progressive(path: Schedule, place: Place) -> float:
    """A student's DDIM step towards the target of progressive distillation against two of a teacher's.

    x̃₀ = (x'' - (σ''/σ) x) / (α'' - (σ''/σ) α)
    """
    teacher = gaussian(path, place.double)
    t, middle, end = (clock(v) for v in (0.8, 0.6, 0.4))
    x = states(teacher, place.double, 0.8)
    step = DDIM().step
    half = step(path, x, teacher(x, t), t, middle, torch.zeros_like)
    two = step(path, half, teacher(half, middle), middle, end, torch.zeros_like)
    (alpha, sigma), (alpha_end, sigma_end) = (tuple(map(float, path(v))) for v in (t, end))
    ratio = sigma_end / sigma
    target = (two - ratio * x) / (alpha_end - ratio * alpha)
    return float((step(path, x, target, t, end, torch.zeros_like) - two).abs().max())


def expected_loss(place: Place) -> float:
    """The least loss on x₀ of Gaussian data, E‖x₀ - x̂₀‖² = Σ λσ²/(α²λ + σ²), from the score's norm.

    E‖x₀ - x̂₀‖² = (σ²/α²)(D - σ² E‖∇log p‖²), with E‖∇log p‖² by the trapezoidal rule on a line.
    """
    path, variance = VP(), 0.3
    data = torch.zeros(1).double(), torch.tensor([[variance]], dtype=torch.float64)
    denoiser, worst = place.put(GaussianDenoiser(path, *data)), 0.0
    grid = torch.linspace(-14, 14, 4001, dtype=torch.float64)
    x = place.double.tensor(grid)[:, None]
    for time in (0.1, 0.35, 0.6):
        t = clock(time)
        alpha, sigma = (float(v) for v in path(t))
        density = denoiser.log_prob(x, t).exp()
        norm = float(torch.trapezoid(density * denoiser.score(x, t)[:, 0] ** 2, x[:, 0]))
        found = (sigma / alpha) ** 2 * (1 - sigma**2 * norm)
        exact = variance * sigma**2 / (alpha**2 * variance + sigma**2)
        worst = max(worst, abs(found / exact - 1))
    return worst


CLAIMS = (
    Claim("regret is the squared distance to the ideal", "Vincent 2011, section 4", regret, 1e-6),
    Claim(
        "KL is what two denoisers are apart at all noise levels",
        "Song et al. 2021, Maximum Likelihood Training, theorem 1",
        divergence,
        1e-4,
    ),
    Claim("least loss from the norm of the score", "Stein 1981; Efron 2011", expected_loss, 1e-8),
    *(
        Claim(
            f"{kind}: consistency map", "Song et al. 2023, eq. 5", partial(consistency, path), 1e-10
        )
        for kind, path in (("vp", VP()), ("ve", VE()), ("flow", Flow()))
    ),
    Claim("consistency map in σ", "Song et al. 2023, eq. 5", consistency_in_sigma, 1e-10),
    *(
        Claim(f"{kind}: mean flow", "Geng et al. 2025, eq. 6", partial(mean_flow, path), 1e-8)
        for kind, path in (("vp", VP()), ("flow", Flow()))
    ),
    Claim("reflow on a line: one Euler step is exact", "Liu et al. 2023, section 2", reflow, 1e-12),
    Claim(
        "the flow's pairs on a line are those",
        "Liu et al. 2023, section 2",
        reflow_pairs,
        2e-3,
        slow=True,
    ),
    *(
        Claim(
            f"{kind}: target of progressive distillation",
            "Salimans & Ho 2022, App. G",
            partial(progressive, path),
            1e-12,
        )
        for kind, path in (("vp", VP()), ("ve", VE()), ("flow", Flow()))
    ),
)
