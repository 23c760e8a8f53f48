"""Laws: every stochastic sampler of the catalog ends in the law of the data."""

from __future__ import annotations

import math
from collections import deque
from functools import partial

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP, Flow, SubVP
from scorefield.samplers.base import Sampler, trajectory
from scorefield.samplers.grids import UniformLogSNR, UniformTime
from scorefield.samplers.noise import Noise, unseeded
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector
from scorefield.verification.claims import Claim, Place
from scorefield.verification.problems import every_sampler, gaussian, mixture, on_grid


def affine_law(
    denoiser: GaussianDenoiser, sampler: Sampler, steps: int, place: Place
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of a sampler's last state, for Gaussian data: exact, no Monte Carlo."""
    mean, off = affine_map(denoiser, sampler, steps, place)
    return mean, off.T @ off


def affine_map(
    denoiser: GaussianDenoiser, sampler: Sampler, steps: int, place: Place
) -> tuple[Tensor, Tensor]:
    """A sampler's last state as its mean and what each independent number adds to it, (N, D).

    For Gaussian data every sampler is an affine map of its start and of its noise. Row 0 starts at
    the exact mean without noise, the next D rows a standard deviation off along each axis of the
    data, and each further row gets one unit of one number of one call for noise.
    """
    path, mean = denoiser.schedule, denoiser.mixture.means[0]
    variances, basis = denoiser.mixture.variances[0], denoiser.mixture.basis[0]
    dim = len(mean)
    alpha, sigma = (v.to(place.device) for v in path(1.0))
    centre = (alpha * mean)[None]
    rows = 1 + dim + dim * _calls(denoiser, sampler, steps, centre)
    x = centre.repeat(rows, 1)
    x[1 : dim + 1] += torch.sqrt(alpha**2 * variances + sigma**2)[:, None] * basis.T
    called = iter(range(rows))

    def unit(state: Tensor) -> Tensor:
        z = torch.zeros_like(state)
        first = 1 + dim + dim * next(called)
        z[first : first + dim] = torch.eye(dim, dtype=z.dtype, device=z.device)
        return z

    (last,) = deque(trajectory(denoiser, x, sampler, steps, noise=unit), maxlen=1)
    return last.x[0], last.x[1:] - last.x[0]


def _calls(denoiser: GaussianDenoiser, sampler: Sampler, steps: int, x: Tensor) -> int:
    """How often a sampler asks for noise."""
    calls = 0

    def none(state: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros_like(state)

    deque(trajectory(denoiser, x, sampler, steps, noise=none), maxlen=0)
    return calls


def law_errors(sampler: Sampler, path: Schedule, steps: int, place: Place) -> tuple[Tensor, Tensor]:
    """Mean and covariance at the end of the grid, less the exact ones, in exact standard deviations."""
    denoiser = gaussian(path, place.double)
    mean, covariance = affine_law(denoiser, sampler, steps, place.double)
    alpha, sigma = (v.to(place.device) for v in path(path.t_min))
    variances, basis = denoiser.mixture.variances[0], denoiser.mixture.basis[0]
    white = basis / torch.sqrt(
        alpha**2 * variances + sigma**2
    )  # columns: the axes, in units of 1/std
    identity = torch.eye(len(mean), dtype=mean.dtype, device=mean.device)
    off = (mean - alpha * denoiser.mixture.means[0]) @ white
    return off, white.T @ covariance @ white - identity


def law_in_the_limit(sampler: Sampler, path: Schedule, place: Place) -> float:
    """The error of mean and covariance that an extrapolation of order 1 from 60 to 120 steps leaves."""
    sampler = on_grid(sampler, grid=UniformLogSNR())
    coarse, fine = (law_errors(sampler, path, n, place) for n in (61, 121))
    return max(float((2 * f - c).abs().max()) for c, f in zip(coarse, fine, strict=True))


def spread_of_many(sampler: Sampler, path: Schedule, place: Place, n: int = 4000) -> float:
    """How far the standard deviation of Gaussian data is from the exact one, relative to it.

    In one dimension, where a step that is kept for its noise shows most; of n samples it is known to
    1/√(2n), 1.1 %.
    """
    spread = 0.25 * torch.eye(1, dtype=torch.float64)
    denoiser = place.put(GaussianDenoiser(path, torch.zeros(1), spread))
    alpha, sigma = (float(v) for v in path(1.0))
    x = math.hypot(0.5 * alpha, sigma) * place.normal(n, 1, seed=9)
    noise: Noise = unseeded(torch.Generator().manual_seed(7))
    (last,) = deque(trajectory(denoiser, x, sampler, 2, noise=noise), maxlen=1)
    alpha, sigma = (float(v) for v in path(last.t))
    return abs(float(last.x.double().std()) / math.hypot(0.5 * alpha, sigma) - 1)


def law_by_count(sampler: Sampler, place: Place, n: int = 4000, steps: int = 80) -> float:
    """The largest deviation from a mixture's law in standard errors, beyond what steps may do.

    Modes at ±1.5 with weights 0.8 and 0.2 and standard deviation 0.3, on the straight path. The
    discretization may move a mode's mean by 0.01 and its variance by 5 %.
    """
    path = Flow()
    weights, centres = torch.tensor([0.8, 0.2]), torch.tensor([[1.5], [-1.5]])
    spread = torch.full((2, 1, 1), 0.09, dtype=torch.float64)
    denoiser = place.put(MixtureDenoiser(path, weights, centres, spread))
    noise: Noise = unseeded(torch.Generator().manual_seed(7))
    walk = trajectory(denoiser, place.normal(n, 1, seed=8), sampler, steps, noise=noise)
    (last,) = deque(walk, maxlen=1)
    alpha, sigma = (float(v) for v in path(last.t))
    x, right = last.x.double(), last.x > 0
    share = float(right.double().mean())
    found = [abs(share - 0.8) / math.sqrt(0.8 * 0.2 / n)]
    variance = alpha**2 * 0.09 + sigma**2
    if min(int(right.sum()), int((~right).sum())) < 2:
        return math.inf  # a mode without samples
    for mode, centre in ((x[right], 1.5), (x[~right], -1.5)):
        apart = abs(float(mode.mean()) - alpha * centre) - 0.01
        found.append(apart / math.sqrt(variance / len(mode)))
        apart = abs(float(mode.var()) / variance - 1) - 0.05
        found.append(apart / math.sqrt(2 / len(mode)))
    return max(found)


def energy_share(sampler: Sampler, place: Place, n: int = 400) -> float:
    """The energy distance of samples to exact draws over the 99 % quantile of 199 relabelings."""
    denoiser = mixture(VP(), place)
    return energy_to_law(sampler, denoiser, denoiser, place, n, 9)


def energy_to_law(
    sampler: Sampler, denoiser: Denoiser, law: MixtureDenoiser, place: Place, n: int, seed: int
) -> float:
    """The same of a denoiser's samples and draws of a law, after 200 even steps of log-SNR."""
    path, generator = denoiser.schedule, torch.Generator().manual_seed(seed)
    sampler = on_grid(sampler, grid=UniformLogSNR())
    start = place.tensor(float(path(1.0)[1]) * place.normal(n, 2, seed=seed + 1))
    walk = trajectory(denoiser, start, sampler, 200, noise=unseeded(generator))
    (last,) = deque(walk, maxlen=1)
    alpha, sigma = (float(v) for v in path(last.t))
    fresh = place.double.normal(n, 2, seed=seed + 2).cpu()
    both = torch.cat([last.x.double().cpu(), alpha * law.draw(n, generator) + sigma * fresh])
    apart = torch.cdist(both, both)
    sign = torch.cat([torch.ones(n), -torch.ones(n)]).double()
    orders = [torch.randperm(2 * n, generator=generator) for _ in range(199)]
    signs = torch.stack([sign, *(sign[o] for o in orders)])
    energy = -(signs @ apart * signs).sum(1)  # n² times the energy distance
    return float(energy[0] / energy[1:].quantile(0.99))


def weak_order(place: Place) -> float:
    """The order in which Euler-Maruyama's variance meets the exact one, on VP in equal steps of time."""
    sampler = EulerMaruyama(UniformTime())
    coarse, fine = (law_errors(sampler, VP(), n, place)[1].norm() for n in (401, 801))
    return float(torch.log2(coarse / fine))


def langevin_law(snr: float, place: Place) -> float:
    """The variance a Langevin corrector settles at over that of unadjusted Langevin, less 1.

    x ← (1 - δ/v) x + √(2δ) z settles at v/(1 - δ/2v), δ = 2 (snr σ)²; data nearly a point make v = σ².
    """
    path, steps = VE(0.5, 50.0), 600
    point = torch.zeros(1, dtype=torch.float64)
    denoiser = place.put(GaussianDenoiser(path, point, torch.full((1, 1), 1e-8)))
    sampler = PredictorCorrector(corrector_steps=steps, snr=snr)
    _, covariance = affine_law(denoiser, sampler, 2, place.double)
    v, delta = 0.25 + 1e-8, 2 * (snr * 0.5) ** 2
    return float(covariance) / (v / (1 - delta / (2 * v))) - 1


def corrector_keeps_law(place: Place) -> float:
    """How far 20 corrector steps move the exact law: the covariance's change, relative to itself.

    On a mixture, 20 000 exact states; unadjusted Langevin steps leave a bias of about δ/2v.
    """
    path, steps, n, snr = VE(0.5, 50.0), 20, 20_000, 0.1
    denoiser, generator = mixture(path, place), torch.Generator().manual_seed(2)
    sampler = PredictorCorrector(corrector_steps=steps, snr=snr)
    exact = denoiser.draw(n, generator)
    x = place.tensor(exact + 0.5 * place.double.normal(n, 2, seed=12).cpu())
    start = float(path.time(-2 * math.log(0.5001)))
    walk = trajectory(denoiser, x, sampler, 2, start=start, noise=unseeded(generator))
    (last,) = deque(walk, maxlen=1)
    before, after = torch.cov(x.double().T), torch.cov(last.x.double().T)
    return float((after - before).norm() / before.norm())


def _laws(kind: str, path: Schedule, *, slow: bool) -> list[Claim]:
    return [
        Claim(
            f"{name} on {kind}: mean and covariance of the data",
            "affine map of start and noise",
            partial(law_in_the_limit, sampler, path),
            0.03,
            slow=slow,
        )
        for name, sampler in every_sampler(stochastic=True)
        if sampler.evaluations_per_step  # one that chooses its steps by its noise is no affine map
    ]


CLAIMS = (
    *_laws("vp", VP(), slow=False),
    *_laws("flow", Flow(), slow=True),
    *_laws("subvp", SubVP(), slow=True),
    *_laws("ve", VE(), slow=True),
    *(
        Claim(
            f"{name} on {kind}: spread of Gaussian data",
            "4000 samples; 3 standard errors and 1 %",
            partial(spread_of_many, sampler, path),
            0.045,
            slow=kind != "vp",
        )
        for name, sampler in every_sampler(stochastic=True)
        for kind, path in (("vp", VP()), ("ve", VE()), ("flow", Flow()))
        if not sampler.evaluations_per_step
    ),
    *(
        Claim(
            f"{name}: weights, means, variances of two modes",
            "4000 samples; 5 standard errors",
            partial(law_by_count, sampler),
            5.0,
        )
        for name, sampler in every_sampler(stochastic=True)
    ),
    *(
        Claim(
            f"{name}: energy test against exact draws",
            "Székely & Rizzo 2013; 99 % of relabelings",
            partial(energy_share, sampler),
            1.0,
            slow=True,
        )
        for stochastic in (True, False)
        for name, sampler in every_sampler(stochastic=stochastic)
    ),
    Claim(
        "euler-maruyama: weak order 1",
        "Kloeden & Platen 1992, 14.1",
        weak_order,
        0.1,
        expected=1,
        slow=True,
    ),
    *(
        Claim(
            f"corrector of snr {snr} settles at v/(1 - δ/2v)",
            "unadjusted Langevin, exact",
            partial(langevin_law, snr),
            1e-6,
        )
        for snr in (0.16, 0.3)
    ),
    Claim(
        "corrector leaves a mixture's law, 20 steps",
        "Song et al. 2021, Algorithms 4 and 5",
        corrector_keeps_law,
        0.03,
    ),
)
