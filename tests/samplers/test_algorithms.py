"""Each sampler against its paper's algorithm, written out here with the same noise."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.schedules import VE, VP, Flow
from scorefield.recipes.catalog import SAMPLERS
from scorefield.samplers.ancestral import DDIM, Ancestral
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.exponential import DPMSolverPP, SDEDPMSolverPP
from scorefield.samplers.flow import Euler, Heun
from scorefield.samplers.grids import Karras, Knots, UniformLogSNR, UniformTime
from scorefield.samplers.noise import unseeded
from scorefield.samplers.runge_kutta import DormandPrinceFlow
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector, ReverseDiffusion


def replay(seed=5):
    """The same noise each time it is made."""
    return unseeded(torch.Generator().manual_seed(seed))


def at(t):
    return torch.tensor(float(t), dtype=torch.float64)


def states(denoiser, x, sampler, steps):
    """All states of a walk and its sample, as one tensor."""
    run = list(trajectory(denoiser, x, sampler, steps, noise=replay()))
    return torch.stack([step.x for step in run] + [run[-1].x0])


def close(got, expected, tolerance=1e-12):
    """Equal relative to the largest state, which on exploding paths is large."""
    return bool((got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1))


CHAIN = 25
BETA = np.linspace(4e-3, 0.5, CHAIN)


@pytest.mark.parametrize(
    ("sampler", "large"),
    [
        (DDIM(Knots(CHAIN), eta=1.0), False),
        (Ancestral(Knots(CHAIN)), False),
        (Ancestral(Knots(CHAIN), variance="large"), True),
    ],
    ids=["ddim", "small", "large"],
)
def test_knots_give_the_published_chain(sampler, large, mixture, normal):
    """Ho et al. 2020, Algorithm 2 with eq. 7: posterior mean, β̃ or β, and no noise at the end."""
    denoiser, x = mixture(DDPM(CHAIN, LinearBetas(4e-3, 0.5))), normal(6, 2)
    bar = np.cumprod(1 - BETA)
    z, y, expected = replay(), x, [x]
    for i in range(CHAIN - 1, 0, -1):  # x_{i+1} → x_i in the paper's count
        x0 = denoiser(y, at((i + 1) / CHAIN))
        mean = math.sqrt(bar[i - 1]) * BETA[i] / (1 - bar[i]) * x0
        mean = mean + math.sqrt(1 - BETA[i]) * (1 - bar[i - 1]) / (1 - bar[i]) * y
        variance = BETA[i] if large else (1 - bar[i - 1]) / (1 - bar[i]) * BETA[i]
        y = mean + math.sqrt(variance) * z(y)
        expected.append(y)
    expected.append(denoiser(y, at(1 / CHAIN)))
    assert close(states(denoiser, x, sampler, CHAIN), torch.stack(expected))


def test_ancestral_is_ddim_with_full_noise(schedule, mixture, normal):
    denoiser, x = mixture(schedule), normal(4, 2)
    ancestral, ddim = (states(denoiser, x, s, 8) for s in (Ancestral(), DDIM(eta=1.0)))
    assert torch.equal(ancestral, ddim)


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_ddim_is_its_papers_step(eta, mixture, normal):
    """Song et al. 2021 (arXiv:2010.02502) eq. 12 and 16, in ᾱ = α²."""
    denoiser, x, path = mixture(VP()), normal(4, 2), VP()
    times, z, y, expected = UniformTime().times(path, 9), replay(), x, [x]
    for t, s in pairwise(times):
        (bar_t, bar_s), x0 = (path.alpha(v) ** 2 for v in (t, s)), denoiser(y, t)
        eps = (y - bar_t.sqrt() * x0) / (1 - bar_t).sqrt()
        spread = eta * torch.sqrt((1 - bar_s) / (1 - bar_t) * (1 - bar_t / bar_s))
        y = bar_s.sqrt() * x0 + torch.sqrt(1 - bar_s - spread**2) * eps
        y = y + spread * z(y) if eta else y
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    assert close(states(denoiser, x, DDIM(eta=eta), 9), torch.stack(expected), 1e-10)


@pytest.mark.parametrize("grid", [UniformTime(), UniformLogSNR(), Karras()], ids=repr)
def test_ddim_is_dpm_solver_of_first_order(schedule, grid, mixture, normal):
    denoiser = mixture(schedule)
    x = schedule.sigma(at(1)) * normal(4, 2)
    ddim, solver = (states(denoiser, x, s, 8) for s in (DDIM(grid), DPMSolverPP(grid, order=1)))
    assert close(ddim, solver)


def test_stochastic_solver_of_first_order_is_ddim_with_full_noise(schedule, mixture, normal):
    """Lu et al. 2022 (DPM-Solver++), section 6: SDE-DPM-Solver++1 is DDIM with η = 1."""
    denoiser, grid = mixture(schedule), UniformLogSNR()
    x = schedule.sigma(at(1)) * normal(4, 2)
    solver = states(denoiser, x, SDEDPMSolverPP(grid, order=1), 8)
    assert close(solver, states(denoiser, x, DDIM(grid, eta=1.0), 8))


def test_euler_on_the_straight_path_is_rectified_flow(mixture, normal):
    """Liu et al. 2023: x ← x + Δt v with v = E[x₁ - x₀ | x], here noise minus data, (x - x̂₀)/t."""
    denoiser, x, steps = mixture(Flow()), normal(4, 2), 10
    times, y, expected = np.linspace(1, 1e-3, steps), x, [x]
    for t, s in pairwise(times):
        y = y + (s - t) * (y - denoiser(y, at(t))) / t
        expected.append(y)
    expected.append(denoiser(y, at(times[-1])))
    assert close(states(denoiser, x, Euler(), steps), torch.stack(expected), 1e-11)


def test_euler_follows_the_probability_flow(schedule, gaussian, normal):
    """One step of size 0.1 by dx = (f x - ½ g² ∇log p) dt, from t = 0.6."""
    denoiser, x = gaussian(schedule), normal(4, 2)
    times = UniformTime().times(schedule, 5, 0.6)
    run = list(trajectory(denoiser, x, Euler(), 5, start=0.6))
    t, f, g = times[0], schedule.drift(times[0]), schedule.diffusion(times[0])
    expected = x + (times[1] - t) * (f * x - 0.5 * g**2 * denoiser.score(x, t))
    assert torch.allclose(run[1].x, expected, rtol=1e-9, atol=1e-10)


# S_churn, S_tmin, S_tmax, S_noise: none, a little, and the two columns of Karras et al.'s table 5
# for CIFAR-10 and ImageNet-64.
CHURN = {
    "deterministic": (0, 0, math.inf, 1),
    "mild": (4, 0.05, 50, 1),  # γ = 4/18, below its cap of √2 - 1
    "cifar": (30, 0.01, 1, 1.007),
    "imagenet": (40, 0.05, 50, 1.003),
}


@pytest.mark.parametrize(("churn", "low", "high", "scale"), CHURN.values(), ids=CHURN.keys())
def test_heun_is_edms_algorithm_2(churn, low, high, scale, mixture, normal):
    """Karras et al. 2022 (arXiv:2206.00364), eq. 5 and Algorithm 2, σ from 80 to 0.002, 18 steps."""
    path, steps = VE(0.002, 80.0), 18
    denoiser, x = mixture(path), 80 * normal(4, 2)
    evaluations, z = [], replay()

    def denoise(y, sigma):
        evaluations.append(sigma)
        return denoiser(y, at(math.log(sigma / 0.002) / math.log(80 / 0.002)))

    i = np.arange(steps)
    levels = (80 ** (1 / 7) + i / (steps - 1) * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    y = x
    for now, following in pairwise([*levels, 0.0]):
        gamma = min(churn / steps, math.sqrt(2) - 1) if low <= now <= high else 0
        raised = now + gamma * now
        if gamma > 0:
            y = y + math.sqrt(raised**2 - now**2) * scale * z(y)
        slope = (y - denoise(y, raised)) / raised
        guess = y + (following - raised) * slope
        if following != 0:
            after = (guess - denoise(guess, following)) / following
            guess = y + (following - raised) * (slope + after) / 2
        y = guess
    sampler = Heun(churn=churn, churn_min=low, churn_max=high, churn_noise=scale)
    counted = Counting(denoiser)
    got = sample(counted, x, sampler, steps, noise=replay())
    assert torch.allclose(got, y, rtol=0, atol=1e-9)
    assert counted.calls == len(evaluations) == 35


class Counting(torch.nn.Module):
    """A denoiser that counts its evaluations."""

    def __init__(self, denoiser):
        super().__init__()
        self.denoiser, self.calls = denoiser, 0
        self.schedule, self.moments = denoiser.schedule, denoiser.moments

    def forward(self, x, t):
        self.calls += 1
        return self.denoiser(x, t)


@pytest.mark.parametrize(
    "sampler",
    [
        *(kind() for kind in SAMPLERS.values() if kind().evaluations_per_step > 0),
        PredictorCorrector(corrector_steps=0),
        PredictorCorrector(corrector_steps=3),
        PredictorCorrector(predictor=Heun(), corrector_steps=2),
        PredictorCorrector(predictor=DormandPrinceFlow()),
        DPMSolverPP(order=3),
    ],
    ids=repr,
)
def test_evaluations_are_as_many_as_declared(sampler, mixture, normal):
    counted = Counting(mixture(VP()))
    sample(counted, normal(3, 2), sampler, 7)
    declared = sampler.evaluations_per_step * 6 + sampler.extra_evaluations + 1
    # 0 is declared by those that choose their own times: as many as it takes.
    assert counted.calls == declared or (sampler.evaluations_per_step == 0 and counted.calls > 2)


def half_log_snr(path, t):
    alpha, sigma = path(t)
    return torch.log(alpha) - torch.log(sigma)


@pytest.mark.parametrize("path", [VP(), VE()], ids=["vp", "ve"])
def test_second_order_solver_is_its_papers_algorithm(path, mixture, normal):
    """Lu et al. 2022 (arXiv:2211.01095), Algorithm 2, in its own symbols."""
    denoiser, x = mixture(path), path.sigma(at(1)) * normal(4, 2)
    times = UniformTime().times(path, 8)
    lam, buffer, y, expected = [half_log_snr(path, t) for t in times], [], x, [x]
    for i in range(1, len(times)):
        (_, sigma_t), (alpha_s, sigma_s) = path(times[i - 1]), path(times[i])
        buffer.append(denoiser(y, times[i - 1]))
        h, data = lam[i] - lam[i - 1], buffer[-1]
        if i > 1:
            r = (lam[i - 1] - lam[i - 2]) / h
            data = (1 + 1 / (2 * r)) * buffer[-1] - 1 / (2 * r) * buffer[-2]
        y = sigma_s / sigma_t * y - alpha_s * (torch.exp(-h) - 1) * data
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, DPMSolverPP(UniformTime(), order=2), 8)
    assert close(got, torch.stack(expected), 1e-11)


def integrated(lams, values, start, end, rate):
    """∫ e^{rate (λ - end)} P(λ) dλ, P through the values, by Lagrange and 24-point quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    lam = start + (end - start) * (nodes + 1) / 2
    kernel = weights * (end - start) / 2 * np.exp(rate * (lam - end))
    total = 0
    for j, value in enumerate(values):
        others = [k for k in range(len(values)) if k != j]
        basis = np.prod([(lam - lams[k]) / (lams[j] - lams[k]) for k in others], axis=0)
        total = total + float((kernel * basis).sum()) * value
    return total


@pytest.mark.parametrize("eta", [0.0, 1.0, 0.5])
def test_third_order_solver_integrates_its_polynomial(eta, mixture, normal):
    """x_s = (σ_s/σ_t) e^{-ηh} x + α_s (1 + η) ∫ e^{(1+η)(λ-λ_s)} P dλ + σ_s √(1 - e^{-2ηh}) z."""
    path, grid = VP(), UniformTime()
    denoiser, x, z = mixture(path), normal(4, 2), replay()
    times = grid.times(path, 8)
    lam = [float(half_log_snr(path, t)) for t in times]
    sampler = SDEDPMSolverPP(grid, order=3, eta=eta) if eta else DPMSolverPP(grid, order=3)
    got = states(denoiser, x, sampler, 8)
    x0 = [denoiser(got[i], t) for i, t in enumerate(times)]
    for i in range(1, len(times)):
        (_, sigma_t), (alpha_s, sigma_s) = path(times[i - 1]), path(times[i])
        noise, h = z(x) if eta else 0, lam[i] - lam[i - 1]
        if i < 3:  # the first steps are those of the lower orders, tested by themselves
            continue
        before = [i - 1, i - 2, i - 3]
        points = ([lam[k] for k in before], [x0[k] for k in before])
        mean = sigma_s / sigma_t * math.exp(-eta * h) * got[i - 1]
        mean = mean + alpha_s * (1 + eta) * integrated(*points, lam[i - 1], lam[i], 1 + eta)
        expected = mean + sigma_s * math.sqrt(1 - math.exp(-2 * eta * h)) * noise
        assert close(got[i], expected, 1e-10)


@pytest.mark.parametrize("eta", [1.0, 0.5])
def test_stochastic_solver_on_ve_is_k_diffusions(eta, mixture, normal):
    """The 2M SDE sampler as k-diffusion writes it ('midpoint'), in λ = -log σ."""
    path, steps = VE(), 9
    denoiser, x, z = mixture(path), 50 * normal(4, 2), replay()
    times = UniformTime().times(path, steps)
    levels = path.sigma(times)
    y, old, h_last, expected = x, None, None, [x]
    for i in range(steps - 1):
        denoised = denoiser(y, times[i])
        h = levels[i].log() - levels[i + 1].log()
        y = levels[i + 1] / levels[i] * (-h * eta).exp() * y
        y = y + (-h - h * eta).expm1().neg() * denoised
        if old is not None:
            r = h_last / h
            y = y + 0.5 * (-h - h * eta).expm1().neg() * (1 / r) * (denoised - old)
        y = y + levels[i + 1] * (-2 * h * eta).expm1().neg().sqrt() * z(y)
        old, h_last = denoised, h
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, SDEDPMSolverPP(UniformTime(), order=2, eta=eta), steps)
    assert close(got, torch.stack(expected))


def test_stochastic_solver_on_vp_is_its_papers(mixture, normal):
    """Lu et al. 2022, eq. 18 and its multistep form: (σ_s/σ_t) e^{-h} x + α_s (1 - e^{-2h}) D + …"""
    path, steps = VP(), 9
    denoiser, x, z = mixture(path), normal(4, 2), replay()
    times = UniformLogSNR().times(path, steps)
    lam, data, y, expected = [half_log_snr(path, t) for t in times], [], x, [x]
    for i in range(1, steps):
        (_, sigma_t), (alpha_s, sigma_s) = path(times[i - 1]), path(times[i])
        data.append(denoiser(y, times[i - 1]))
        h, d = lam[i] - lam[i - 1], data[-1]
        if i > 1:
            d = d + (data[-1] - data[-2]) * h / (lam[i - 1] - lam[i - 2]) / 2
        y = sigma_s / sigma_t * torch.exp(-h) * y + alpha_s * (1 - torch.exp(-2 * h)) * d
        y = y + sigma_s * torch.sqrt(1 - torch.exp(-2 * h)) * z(x)
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, SDEDPMSolverPP(order=2), steps)
    assert close(got, torch.stack(expected), 1e-11)


@pytest.mark.parametrize("path", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize("correctors", [0, 2])
def test_predictor_corrector_is_its_papers(path, correctors, mixture, normal):
    """Song et al. 2021 (arXiv:2011.13456), Algorithm 1: reverse SDE by eq. 6, then Langevin steps.

    The size of a Langevin step, 2 (snr ‖z‖/‖∇log p‖)² there, is 2 (snr σ)² here.
    """
    denoiser, x, z = mixture(path), path.sigma(at(1)) * normal(4, 2), replay()
    times, y, expected = UniformTime().times(path, 9), x, [x]
    for t, s in pairwise(times):
        f, g2 = path.drift(t), path.diffusion(t) ** 2
        y = y - (t - s) * (f * y - g2 * denoiser.score(y, t)) + torch.sqrt(g2 * (t - s)) * z(y)
        for _ in range(correctors):
            size = 2 * (0.2 * path.sigma(s)) ** 2
            y = y + size * denoiser.score(y, s) + torch.sqrt(2 * size) * z(y)
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    sampler = PredictorCorrector(corrector_steps=correctors, snr=0.2)
    assert close(states(denoiser, x, sampler, 9), torch.stack(expected), 1e-9)
    if correctors == 0:
        assert torch.equal(states(denoiser, x, sampler, 9), states(denoiser, x, EulerMaruyama(), 9))


def test_any_sampler_predicts(mixture, normal):
    """Heun's step of EDM, Algorithm 2, then Langevin steps; a multistep method takes its first step."""
    path = VE()
    denoiser, x, z = mixture(path), 50 * normal(4, 2), replay()
    times, y, expected = UniformTime().times(path, 9), x, [x]
    for t, s in pairwise(times):
        apart = path.sigma(s) - path.sigma(t)
        first = (y - denoiser(y, t)) / path.sigma(t)
        guess = y + apart * first
        y = y + apart * (first + (guess - denoiser(guess, s)) / path.sigma(s)) / 2
        for _ in range(2):
            size = 2 * (0.2 * path.sigma(s)) ** 2
            y = y + size * denoiser.score(y, s) + torch.sqrt(2 * size) * z(y)
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    sampler = PredictorCorrector(predictor=Heun(), corrector_steps=2, snr=0.2)
    assert close(states(denoiser, x, sampler, 9), torch.stack(expected), 1e-9)
    many, one = (PredictorCorrector(predictor=kind) for kind in (DPMSolverPP(order=3), DDIM()))
    assert close(states(denoiser, x, many, 9), states(denoiser, x, one, 9), 1e-12)


def test_a_predictor_that_gets_no_further_ends_the_walk(mixture, normal):
    flow = DormandPrinceFlow(max_steps=1, unfinished="denoise")
    *_, last = trajectory(mixture(VP()), normal(3, 2), PredictorCorrector(predictor=flow), 3)
    assert float(last.t) > 0.5
    assert bool(last.x0.isfinite().all())


def test_reverse_diffusion_is_its_papers_on_the_chain(mixture, normal):
    """Song et al. 2021, eq. 46 for VP: (2 - √(1 - β_i)) x + β_i ∇log p + √β_i z at the chain's knots."""
    denoiser, x, z = mixture(DDPM(CHAIN, LinearBetas(4e-3, 0.5))), normal(6, 2), replay()
    y, expected = x, [x]
    for i in range(CHAIN - 1, 0, -1):
        score = denoiser.score(y, at((i + 1) / CHAIN))
        y = (2 - math.sqrt(1 - BETA[i])) * y + BETA[i] * score + math.sqrt(BETA[i]) * z(y)
        expected.append(y)
    expected.append(denoiser(y, at(1 / CHAIN)))
    got = states(denoiser, x, ReverseDiffusion(Knots(CHAIN)), CHAIN)
    assert close(got, torch.stack(expected), 1e-10)


def test_reverse_diffusion_is_its_papers_on_ve(mixture, normal):
    """Song et al. 2021, eq. 47: x + (σ_t² - σ_s²) ∇log p + √(σ_t² - σ_s²) z."""
    path = VE()
    denoiser, x, z = mixture(path), 50 * normal(4, 2), replay()
    times, y, expected = UniformTime().times(path, 9), x, [x]
    for t, s in pairwise(times):
        between = path.sigma(t) ** 2 - path.sigma(s) ** 2
        y = y + between * denoiser.score(y, t) + torch.sqrt(between) * z(y)
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    assert close(states(denoiser, x, ReverseDiffusion(), 9), torch.stack(expected), 1e-10)


def test_a_predictor_that_asks_for_no_noise_is_deterministic_alone():
    assert not PredictorCorrector(predictor=DDIM(), corrector_steps=0).stochastic
    assert PredictorCorrector(predictor=DDIM()).stochastic
    assert PredictorCorrector(corrector_steps=0).stochastic


def test_euler_maruyama_scales_its_noise(mixture, normal):
    """η = ½: drift f x - ½ (1 + η²) g² ∇log p, noise η g √Δt."""
    path, t, s = VP(), at(0.6), None
    denoiser, x, z = mixture(path), normal(4, 2), replay()
    run = list(trajectory(denoiser, x, EulerMaruyama(eta=0.5), 5, start=0.6, noise=replay()))
    s, f, g = run[1].t, path.drift(t), path.diffusion(t)
    expected = x - (t - s) * (f * x - 0.625 * g**2 * denoiser.score(x, t))
    expected = expected + 0.5 * g * torch.sqrt(t - s) * z(x)
    assert close(run[1].x, expected, 1e-10)
