"""Exact likelihoods and latent codes: the probability flow from data to noise and back.

The flow maps a state at t_min to a state at t = 1, one to one, so the density there is

    log p(x) = log p₁(z) + log |det ∂z/∂x|,   z = the end of the flow from x

What is measured is the density at t_min, of α x₀ + σ ε, and not that of x₀: no model knows less noise.
p₁ is a normal law that is close to, not equal to, the law of the states at t = 1; whatever is taken for
it, the result is the log-density of that law carried to t_min, a proper density.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.core.angle import angular_slope, log_angle, radius, time_at
from scorefield.core.broadcast import check_states, expand
from scorefield.core.denoisers import Denoiser, check_finite
from scorefield.core.ode import DormandPrince, Progress, Slope, Solver, root_mean_square
from scorefield.core.schedule import Schedule
from scorefield.errors import InputError, check_count

Prior = Callable[[Tensor], Tensor]
EXACT_UP_TO = 64  # numbers in a sample up to which the exact trace is the default


class LogLikelihood(NamedTuple):
    """A log-likelihood in nats and what it is made of; of states, log_prob = prior + divergence.

    Of data, as `data_log_likelihood` gives it, log_prob has what leads from the states at t_min to the data
    besides.

    Arguments:
        log_prob: log p(x) at t_min, or of data, shape (B,).
        z: the latent code, the state at t = 1, shape (B, ...).
        prior: log p₁(z), shape (B,).
        divergence: log |det ∂z/∂x|, the integral of ∇·v, shape (B,).
        error: standard error over the probes, shape (B,); 0 if exact, NaN for a single probe.
        evaluations: denoiser evaluations of the batch.
    """

    log_prob: Tensor
    z: Tensor
    prior: Tensor
    divergence: Tensor
    error: Tensor
    evaluations: int


def normal_prior(
    schedule: Schedule, mean: Tensor | float = 0.0, std: Tensor | float = 0.0
) -> Prior:
    """The normal law at t = 1 of data with these moments; by default of noise alone.

        log N(z; α m, α² s² + σ²),   α = α(1), σ = σ(1)

    Where signal is left at t = 1, as on the variance-exploding path, moments of the data bring this
    much nearer to the law of the states there.

    Arguments:
        schedule: the path.
        mean: m, a number or a tensor that broadcasts to a sample.
        std: s, a number or a tensor that broadcasts to a sample; at least 0.
    """
    alpha, sigma = schedule(1.0)
    mean, std = (torch.as_tensor(v, dtype=torch.float64) for v in (mean, std))

    def log_prob(z: Tensor) -> Tensor:
        variance = ((alpha * std) ** 2 + sigma**2).to(z.device)
        offset = z.double() - (alpha * mean).to(z.device)
        terms = offset**2 / variance + torch.log(2 * math.pi * variance)
        return -0.5 * terms.flatten(1).sum(1)

    return log_prob


def log_likelihood(
    denoiser: Denoiser,
    x: Tensor,
    *,
    solver: Solver | None = None,
    probes: int = 1,
    probe: Literal["rademacher", "gaussian"] = "rademacher",
    exact: bool | None = None,
    noise: Callable[[Tensor], Tensor] = torch.randn_like,
    prior: Prior | None = None,
    **cond: Tensor | None,
) -> LogLikelihood:
    """The log-density of states at t_min under the probability flow, in nats.

        log p(x) = log p₁(z) + ∫ ∇·v dt,   ∇·v = E[eᵀ (∂v/∂x) e],   E[e eᵀ] = I

    The state is x = α x₀ + σ ε at the schedule's t_min, not clean data.

    Arguments:
        denoiser: the model, with gradients in x.
        x: states at t_min, shape (B, ...).
        solver: how the flow is solved; `DormandPrince()` if not given.
        probes: how many e for each sample, each the same all the way; at least 1.
        probe: the law of e; with 'rademacher' numbers that do not interact add no noise.
        exact: the whole trace in place of probes, D backward passes; up to D = 64 if not given.
        noise: called with a state, gives standard normal noise of its shape.
        prior: log p₁, gives shape (B,) for a state at t = 1; N(0, σ(1)² I) if not given.
        cond: conditions by name, such as ``label`` of shape (B,).

    Raises:
        InputError: for fewer than 1 probe, an unknown law, or when the model's output is not finite.

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, eq. 39 and eq. 40;
        Grathwohl et al. 2019, FFJORD, eq. 7. arXiv:2011.13456, arXiv:1810.01367
    """
    check_count("probes", probes)
    if probe not in ("rademacher", "gaussian"):
        raise InputError(f"probe must be 'rademacher' or 'gaussian', got '{probe}'")
    check_states(x)
    schedule, dim = denoiser.schedule, math.prod(x.shape[1:])
    full = dim <= EXACT_UP_TO if exact is None else exact
    directions = _basis(x) if full else _probes(x, probes, probe, noise)
    columns = 1 if full else probes
    start = torch.cat(
        [_turned(schedule, x, schedule.t_min), x.new_zeros(len(x), columns).double()], 1
    )

    def norm(error: Tensor) -> Tensor:
        # among many pixels the divergence would count for nothing, and it is what is asked for
        return torch.maximum(root_mean_square(error[:, :dim]), error[:, dim:].abs().amax(1))

    slope = _with_divergence(denoiser, x, directions, full, cond)
    done = _flow(denoiser, start, schedule.t_min, 1.0, solver, norm, slope)
    z = _state(schedule, done.x[:, :dim], 1.0, x)
    stretch = dim * torch.log(radius(schedule, 1.0) / radius(schedule, schedule.t_min))
    integrals = done.x[:, dim:] + stretch.to(x.device)
    divergence = integrals.mean(1)
    error = torch.zeros_like(divergence) if full else _standard_error(integrals)
    log_prior = (prior or normal_prior(schedule))(z).to(divergence)
    return LogLikelihood(log_prior + divergence, z, log_prior, divergence, error, done.evaluations)


def encode(
    denoiser: Denoiser, x: Tensor, solver: Solver | None = None, **cond: Tensor | None
) -> Tensor:
    """The latent code of states at t_min: where the probability flow leads them at t = 1.

    Arguments:
        denoiser: the model.
        x: states at t_min, shape (B, ...).
        solver: how the flow is solved; `DormandPrince()` if not given.
        cond: conditions by name, such as ``label`` of shape (B,).

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, App. D.2. arXiv:2011.13456
    """
    return _carried(denoiser, x, denoiser.schedule.t_min, 1.0, solver, cond)


def decode(
    denoiser: Denoiser, z: Tensor, solver: Solver | None = None, **cond: Tensor | None
) -> Tensor:
    """The state at t_min whose latent code is z: the inverse of `encode`.

    Arguments:
        denoiser: the model.
        z: states at t = 1, shape (B, ...).
        solver: how the flow is solved; `DormandPrince()` if not given.
        cond: conditions by name, such as ``label`` of shape (B,).

    Reference: Song et al. 2021, Score-Based Generative Modeling through SDEs, App. D.2. arXiv:2011.13456
    """
    return _carried(denoiser, z, 1.0, denoiser.schedule.t_min, solver, cond)


def slerp(a: Tensor, b: Tensor, weight: float | Tensor) -> Tensor:
    """Spherical interpolation between latent codes, which keeps the length that noise has.

        sin((1 - c) ω)/sin ω a + sin(c ω)/sin ω b,   ω = the angle between a and b

    Arguments:
        a: codes at weight 0, shape (B, ...).
        b: codes at weight 1, shape (B, ...).
        weight: c, a number or shape (B,).

    Reference: Shoemake 1985, Animating Rotation with Quaternion Curves, section 3.3.
    """
    flat_a, flat_b = a.double().flatten(1), b.double().flatten(1)
    cosine = torch.nn.functional.cosine_similarity(flat_a, flat_b, dim=1).clamp(-1, 1)
    omega = torch.acos(cosine)
    c = torch.as_tensor(weight, dtype=torch.float64, device=a.device)
    near = (
        torch.sin(omega) < 1e-6
    )  # the same direction, where the ratio of sines is that of weights
    safe = torch.where(near, 1.0, omega)
    left = torch.where(near, 1 - c, torch.sin((1 - c) * safe) / torch.sin(safe))
    right = torch.where(near, c.expand_as(omega), torch.sin(c * safe) / torch.sin(safe))
    return expand(left, a) * a + expand(right, b) * b


def _basis(x: Tensor) -> list[Tensor]:
    """The unit vectors of a sample, each of the shape of one."""
    units = torch.eye(math.prod(x.shape[1:]), dtype=x.dtype, device=x.device)
    return [unit.reshape(x.shape[1:]).expand_as(x) for unit in units]


def _probes(x: Tensor, count: int, law: str, noise: Callable[[Tensor], Tensor]) -> list[Tensor]:
    drawn = [noise(x) for _ in range(count)]
    return drawn if law == "gaussian" else [torch.where(z < 0, -1.0, 1.0).to(x) for z in drawn]


def _standard_error(values: Tensor) -> Tensor:
    """Of the mean over the columns, shape (B,); one column cannot tell."""
    count = values.shape[1]
    if count == 1:
        return torch.full_like(values[:, 0], math.nan)
    return values.std(1) / math.sqrt(count)


def _turned(schedule: Schedule, x: Tensor, t: float) -> Tensor:
    """w = x/r, flat and in float64, in which the flow is solved whatever the network computes in."""
    flat = x.detach().double().flatten(1)
    return flat / expand(radius(schedule, t), flat)


def _state(schedule: Schedule, w: Tensor, t: Tensor | float, like: Tensor) -> Tensor:
    return (expand(radius(schedule, t), w) * w).to(like.dtype).reshape(like.shape)


def _flow(
    denoiser: Denoiser,
    start: Tensor,
    t: float,
    s: float,
    solver: Solver | None,
    norm: Callable[[Tensor], Tensor],
    slope: Slope,
) -> Progress:
    schedule, solver = denoiser.schedule, DormandPrince() if solver is None else solver
    if not isinstance(solver, Solver):
        raise InputError(
            f"solver must be one of the flow's equation, such as DormandPrince(), got {solver!r}"
        )
    return solver.solve(
        slope,
        start,
        log_angle(schedule, t),
        log_angle(schedule, s),
        norm=norm,
        clock=lambda log_theta: time_at(schedule, log_theta),
    )


def _carried(
    denoiser: Denoiser,
    x: Tensor,
    t: float,
    s: float,
    solver: Solver | None,
    cond: dict[str, Tensor | None],
) -> Tensor:
    check_states(x)
    schedule = denoiser.schedule

    @torch.no_grad()
    def slope(w: Tensor, log_theta: Tensor) -> Tensor:
        time = time_at(schedule, log_theta)
        x0 = denoiser(_state(schedule, w, time, x), time, **cond)
        check_finite(x0, time)
        return angular_slope(w, x0.flatten(1).double(), log_theta)

    start = _turned(schedule, x, t)
    return _state(schedule, _flow(denoiser, start, t, s, solver, root_mean_square, slope).x, s, x)


def _with_divergence(
    denoiser: Denoiser,
    like: Tensor,
    directions: list[Tensor],
    full: bool,
    cond: dict[str, Tensor | None],
) -> Slope:
    """The slope of w and of the log-determinants: ∇·dw/dlog θ = θ (D cos θ - r tr ∂x̂₀/∂x)/sin θ."""
    schedule, dim = denoiser.schedule, like[0].numel()

    def slope(state: Tensor, log_theta: Tensor) -> Tensor:
        w, time = state[:, :dim], time_at(schedule, log_theta)
        with torch.enable_grad():
            x = _state(schedule, w, time, like).requires_grad_()
            x0 = denoiser(x, time, **cond)
            check_finite(x0, time)
            traces = torch.stack([_quadratic(x0, x, e) for e in directions], 1)
        x0, traces = x0.detach().flatten(1).double(), traces.double()
        squares = torch.stack([e.flatten(1).double().square().sum(1) for e in directions], 1)
        if full:
            traces, squares = traces.sum(1, keepdim=True), squares.sum(1, keepdim=True)
        theta = torch.exp(log_theta)[:, None]
        traces = radius(schedule, time)[:, None] * traces
        growth = theta / torch.sin(theta) * (torch.cos(theta) * squares - traces)
        return torch.cat([angular_slope(w, x0, log_theta), growth], 1)

    return slope


def _quadratic(x0: Tensor, x: Tensor, e: Tensor) -> Tensor:
    """eᵀ (∂x̂₀/∂x) e of each sample, by one backward pass."""
    (pulled,) = torch.autograd.grad(x0, x, e, retain_graph=True)
    return (pulled * e).flatten(1).sum(1)
