"""DEIS, LMS and iPNDM: weights by scipy's quadrature, steps in the papers' symbols."""

from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad

from scorefield.core.schedules import VE, VP
from scorefield.errors import InputError
from scorefield.samplers.adams import DEIS, IPNDM, LMS
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import trajectory
from scorefield.samplers.grids import Karras, UniformLogSNR, UniformTime


def start(path, normal):
    return path.sigma(torch.ones((), dtype=torch.float64)) * normal(4, 2)


def states(denoiser, x, sampler, steps):
    run = list(trajectory(denoiser, x, sampler, steps))
    return torch.stack([step.x for step in run] + [run[-1].x0])


def close(got, expected, tolerance=1e-9):
    return bool((got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1))


def lagrange(nodes, j, p):
    out = 1.0
    for k, node in enumerate(nodes):
        if k != j:
            out *= (p - node) / (nodes[j] - node)
    return out


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_deis_is_its_papers_equation(order, mixture, normal):
    """Zhang & Chen 2023, eq. 14 and 15, on VP: C_j = ∫ Ψ(s, τ) ½ β/σ ℓ_j dτ, Ψ(s, τ) = α_s/α_τ."""
    path, steps = VP(), 7
    denoiser, x = mixture(path), normal(4, 2)
    times = UniformTime().times(path, steps)
    y, eps, expected = x, [], [x]
    for t, s in pairwise(times):
        eps.insert(0, denoiser.noise(y, t))
        nodes = [float(times[len(eps) - 1 - k]) for k in range(min(order, len(eps)))]

        def kernel(tau, j, nodes=nodes, s=s):
            alpha, sigma = (float(v) for v in path(tau))
            beta = path.beta_min + tau * (path.beta_max - path.beta_min)
            return float(path(s)[0]) / alpha * beta / (2 * sigma) * lagrange(nodes, j, tau)

        y = path(s)[0] / path(t)[0] * y
        for j in range(len(nodes)):
            y = y + quad(kernel, float(t), float(s), (j,), epsabs=1e-12)[0] * eps[j]
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, DEIS(UniformTime(), order=order), steps)
    assert close(got, torch.stack(expected))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_is_k_diffusions(order, mixture, normal):
    """Lagrange's polynomials in σ, integrated from σ_i to σ_{i+1}; slopes d = (x - D)/σ on VE."""
    path, steps = VE(), 8
    denoiser, x = mixture(path), start(path, normal)
    times = Karras().times(path, steps)
    sigmas = [float(path.sigma(t)) for t in times]
    y, slopes, expected = x, [], [x]
    for i in range(steps - 1):
        slopes.append((y - denoiser(y, times[i])) / sigmas[i])
        used = [sigmas[i - k] for k in range(min(i + 1, order))]
        for j in range(len(used)):
            weight = quad(
                lambda v, j=j, used=used: lagrange(used, j, v),
                sigmas[i],
                sigmas[i + 1],
                epsrel=1e-12,
            )[0]
            y = y + weight * slopes[-1 - j]
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, LMS(Karras(), order=order), steps)
    assert close(got, torch.stack(expected))


def test_ipndm_is_its_papers_equation(mixture, normal):
    """Liu et al. 2022: φ(x, ε̄, t, s) of DDIM with the linear multistep ε̄ of their eq. 12."""
    path = VP()
    denoiser, x = mixture(path), normal(4, 2)
    times = UniformTime().times(path, 8)
    y, e, expected = x, [], [x]
    for t, s in pairwise(times):
        e.append(denoiser.noise(y, t))
        if len(e) == 1:
            mean = e[-1]
        elif len(e) == 2:
            mean = (3 * e[-1] - e[-2]) / 2
        elif len(e) == 3:
            mean = (23 * e[-1] - 16 * e[-2] + 5 * e[-3]) / 12
        else:
            mean = (55 * e[-1] - 59 * e[-2] + 37 * e[-3] - 9 * e[-4]) / 24
        (alpha_t, sigma_t), (alpha_s, sigma_s) = path(t), path(s)
        y = alpha_s * (y - sigma_t * mean) / alpha_t + sigma_s * mean
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    assert close(states(denoiser, x, IPNDM(UniformTime()), 8), torch.stack(expected))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_ipndm_is_lms_on_equal_steps_of_the_noise_level(schedule, count, mixture, normal):
    """So that its order is ``estimates`` there. From t = ½, where σ/α is finite on every path."""
    denoiser, x, grid = mixture(schedule), normal(4, 2), Karras(1.0)
    one, other = (
        torch.stack([step.x for step in trajectory(denoiser, x, sampler, 9, start=0.5)])
        for sampler in (IPNDM(grid, estimates=count), LMS(grid, order=count))
    )
    assert close(one, other, 1e-7)


@pytest.mark.parametrize("sampler", [DEIS(order=1), LMS(order=1), IPNDM(estimates=1)], ids=repr)
def test_the_first_order_is_ddim(schedule, sampler, mixture, normal):
    denoiser, x = mixture(schedule), start(schedule, normal)
    got = states(denoiser, x, sampler, 7)
    assert close(got, states(denoiser, x, DDIM(UniformLogSNR()), 7))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(DEIS, {"order": 0}), (DEIS, {"order": 5}), (LMS, {"order": 5}), (IPNDM, {"estimates": 5})],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(InputError, match=f"{next(iter(settings))} must be 1 to 4"):
        kind(**settings)
