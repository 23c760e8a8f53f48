"""The forward and reverse SDEs against Song et al.'s equations and the marginals they must keep."""

import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP
from scorefield.core.sde import ForwardSDE, ReverseSDE
from scorefield.errors import InputError
from scorefield.samplers.noise import unseeded

TIMES = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)


def closed(schedule, mixture, x):
    """f x, g² and the score, the last by differentiating the density."""
    oracle = mixture(schedule)
    x = x.clone().requires_grad_()
    (score,) = torch.autograd.grad(oracle.log_prob(x, TIMES).sum(), x)
    f, g = schedule.drift(TIMES)[:, None], schedule.diffusion(TIMES)[:, None]
    return oracle, f * x.detach(), g**2, score


@pytest.mark.parametrize(("eta", "share"), [(0.0, 0.5), (1.0, 1.0), (0.5, 0.625)])
def test_reverse_drift(schedule, mixture, normal, eta, share):
    """f x - ½(1 + η²) g² ∇log p: eq. 13 of Song et al. 2021 for η = 0, eq. 6 for η = 1."""
    x = normal(len(TIMES), 2)
    oracle, linear, g2, score = closed(schedule, mixture, x)
    expected = linear - share * g2 * score
    got = ReverseSDE(oracle, eta).drift(x, TIMES)
    assert torch.allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_reverse_diffusion(schedule, gaussian):
    g = schedule.diffusion(TIMES)
    assert torch.equal(ReverseSDE(gaussian(schedule), 0.0).diffusion(TIMES), torch.zeros(7))
    assert torch.allclose(ReverseSDE(gaussian(schedule)).diffusion(TIMES), g)
    assert torch.allclose(ReverseSDE(gaussian(schedule), 0.5).diffusion(TIMES), 0.5 * g)


@pytest.mark.parametrize("eta", [0.0, 0.7, 1.0, 2.0])
def test_every_reverse_process_keeps_the_marginals(schedule, eta):
    """With dx = A x dt + ηg dw̄ backwards, dv/dt = 2Av - η²g² must be the slope of α²λ + σ²."""
    spread, one = 0.4, torch.ones(1, 1, dtype=torch.float64)
    denoiser = GaussianDenoiser(schedule, torch.zeros(1).double(), spread * one)
    reverse = ReverseSDE(denoiser, eta)
    for t in TIMES:
        (alpha, sigma), (alpha_rate, sigma_rate) = schedule(t), schedule.rates(t)
        slope = 2 * (alpha * alpha_rate * spread + sigma * sigma_rate)
        pull = reverse.drift(one, t)[0, 0]
        got = 2 * pull * (alpha**2 * spread + sigma**2) - reverse.diffusion(t) ** 2
        assert torch.allclose(got, slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", [Flow(), Cosine()], ids=repr)
def test_flow_is_finite_where_no_signal_is_left(path, gaussian, normal):
    one = torch.ones((), dtype=torch.float64)
    reverse = ReverseSDE(gaussian(path), 0.0)
    assert torch.isfinite(reverse.drift(normal(3, 2), one)).all()
    assert float(reverse.diffusion(one)) == 0


@pytest.mark.parametrize("path", [VP(), SubVP(), VE(), Flow()], ids=lambda p: type(p).__name__)
def test_forward_simulation_has_the_marginals(path, generator):
    """x₀ = 2: mean 2α, variance σ², Cov(x_s, x_t) = α_s/α_t σ_t², within 5 standard errors."""
    n, times = 20000, torch.tensor([0.1, 0.3, 0.7, 1.0], dtype=torch.float64)
    x0 = torch.full((n, 1), 2.0, dtype=torch.float64)
    run = list(ForwardSDE(path).simulate(x0, times, unseeded(generator)))
    assert [float(t) for t, _ in run] == times.tolist()
    alpha, sigma = path(times)
    for i, (_, x) in enumerate(run):
        z = (x - 2 * alpha[i]) / sigma[i]  # standard normal: mean 0 ± n^-½, variance 1 ± (2/n)^½
        assert abs(float(z.mean())) < 5 / n**0.5
        assert abs(float((z**2).mean()) - 1) < 5 * (2 / n) ** 0.5
    for i, j in ((0, 1), (1, 2), (0, 3)):
        product = (run[i][1] - 2 * alpha[i]) * (run[j][1] - 2 * alpha[j]) / (sigma[i] * sigma[j])
        expected = alpha[j] / alpha[i] * sigma[i] / sigma[j]
        assert abs(float(product.mean() - expected)) < 5 * float(product.std()) / n**0.5


def test_forward_sde_is_the_schedules(schedule, normal):
    x, sde = normal(len(TIMES), 2), ForwardSDE(schedule)
    assert torch.equal(sde.drift(x, TIMES), schedule.drift(TIMES)[:, None] * x)
    assert torch.equal(sde.diffusion(TIMES), schedule.diffusion(TIMES))


@pytest.mark.parametrize("eta", [-0.1, float("nan")])
def test_negative_noise_is_refused(gaussian, eta):
    with pytest.raises(InputError, match="eta must be at least 0"):
        ReverseSDE(gaussian(VP()), eta)


@pytest.mark.parametrize("times", [[0.8, 0.5], [0.5, 0.5], []])
def test_a_simulation_goes_forward(times, normal):
    with pytest.raises(InputError, match="times must be a row that increases"):
        next(ForwardSDE(VP()).simulate(normal(2, 2), torch.tensor(times), torch.randn_like))
