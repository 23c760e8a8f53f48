"""The multistep methods: their quadrature, and each in the symbols of its paper."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import sample, trajectory
from scorefield.samplers.exponential import DPMSolver, VExponential
from scorefield.samplers.grids import UniformLogSNR, UniformTime
from scorefield.samplers.multistep import even_weights, mean_weights


def number(v):
    return torch.tensor(float(v), dtype=torch.float64)


def states(denoiser, x, sampler, steps):
    run = list(trajectory(denoiser, x, sampler, steps))
    return torch.stack([step.x for step in run] + [run[-1].x0])


def close(got, expected, tolerance=1e-11):
    return bool((got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1))


def start(path, normal):
    return path.sigma(number(1)) * normal(4, 2)


@pytest.mark.parametrize("rate", [-1.0, 1.0, 2.0])
@pytest.mark.parametrize("width", [1e-6, 0.1, 3.0])
def test_weights_give_the_mean_of_a_cubic(rate, width):
    """∫ p^k e^{rp} dp has the antiderivative e^{rp} Σ_j (-1)^j k!/(k-j)! p^{k-j} / r^{j+1}."""
    nodes = [number(width * v) for v in (0, -0.7, -1.9, -2.4)]
    weights = mean_weights(nodes, nodes[0], number(width), lambda p: torch.exp(rate * p))

    def integral(k):
        if width < 1e-3:  # the antiderivative cancels there: expand e^{rp} to first order
            return width ** (k + 1) / (k + 1) + rate * width ** (k + 2) / (k + 2)
        values = []
        for p in (0.0, width):
            terms = [
                (-1) ** j * math.perm(k, j) * p ** (k - j) / rate ** (j + 1) for j in range(k + 1)
            ]
            values.append(math.exp(rate * p) * sum(terms))
        return values[1] - values[0]

    for k in range(4):
        mean = sum(float(w) * float(p) ** k for w, p in zip(weights, nodes, strict=True))
        assert mean == pytest.approx(integral(k) / integral(0), rel=1e-9, abs=1e-30)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("width", [1e-3, 0.1, 3.0])
def test_even_weights_give_the_mean_of_each_power(count, width):
    nodes = [width * v for v in (2.0, 2.7, 3.9, 4.4)[:count]]
    start, end = nodes[0], nodes[0] - width
    weights = even_weights(nodes, start, end)
    for k in range(count):
        mean = sum(w * p**k for w, p in zip(weights, nodes, strict=True))
        exact = (end ** (k + 1) - start ** (k + 1)) / ((k + 1) * (end - start))
        assert mean == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("path", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_noise_prediction_is_dpm_solver(path, order, mixture, normal):
    """Lu et al. 2022, eq. 3.4: Σ h^k+1 φ_k+1(h) ε̂^(k), here of differences; order 2 by the midpoint."""
    denoiser, x = mixture(path), start(path, normal)
    times = UniformTime().times(path, 9)
    lam = [float(path.log_snr(t)) / 2 for t in times]
    y, eps, expected = x, [], [x]
    for i in range(1, len(times)):
        (alpha_t, _), (alpha_s, sigma_s) = path(times[i - 1]), path(times[i])
        eps.append(denoiser.noise(y, times[i - 1]))
        h = lam[i] - lam[i - 1]
        y = alpha_s / alpha_t * y - sigma_s * math.expm1(h) * eps[-1]
        if min(order, i) == 2:
            slope = (eps[-1] - eps[-2]) * h / (lam[i - 1] - lam[i - 2])
            y = y - sigma_s * math.expm1(h) / 2 * slope
        if min(order, i) == 3:
            r0, r1 = ((lam[k] - lam[k - 1]) / h for k in (i - 1, i - 2))
            near, far = (eps[-1] - eps[-2]) / r0, (eps[-2] - eps[-3]) / r1
            slope = near + r0 / (r0 + r1) * (near - far)
            bend = 2 * (near - far) / (r0 + r1)  # h² times the second derivative
            y = y - sigma_s * (math.expm1(h) / h - 1) * slope
            y = y - sigma_s * ((math.expm1(h) - h) / h**2 - 0.5) * bend
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, DPMSolver(UniformTime(), order=order), 9)
    assert close(got, torch.stack(expected), 1e-9)
    if order == 1:
        assert close(got, states(denoiser, x, DDIM(UniformTime()), 9))


def test_v_form_is_adams_bashforth_in_the_angle(mixture, normal):
    """Equal steps of φ on the cosine-like circle of VP: weights 1, (3, -1)/2 and (23, -16, 5)/12."""
    path, steps = VP(), 8
    denoiser, x = mixture(path), normal(4, 2)
    lowest = math.atan2(*(float(v) for v in reversed(path(path.t_min))))
    highest = math.atan2(*(float(v) for v in reversed(path(1.0))))
    angles = np.linspace(highest, lowest, steps)
    times = torch.stack([path.time(-2 * math.log(math.tan(a))) for a in angles])
    rules = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12]]
    y, values, expected = x, [], [x]
    for t, (now, following) in zip(times, pairwise(angles), strict=False):
        x0 = denoiser(y, t)
        eps = (y - math.cos(now) * x0) / math.sin(now)
        values.insert(0, math.cos(now) * eps - math.sin(now) * x0)
        rule = rules[min(len(values), 3) - 1]
        y = y + (following - now) * sum(c * v for c, v in zip(rule, values, strict=False))
        expected.append(y)
    walk = VExponential(order=3).walk(denoiser, path, x, times, None)
    assert close(torch.stack([step.x for step in walk]), torch.stack(expected), 1e-9)


@pytest.mark.parametrize("spread", [1.0, 0.5])
def test_v_form_is_exact_for_white_data(schedule, spread, normal):
    """For N(0, c²I) x/n does not move, whatever the steps: x_s = n_s/n_t x_t."""
    denoiser = GaussianDenoiser(
        schedule, torch.zeros(2, dtype=torch.float64), spread**2 * torch.eye(2, dtype=torch.float64)
    )
    x = start(schedule, normal)
    got = list(trajectory(denoiser, x, VExponential(sigma_data=spread), 3))[-1].x
    assert close(got, denoiser.flow(x, 1.0, schedule.t_min), 1e-10)


@pytest.mark.parametrize("kind", [DPMSolver, VExponential])
def test_all_forms_agree_in_the_limit(schedule, kind, gaussian, normal):
    """400 steps of second order miss the exact flow of Gaussian data by less than 1 %."""
    denoiser, x = gaussian(schedule), start(schedule, normal)
    exact = denoiser(denoiser.flow(x, 1.0, schedule.t_min), number(schedule.t_min))
    got = sample(denoiser, x, kind(UniformLogSNR()), 400)
    assert float((got - exact).norm() / exact.norm()) < 0.01
