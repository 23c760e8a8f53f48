"""UniPC and SA-Solver in the symbols of their papers, with the same noise."""

import math

import numpy as np
import pytest
import torch

from scorefield.core.schedules import VE, VP
from scorefield.errors import InputError
from scorefield.samplers.base import trajectory
from scorefield.samplers.correctors import SASolver, UniPC
from scorefield.samplers.exponential import SDEDPMSolverPP
from scorefield.samplers.grids import UniformTime
from scorefield.samplers.noise import unseeded


def replay():
    return unseeded(torch.Generator().manual_seed(5))


def start(path, normal):
    return path.sigma(torch.ones((), dtype=torch.float64)) * normal(4, 2)


def states(denoiser, x, sampler, steps):
    run = list(trajectory(denoiser, x, sampler, steps, noise=replay()))
    return torch.stack([step.x for step in run] + [run[-1].x0])


def close(got, expected, tolerance=1e-9):
    return bool((got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1))


def solution(h, ratios, variant):
    """a of R a = φ/B: rows r^{n-1} and n! φ_{n+1}(-h) (-h)^... of Zhao et al., by their recursion."""
    hh = -h
    b_h = hh if variant == "bh1" else math.expm1(hh)
    if len(ratios) == 1:
        return [0.5], b_h
    rows, right, phi, factorial = [], [], math.expm1(hh) / hh - 1, 1
    for n in range(1, len(ratios) + 1):
        rows.append([r ** (n - 1) for r in ratios])
        right.append(phi * factorial / b_h)
        factorial *= n + 1
        phi = phi / hh - 1 / factorial
    return np.linalg.solve(np.array(rows), np.array(right)), b_h


@pytest.mark.parametrize("path", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("p", [1, 2, 3])
def test_unipc_is_its_papers_algorithm(path, variant, p, mixture, normal):
    """Zhao et al. 2023, Algorithms 1 and 2: UniP-p, an evaluation, UniC-p with the same evaluation."""
    denoiser, x, steps = mixture(path), start(path, normal), 8
    times = UniformTime().times(path, steps)
    lam = [float(path.log_snr(t)) / 2 for t in times]
    corrected, data, expected = x, [denoiser(x, times[0])], [x]
    for i in range(1, steps):
        (_, sigma_t), (alpha_s, sigma_s) = path(times[i - 1]), path(times[i])
        h, order = lam[i] - lam[i - 1], min(p, i, steps - i + 1)
        base = sigma_s / sigma_t * corrected - alpha_s * math.expm1(-h) * data[-1]
        ratios = [(lam[i - 1 - k] - lam[i - 1]) / h for k in range(1, order)]
        slopes = [(data[-1 - k] - data[-1]) / r for k, r in enumerate(ratios, 1)]
        predicted = base
        if ratios:
            a, b_h = solution(h, ratios, variant)
            predicted = base - alpha_s * b_h * sum(c * d for c, d in zip(a, slopes, strict=True))
        expected.append(predicted)
        new = denoiser(predicted, times[i])
        a, b_h = solution(h, [*ratios, 1.0], variant)
        slopes.append(new - data[-1])
        corrected = base - alpha_s * b_h * sum(c * d for c, d in zip(a, slopes, strict=True))
        data.append(new)
    expected.append(data[-1])
    sampler = UniPC(UniformTime(), predictor_order=p, variant=variant)
    assert close(states(denoiser, x, sampler, steps), torch.stack(expected))


def integrated(lams, values, start, end, rate):
    """∫ (1 + τ²) e^{(1+τ²)(λ-λ_s)} P(λ) dλ by Lagrange and 24-point quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    lam = start + (end - start) * (nodes + 1) / 2
    kernel = weights * (end - start) / 2 * rate * np.exp(rate * (lam - end))
    total = 0
    for j, value in enumerate(values):
        others = [k for k in range(len(values)) if k != j]
        basis = np.prod([(lam - lams[k]) / (lams[j] - lams[k]) for k in others], axis=0)
        total = total + float((kernel * basis).sum()) * value
    return total


@pytest.mark.parametrize("path", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize(("p", "c", "tau"), [(1, 1, 1.0), (2, 2, 1.0), (3, 4, 0.6), (3, 0, 1.2)])
def test_sa_solver_is_its_papers_algorithm(path, p, c, tau, mixture, normal):
    """Xue et al. 2023, Algorithm 1: predictor, evaluation, corrector with the predictor's noise."""
    denoiser, x, steps, z = mixture(path), start(path, normal), 9, replay()
    times = UniformTime().times(path, steps)
    lam = [float(path.log_snr(t)) / 2 for t in times]
    y, data, expected = x, [denoiser(x, times[0])], [x]
    for i in range(1, steps):
        (_, sigma_t), (alpha_s, sigma_s) = path(times[i - 1]), path(times[i])
        h, fresh = lam[i] - lam[i - 1], z(x)
        base = sigma_s / sigma_t * math.exp(-(tau**2) * h) * y
        base = base + sigma_s * math.sqrt(-math.expm1(-2 * tau**2 * h)) * fresh

        def step(last, count, base=base, alpha_s=alpha_s, i=i):
            used = range(last, max(last - count, -1), -1)
            points = ([lam[k] for k in used], [data[k] for k in used])
            return base + alpha_s * integrated(*points, lam[i - 1], lam[i], 1 + tau**2)

        y = step(i - 1, p)
        expected.append(y)
        data.append(denoiser(y, times[i]))
        y = step(i, c) if c else y
    expected.append(data[-1])
    sampler = SASolver(UniformTime(), predictor_order=p, corrector_order=c, tau=tau)
    assert close(states(denoiser, x, sampler, steps), torch.stack(expected))


def test_the_stochastic_predictor_alone_is_sde_dpm_solver(schedule, mixture, normal):
    """Of first order, where there is no polynomial; their η is τ²."""
    denoiser, x = mixture(schedule), start(schedule, normal)
    sa = SASolver(predictor_order=1, corrector_order=0, tau=math.sqrt(0.5))
    got, expected = (states(denoiser, x, s, 9) for s in (sa, SDEDPMSolverPP(order=1, eta=0.5)))
    assert close(got, expected)


def test_without_noise_the_noise_is_not_asked_for(mixture, normal):
    def refuse(state):
        raise AssertionError("noise was asked for")

    for sampler in (UniPC(), SASolver(tau=0.0)):
        assert not sampler.stochastic
        list(trajectory(mixture(VP()), normal(2, 2), sampler, 5, noise=refuse))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (UniPC, {"predictor_order": 0}),
        (UniPC, {"predictor_order": 4}),
        (UniPC, {"variant": "bh3"}),
        (SASolver, {"predictor_order": 5}),
        (SASolver, {"corrector_order": -1}),
        (SASolver, {"tau": -0.1}),
        (SASolver, {"tau": math.nan}),
    ],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        kind(**settings)
