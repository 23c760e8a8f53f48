"""Identities: what a network's output means, whose score a denoiser has, which samplers are the same."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from scorefield.core.broadcast import expand
from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.denoisers import Denoiser, NetworkDenoiser
from scorefield.core.oracles import EmpiricalDenoiser, MixtureDenoiser
from scorefield.core.parameterizations import EDM, Parameterization
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP
from scorefield.core.sde import ReverseSDE
from scorefield.recipes.catalog import PARAMETERIZATIONS
from scorefield.samplers.ancestral import DDIM, Ancestral
from scorefield.samplers.base import Sampler, sample, trajectory
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.flow import Heun
from scorefield.samplers.grids import Karras, Knots, UniformLogSNR
from scorefield.samplers.noise import seeded
from scorefield.verification.claims import Claim, Place
from scorefield.verification.problems import MIDDLE, PATHS, clock, mixture, states, wide_mixture

LEVELS = (0.02, *MIDDLE, 0.98)


class _Says(nn.Module):
    """A network that says what it was told to."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, c_noise: Tensor, **cond: Tensor | None) -> Tensor:
        """The answer, whatever the question."""
        return self.answer


def conversions(parameterization: Parameterization, place: Place) -> float:
    """x₀, ε, score and velocity read from a network that gives the target exactly, on every path.

    Errors are relative to what the conversion divides by: c_out times the size of the target.
    """
    x0, eps, mean, worst = place.normal(32, 2), place.normal(32, 2, seed=1), 0.3, 0.0
    for path in PATHS.values():
        for time in LEVELS:
            t = clock(time)
            (alpha, sigma), (alpha_rate, sigma_rate) = path(t), path.rates(t)
            a, b = parameterization.target(path, t)
            target = expand(a, x0) * (x0 - mean) + expand(b, x0) * eps
            denoiser = NetworkDenoiser(_Says(target), path, parameterization, (mean,))
            x = expand(alpha, x0) * x0 + expand(sigma, x0) * eps
            skip, out = parameterization.inversion(path, t)
            size = float((out * a).abs() + (out * b).abs() + (skip * sigma).abs() + 1)
            noisier = float(1 + alpha / sigma)
            speed = expand(alpha_rate, x0) * x0 + expand(sigma_rate, x0) * eps
            errors = [
                (denoiser(x, t) - x0) / size,
                (denoiser.noise(x, t) - eps) / (size * noisier),
                (denoiser.score(x, t) * expand(sigma, x) + eps) / (size * noisier),
                (denoiser.velocity(x, t) - speed)
                / float((alpha_rate.abs() + sigma_rate.abs()) * size * noisier + 1),
            ]
            worst = max(worst, *(float(error.abs().max()) for error in errors))
    return worst


def unit_variance(place: Place) -> float:
    """EDM: the variances of input and target, on every path, for data of standard deviation 0.7."""
    parameterization, t = EDM(0.7), torch.tensor(LEVELS, dtype=torch.float64)
    worst = 0.0
    for path in PATHS.values():
        alpha, sigma = path(t)
        a, b = parameterization.target(path, t)
        entering = parameterization.input_scale(path, t) ** 2 * ((0.7 * alpha) ** 2 + sigma**2)
        error = torch.stack([entering - 1, (0.7 * a) ** 2 + b**2 - 1])
        worst = max(worst, float(error.abs().max()))
    return worst


def edm_table(place: Place) -> float:
    """c_skip, |c_out| and c_in on a variance-exploding path against table 1 of EDM."""
    path, parameterization, s = VE(0.002, 80.0), EDM(0.5), 0.5
    t = torch.linspace(0, 1, 41, dtype=torch.float64)
    sigma = 0.002 * 40_000**t
    skip, out = parameterization.inversion(path, t)
    root = torch.sqrt(sigma**2 + s**2)
    errors = [
        skip / (s**2 / root**2) - 1,
        out.abs() / (sigma * s / root) - 1,
        parameterization.input_scale(path, t) * root - 1,
        parameterization.condition(path, t) - torch.log(sigma) / 4,
    ]
    return max(float(error.abs().max()) for error in errors)


def score_of_density(path: Schedule, place: Place) -> float:
    """The score of a mixture's denoiser against the derivative of its log p_t, in units of 1/σ."""
    return _score_apart(mixture(path, place.double), 2, place)


def score_in_many_dimensions(dim: int, place: Place) -> float:
    """The same of a mixture of any number of dimensions, on VP."""
    return _score_apart(wide_mixture(dim, place.double), dim, place)


def _score_apart(denoiser: MixtureDenoiser, dim: int, place: Place) -> float:
    worst = 0.0
    for time in LEVELS:
        t, x = clock(time), states(denoiser, place.double, time, dim=dim)
        slope = torch.func.grad(lambda x, t=t: denoiser.log_prob(x, t).sum())(x)
        error = (denoiser.score(x, t) - slope).abs().max() * float(denoiser.schedule(t)[1])
        worst = max(worst, float(error))
    return worst


def flow_of_score(path: Schedule, place: Place) -> float:
    """v = f x - ½ g² ∇log p, and Anderson's drift f x - g² ∇log p, relative to their terms."""
    denoiser, worst = mixture(path, place.double), 0.0
    for time in MIDDLE:
        t, x = clock(time), states(denoiser, place.double, time)
        free, pull = path.drift(t) * x, path.diffusion(t) ** 2 * denoiser.score(x, t)
        size = float(free.abs().max() + pull.abs().max())
        for eta, share in ((0.0, 0.5), (1.0, 1.0)):
            error = ReverseSDE(denoiser, eta).drift(x, t) - (free - share * pull)
            worst = max(worst, float(error.abs().max()) / size)
    return worst


def ends_apart(one: Sampler, other: Sampler, path: Schedule, place: Place) -> float:
    """The largest distance between the samples of two samplers from one start with the same noise."""
    denoiser = mixture(path, place)
    start = float(path(1.0)[1]) * place.normal(16, 2)
    ends = [sample(denoiser, start, s, 12, noise=seeded(3, range(16))) for s in (one, other)]
    return float((ends[0] - ends[1]).abs().max())


def on_every_path(one: Sampler, other: Sampler, place: Place) -> float:
    """The largest distance of `ends_apart`, over the paths."""
    return max(ends_apart(one, other, path, place) for path in PATHS.values())


def published_posterior(sampler: Sampler, place: Place) -> float:
    """A chain's steps against eq. 6 and eq. 7 of Ho et al., in βᵢ and ᾱᵢ, with the same noise."""
    steps = 20
    chain = DDPM(steps, LinearBetas(5e-3, 0.5))
    denoiser, noise = mixture(chain, place.double), seeded(5, range(8))
    beta = torch.linspace(5e-3, 0.5, steps, dtype=torch.float64)
    signal = torch.cumprod(1 - beta, 0)
    start = place.double.normal(8, 2)
    *_, last = trajectory(denoiser, start, sampler, steps, noise=seeded(5, range(8)))
    x = start
    for i in range(steps - 1, 0, -1):
        x0 = denoiser(x, clock((i + 1) / steps))
        before = signal[i - 1]
        mean = before.sqrt() * beta[i] / (1 - signal[i]) * x0
        mean = mean + (1 - beta[i]).sqrt() * (1 - before) / (1 - signal[i]) * x
        x = mean + ((1 - before) / (1 - signal[i]) * beta[i]).sqrt() * noise(x)
    return float((last.x - x).abs().max())


def euler_in_sigma(place: Place) -> float:
    """DDIM on a variance-exploding path against Euler's method for dx/dσ = (x - x̂₀)/σ."""
    path = VE(0.01, 50.0)
    denoiser, start = mixture(path, place.double), 50.0 * place.double.normal(8, 2)
    got = sample(denoiser, start, DDIM(UniformLogSNR()), 15)
    times, x = UniformLogSNR().times(path, 15), start
    sigma = 0.01 * 5000**times
    for i in range(14):
        x = x + (sigma[i + 1] - sigma[i]) * (x - denoiser(x, times[i])) / sigma[i]
    return float((got - denoiser(x, times[-1])).abs().max())


def heun_in_sigma(place: Place) -> float:
    """Heun on a variance-exploding path against EDM's Algorithm 2 without churn, line by line."""
    path = VE(0.002, 80.0)
    denoiser, start = mixture(path, place.double), 80.0 * place.double.normal(8, 2)
    got = sample(denoiser, start, Heun(), 15)
    times, x = Karras().times(path, 15), start
    sigma = 0.002 * 40_000**times
    for i in range(14):
        h = sigma[i + 1] - sigma[i]
        d = (x - denoiser(x, times[i])) / sigma[i]
        guess = x + h * d
        x = x + h * (d + (guess - denoiser(guess, times[i + 1])) / sigma[i + 1]) / 2
    return float((got - denoiser(x, times[-1])).abs().max())


def _points(place: Place) -> Tensor:
    return place.tensor([[1.0, 0.4], [-0.7, 0.9], [0.1, -1.2], [-1.1, -0.5], [0.6, 1.3]])


def finite_data(place: Place) -> float:
    """The ideal denoiser of five points against Σ_j softmax(-‖x - αx_j‖²/2σ²) x_j, term by term."""
    path, data, worst = VP(), _points(place.double), 0.0
    denoiser = place.put(EmpiricalDenoiser(path, data))
    for time in LEVELS:
        t, x = clock(time), states(denoiser, place.double, time)
        alpha, sigma = (float(v) for v in path(t))
        log_weight = [-((x - alpha * p) ** 2).sum(1) / (2 * sigma**2) for p in data]
        highest = torch.stack(log_weight).amax(0)
        weight = [torch.exp(w - highest)[:, None] for w in log_weight]
        ideal = sum(w * p for w, p in zip(weight, data, strict=True)) / sum(weight)
        worst = max(worst, float((denoiser(x, t) - ideal).abs().max()))
    return worst


def samples_are_points(place: Place) -> float:
    """The distance from a sample of the ideal denoiser to the nearest point, in units of σ_min."""
    path, data = VE(0.01, 50.0), _points(place)
    denoiser = place.put(EmpiricalDenoiser(path, data))
    ends = sample(denoiser, 50.0 * place.normal(64, 2), DPMSolverPP(), 30)
    return float(torch.cdist(ends, data).amin(1).max()) / 0.01


def batch_invariance(denoiser: Denoiser, place: Place) -> float:
    """A sample alone against the same sample among 16."""
    sampler, shape = DDIM(eta=1.0), (16, 2)
    many = sample(denoiser, shape, sampler, 10, noise=seeded(0, range(16)))
    one = sample(denoiser, (1, 2), sampler, 10, noise=seeded(0, [11]))
    return float((many[11] - one[0]).abs().max())


CLAIMS = (
    *(
        Claim(
            f"{kind}: x₀, ε, score, velocity come back exactly",
            "Salimans & Ho 2022, App. D",
            partial(conversions, cls(0.7)),
            1e-12,
            rounding=256,
        )
        for kind, cls in PARAMETERIZATIONS.items()
    ),
    Claim(
        "edm: input and target have unit variance",
        "Karras et al. 2022, App. B.6",
        unit_variance,
        1e-12,
    ),
    Claim("edm: c_skip, c_out, c_in, c_noise", "Karras et al. 2022, table 1", edm_table, 1e-12),
    *(
        Claim(
            f"{kind}: the denoiser's score is ∇ log p_t",
            "Tweedie; Efron 2011, eq. 1.4",
            partial(score_of_density, path),
            1e-10,
        )
        for kind, path in PATHS.items()
    ),
    *(
        Claim(
            f"score of a mixture in {dim} dimensions is ∇ log p_t",
            "Efron 2011, eq. 1.4",
            partial(score_in_many_dimensions, dim),
            1e-10,
        )
        for dim in (1, 16, 64)
    ),
    *(
        Claim(
            f"{kind}: v = f x - ½ g² ∇log p",
            "Song et al. 2021, eq. 6 and 13",
            partial(flow_of_score, path),
            1e-10,
        )
        for kind, path in PATHS.items()
    ),
    Claim(
        "DDIM is DPM-Solver++ of order 1",
        "Lu et al. 2022, section 4",
        partial(on_every_path, DDIM(UniformLogSNR()), DPMSolverPP(order=1)),
        1e-12,
        rounding=256,
    ),
    Claim(
        "DDPM's steps in β and ᾱ",
        "Ho et al. 2020, eq. 6 and 7",
        partial(published_posterior, Ancestral(Knots(20))),
        1e-12,
    ),
    Claim(
        "DDIM(η = 1) has DDPM's steps",
        "Song et al. 2021, DDIM, eq. 16",
        partial(published_posterior, DDIM(Knots(20), eta=1.0)),
        1e-12,
    ),
    Claim(
        "Heun is Algorithm 2 of EDM in σ", "Karras et al. 2022, Algorithm 2", heun_in_sigma, 1e-12
    ),
    Claim("DDIM is Euler's method in σ", "Karras et al. 2022, App. C", euler_in_sigma, 1e-12),
    Claim("ideal denoiser of a data set", "Karras et al. 2022, eq. 57", finite_data, 1e-12),
    Claim(
        "sampling it gives its points back, in σ_min",
        "Karras et al. 2022, App. B.3",
        samples_are_points,
        3.0,
    ),
    Claim(
        "a sample does not depend on its batch",
        "seeded noise, one stream a sample",
        lambda place: batch_invariance(mixture(VP(), place), place),
        1e-12,
        rounding=64,
    ),
)
