"""DPM-Solver's Algorithms 1 and 2 in the symbols of the paper."""

from itertools import pairwise

import pytest
import torch

from scorefield.core.schedules import VE, VP, Flow
from scorefield.errors import InputError
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import trajectory
from scorefield.samplers.grids import UniformTime
from scorefield.samplers.singlestep import SingleStepDPMSolver


def states(denoiser, x, sampler, steps):
    run = list(trajectory(denoiser, x, sampler, steps))
    return torch.stack([step.x for step in run] + [run[-1].x0])


def close(got, expected, tolerance=1e-10):
    return bool((got - expected).abs().max() <= tolerance * expected.abs().max().clamp(min=1))


class Paper:
    """λ, t_λ and ε_θ of a path, as Lu et al. write them."""

    def __init__(self, denoiser):
        self.path, self.eps = denoiser.schedule, denoiser.noise

    def lam(self, t):
        alpha, sigma = self.path(t)
        return torch.log(alpha / sigma)

    def time(self, lam):
        return self.path.time(2 * lam)

    def second(self, x, t, s):
        """Algorithm 1, with r₁ = ½."""
        h = self.lam(s) - self.lam(t)
        s1 = self.time((self.lam(t) + self.lam(s)) / 2)
        (a, _), (a1, g1), (b, g) = (self.path(v) for v in (t, s1, s))
        u = a1 / a * x - g1 * torch.expm1(h / 2) * self.eps(x, t)
        return b / a * x - g * torch.expm1(h) * self.eps(u, s1)

    def third(self, x, t, s):
        """Algorithm 2, with r₁ = ⅓ and r₂ = ⅔."""
        h, r1, r2 = self.lam(s) - self.lam(t), 1 / 3, 2 / 3
        s1, s2 = self.time(self.lam(t) + r1 * h), self.time(self.lam(t) + r2 * h)
        (a, _), (a1, g1), (a2, g2), (b, g) = (self.path(v) for v in (t, s1, s2, s))
        eps = self.eps(x, t)
        u1 = a1 / a * x - g1 * torch.expm1(r1 * h) * eps
        d1 = self.eps(u1, s1) - eps
        u2 = a2 / a * x - g2 * torch.expm1(r2 * h) * eps
        u2 = u2 - g2 * r2 / r1 * (torch.expm1(r2 * h) / (r2 * h) - 1) * d1
        d2 = self.eps(u2, s2) - eps
        return b / a * x - g * torch.expm1(h) * eps - g / r2 * (torch.expm1(h) / h - 1) * d2


@pytest.mark.parametrize("path", [VP(), VE()], ids=["vp", "ve"])
@pytest.mark.parametrize("order", [2, 3])
def test_stages_are_those_of_the_paper(path, order, mixture, normal):
    denoiser = mixture(path)
    x = path.sigma(torch.ones((), dtype=torch.float64)) * normal(4, 2)
    paper = Paper(denoiser)
    times = UniformTime().times(path, 7)
    y, expected = x, [x]
    for t, s in pairwise(times):
        y = (paper.second if order == 2 else paper.third)(y, t, s)
        expected.append(y)
    expected.append(denoiser(y, times[-1]))
    got = states(denoiser, x, SingleStepDPMSolver(UniformTime(), order=order), 7)
    assert close(got, torch.stack(expected))


def test_the_first_order_is_ddim(schedule, mixture, normal):
    denoiser, x = mixture(schedule), normal(4, 2)
    got = states(denoiser, x, SingleStepDPMSolver(order=1), 7)
    assert torch.equal(got, states(denoiser, x, DDIM(SingleStepDPMSolver().grid), 7))


@pytest.mark.parametrize("order", [2, 3])
def test_a_step_from_no_signal_is_ddims(order, mixture, normal):
    denoiser, x = mixture(Flow()), normal(4, 2)
    one, other = (
        list(trajectory(denoiser, x, s, 5))[1].x
        for s in (SingleStepDPMSolver(order=order), DDIM(SingleStepDPMSolver().grid))
    )
    assert torch.equal(one, other)


@pytest.mark.parametrize("order", [0, 4])
def test_orders_that_are_not_there_are_refused(order):
    with pytest.raises(InputError, match="order must be 1, 2 or 3"):
        SingleStepDPMSolver(order=order)
