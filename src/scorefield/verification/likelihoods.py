"""Likelihoods: the probability flow's, the variational bound's and the integral over noise levels.

The flow's log-likelihood is integrated here, with a fixed fourth-order method and exact divergences, so
that the claims are about the denoiser and its schedule and not about a solver.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP
from scorefield.samplers.base import posterior_step
from scorefield.samplers.grids import UniformLogSNR
from scorefield.verification.claims import Claim, Place
from scorefield.verification.flows import line
from scorefield.verification.problems import (
    SMOOTH,
    clock,
    gaussian,
    mixture,
    states,
    wide_mixture,
)
from scorefield.verification.schedules import runge_kutta


def divergence(denoiser: Denoiser, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """The flow's velocity (B, D) and its exact divergence (B,), by one backward derivative.

    The states are repeated once for each axis, and of each copy the velocity along its own is asked.
    """
    count, dim = x.shape
    axes = torch.eye(dim, dtype=x.dtype, device=x.device).repeat_interleave(count, 0)
    with torch.enable_grad():
        copies = x.detach().repeat(dim, 1).requires_grad_()
        velocity = denoiser.velocity(copies, t)
        (pulled,) = torch.autograd.grad(velocity, copies, axes)
    along = (pulled * axes).sum(1).reshape(dim, count)
    return velocity[:count].detach(), along.sum(0)


def flow_log_prob(
    denoiser: MixtureDenoiser | GaussianDenoiser, x: Tensor, steps: int, end: float = 0.9
) -> Tensor:
    """log p at t_min along the flow: log p_end(x_end) + ∫ ∇·v dt, with p_end exact.

    Fourth-order Runge-Kutta in equal steps of log-SNR, from t_min up to ``end``.
    """

    def rate(t: Tensor, state: Tensor) -> Tensor:
        velocity, change = divergence(denoiser, state[:, :-1], t)
        return torch.cat([velocity, change[:, None]], dim=1)

    times = UniformLogSNR().times(denoiser.schedule, steps + 1, end).flip(0)
    state = torch.cat([x, torch.zeros_like(x[:, :1])], dim=1)
    with torch.no_grad():
        for t, s in pairwise(times):
            state = runge_kutta(rate, state, t, s)
    return denoiser.log_prob(state[:, :-1], end) + state[:, -1]


def gaussian_likelihood(path: Schedule, place: Place, steps: int = 80) -> float:
    """The error in nats for Gaussian data, extrapolated with order 4 from ``steps`` and twice those."""
    denoiser = gaussian(path, place.double)
    x = states(denoiser, place.double, path.t_min)
    coarse, fine = (flow_log_prob(denoiser, x, n) for n in (steps, 2 * steps))
    exact = denoiser.log_prob(x, path.t_min)
    return float(((16 * fine - coarse) / 15 - exact).abs().max())


def mixture_likelihood(path: Schedule, place: Place) -> float:
    """The error in nats for a mixture in the plane."""
    denoiser = mixture(path, place.double)
    x = states(denoiser, place.double, path.t_min)
    exact = denoiser.log_prob(x, path.t_min)
    return float((flow_log_prob(denoiser, x, 50) - exact).abs().max())


def wide_likelihood(dim: int, place: Place) -> float:
    """The error in nats for a mixture of three Gaussians in many dimensions, on VP."""
    denoiser = wide_mixture(dim, place)
    x = place.double.tensor(denoiser.draw(4, torch.Generator().manual_seed(dim)))
    exact = denoiser.log_prob(x, VP().t_min)
    return float((flow_log_prob(denoiser, x, 60) - exact).abs().max())


def roll_likelihood(place: Place) -> float:
    """The error in nats for 400 Gaussians along a Swiss roll."""
    u = torch.linspace(0, 1, 400, dtype=torch.float64)
    angle = 1.5 * math.pi * (1 + 2 * u)
    curve = torch.stack([angle * torch.cos(angle), angle * torch.sin(angle)], dim=1) / 8
    spread = (0.03**2 * torch.eye(2, dtype=torch.float64)).expand(400, 2, 2)
    denoiser = place.put(MixtureDenoiser(VP(), torch.ones(400), curve, spread))
    x = place.double.tensor(denoiser.draw(8, torch.Generator().manual_seed(0)))
    with torch.no_grad():
        exact = denoiser.log_prob(x, VP().t_min)
    return float((flow_log_prob(denoiser, x, 100) - exact).abs().max())


def prior_mismatch(place: Place) -> float:
    """What ending the flow in N(0, σ(1)²) costs on VP, in nats: KL(p_1 ‖ prior), closed form."""
    denoiser = gaussian(VP(), place.double)
    alpha, sigma = VP()(1.0)
    variances = alpha**2 * denoiser.mixture.variances[0].cpu() + sigma**2
    mean = alpha * denoiser.mixture.means[0].cpu()
    ratio = variances / sigma**2
    return float(0.5 * (ratio - 1 - ratio.log() + mean**2 / sigma**2).sum())


# Ho et al.'s chain with few steps, for data N(0.4, 0.6).
CHAIN = DDPM(30, LinearBetas(3e-3, 0.4))
MEAN, VARIANCE = 0.4, 0.6


def discrete_bound(place: Place) -> float:
    """The variational bound of a chain with exact reverse kernels against -log p(x₁), pointwise.

    Reverse kernels of Gaussian data are Gaussian: mean that of the posterior step with x̂₀, variance
    that of the step plus (∂x_s/∂x̂₀)² Var[x₀ | x_t]. Var[x₀ | x_t] = (σ²/α) ∂x̂₀/∂x.
    """
    denoiser = place.put(GaussianDenoiser(CHAIN, torch.tensor([MEAN]), torch.tensor([[VARIANCE]])))
    x = place.double.tensor([[-1.5], [0.1], [0.7], [2.0]])
    bound = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    steps = CHAIN.steps
    for i in range(steps, 2, -1):
        bound = bound + _kl(*_kernels(denoiser, x, clock(i / steps), clock((i - 1) / steps)))
    alpha, sigma = _span(clock(1 / steps), clock(1.0), x)
    top_alpha, top_sigma = (v.to(x.device) for v in CHAIN(1.0))
    top = top_alpha**2 * VARIANCE + top_sigma**2
    off = (alpha * x[:, 0] - top_alpha * MEAN) ** 2
    bound = bound + _kl(sigma**2, top, off)  # of q(x_T | x_1) to the exact p_T
    # The last kernel ends in x itself: its -log p takes the place of the KL.
    variance, off = _kernels(denoiser, x, clock(2 / steps), clock(1 / steps))[1:]
    bound = bound + 0.5 * (torch.log(2 * math.pi * variance) + off / variance)
    return float((bound + denoiser.log_prob(x, 1 / steps)).abs().max())


def _span(s: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and standard deviation of q(x_t | x_s)."""
    (alpha_s, sigma_s), (alpha_t, sigma_t) = CHAIN(s), CHAIN(t)
    factor = alpha_t / alpha_s
    spread = torch.sqrt((sigma_t**2 - (factor * sigma_s) ** 2).clamp(min=0))
    return factor.to(like.device), spread.to(like.device)


def _kl(variance: Tensor, other: Tensor, apart_squared: Tensor) -> Tensor:
    """KL(N(·, variance) ‖ N(·, other)) with the squared distance of the means."""
    ratio = variance / other
    return 0.5 * (ratio - 1 - torch.log(ratio) + apart_squared / other)


def _kernels(
    denoiser: GaussianDenoiser, x: Tensor, t: Tensor, s: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The variances of q(x_s | x_t, x) and of p(x_s | x_t), and E‖difference of their means‖² over
    q(x_t | x), shape (B,), for x at the first knot.
    """
    first = clock(1 / CHAIN.steps)
    factor, spread = _span(first, t, x)  # q(x_t | x)
    near, near_spread = _span(first, s, x)  # q(x_s | x)
    ratio, between = _span(s, t, x)  # q(x_t | x_s)
    variance = (near_spread * between / spread) ** 2  # of q(x_s | x_t, x)

    def apart(
        z: float,
    ) -> Tensor:  # the distance of the two means, affine in x_t = factor x + spread z
        noisy = factor * x + spread * z
        mean = (ratio * noisy * near_spread**2 + near * x * between**2) / spread**2
        step = posterior_step(CHAIN, noisy, denoiser(noisy, t), t, s, 1.0, torch.zeros_like)
        return (mean - step)[:, 0]

    level, slope = apart(0.0), apart(1.0) - apart(0.0)
    return variance, _reverse_variance(denoiser, x, t, s), level**2 + slope**2


def _reverse_variance(denoiser: GaussianDenoiser, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The variance of x_s given x_t for the data of the denoiser."""
    one = torch.ones_like(x)
    zeros = torch.zeros_like(x)
    step = [posterior_step(CHAIN, zeros, v, t, s, 1.0, torch.ones_like) for v in (zeros, one)]
    spread, lever = step[0][0, 0], (step[1] - step[0])[0, 0]
    alpha, sigma = (v.to(x.device) for v in CHAIN(t))
    tangent: Tensor = torch.func.jvp(lambda x: denoiser(x, t), (x,), (one,))[1]
    return spread**2 + lever**2 * (sigma**2 / alpha * tangent[0, 0])


def information(place: Place) -> float:
    """Entropy from the error at all noise levels against entropy from log p, in nats.

    h = ½ log 2πe - ½ ∫ [ 1/(1 + snr) - mmse(snr) ] dsnr
    """
    denoiser = line(VE(1e-3, 1e3), place.double)
    log_snr = torch.linspace(-2 * math.log(1e3), 2 * math.log(1e3), 801, dtype=torch.float64)
    gaps = []
    for value in log_snr:
        snr = float(value.exp())
        gaps.append(snr * (1 / (1 + snr) - _mmse(denoiser, 1 / math.sqrt(snr))))
    integral = float(torch.trapezoid(torch.tensor(gaps, dtype=torch.float64), log_snr))
    x = place.double.tensor(torch.linspace(-6, 6, 4001, dtype=torch.float64))[:, None]
    log_prob = denoiser.log_prob(x, 0.0)  # smoothed by 1e-3
    entropy = -float(torch.trapezoid(log_prob.exp() * log_prob, x[:, 0]))
    return 0.5 * math.log(2 * math.pi * math.e) - 0.5 * integral - entropy


def _mmse(denoiser: MixtureDenoiser, sigma: float) -> float:
    """E|x̂₀ - x₀|² = E|x₀|² - E|x̂₀|² of the data of `line`, by the trapezoidal rule over x."""
    t = denoiser.schedule.time(-2 * math.log(sigma))
    reach = 6 + 8 * sigma
    grid = torch.linspace(-reach, reach, 2001, dtype=torch.float64)
    x = grid.to(denoiser.means.device)[:, None]
    density = denoiser.log_prob(x, t).exp()
    second = float(
        (denoiser.log_weights.exp() * (denoiser.means[:, 0] ** 2 + denoiser.variances[:, 0])).sum()
    )
    return second - float(torch.trapezoid(density * denoiser(x, t)[:, 0] ** 2, x[:, 0]))


def hutchinson(correlated: bool, place: Place) -> float:
    """zᵀ (∂v/∂x) z against the exact divergence: one probe where the Jacobian is diagonal, and the
    mean over all four sign vectors of the plane where it is not.
    """
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    covariance = covariance if correlated else torch.diag(covariance.diagonal())
    denoiser = place.put(GaussianDenoiser(VP(), torch.zeros(2), covariance))
    t, x = clock(0.4), place.double.normal(8, 2)
    _, exact = divergence(denoiser, x, t)
    signs = [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] if correlated else [(1.0, -1.0)]
    probes = []
    for sign in signs:
        z = x.new_tensor(sign).expand_as(x).contiguous()
        slope = torch.func.jvp(lambda x: denoiser.velocity(x, t), (x,), (z,))[1]
        probes.append((z * slope).sum(1))
    return float((torch.stack(probes).mean(0) - exact).abs().max())


CLAIMS = (
    *(
        Claim(
            f"{kind}: likelihood of Gaussian data, nats",
            "Song et al. 2021, eq. 39",
            partial(gaussian_likelihood, path, steps=30 if kind == "vp" else 80),
            1e-6,
            slow=kind != "vp",
        )
        for kind, path in SMOOTH.items()
    ),
    *(
        Claim(
            f"{kind}: likelihood of a mixture, nats",
            "Song et al. 2021, eq. 39",
            partial(mixture_likelihood, path),
            1e-3,
            slow=kind not in ("vp", "subvp", "ve"),
        )
        for kind, path in SMOOTH.items()
    ),
    *(
        Claim(
            f"vp: likelihood of a mixture in {dim} dimensions, nats",
            "Song et al. 2021, eq. 39",
            partial(wide_likelihood, dim),
            1e-3,
            slow=True,
        )
        for dim in (16, 64)
    ),
    Claim(
        "vp: likelihood of a Swiss roll, nats",
        "400 Gaussians on the curve",
        roll_likelihood,
        1e-3,
        slow=True,
    ),
    Claim("vp: the prior's mismatch, nats", "KL of two Gaussians", prior_mismatch, 1e-4),
    Claim(
        "chain: bound is -log p for Gaussian data", "Ho et al. 2020, eq. 5", discrete_bound, 1e-10
    ),
    Claim(
        "entropy from denoising errors, nats", "Guo, Shamai & Verdú 2005, eq. 1", information, 2e-3
    ),
    Claim(
        "one sign probe is exact, diagonal Jacobian",
        "Hutchinson 1990",
        partial(hutchinson, False),
        1e-10,
    ),
    Claim(
        "sign probes average to the divergence", "Hutchinson 1990", partial(hutchinson, True), 1e-10
    ),
)
