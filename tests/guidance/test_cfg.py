"""Classifier-free guidance on denoisers whose every part is known."""

import pytest
import torch

from scorefield.core.denoisers import Denoiser
from scorefield.core.moments import Moments, PrincipalBasis
from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE, VP, Cosine
from scorefield.errors import InputError
from scorefield.guidance.cfg import CFG
from scorefield.samplers.base import sample
from scorefield.samplers.flow import Heun

T = torch.tensor(0.5, dtype=torch.float64)


class Two(Denoiser):
    """N(m, v) for label 0 and N(0, v) for none; counts what it is asked."""

    def __init__(self, schedule, mean, variance):
        super().__init__(schedule)
        spread = torch.full((1, 1), variance, dtype=torch.float64)
        self.free = GaussianDenoiser(schedule, torch.zeros(1, dtype=torch.float64), spread)
        self.cond = GaussianDenoiser(schedule, torch.full((1,), mean), spread)
        self.asked = []

    def forward(self, x, t, **cond):
        label = cond.get("label")
        self.asked.append(label)
        if label is None:
            return self.free(x, t)
        return torch.where(label[:, None] < 0, self.free(x, t), self.cond(x, t))


@pytest.fixture
def two():
    return Two(VP(), 2.0, 0.5)


def test_scale_0_and_1_are_the_plain_denoisers_in_one_evaluation(two, normal):
    x, label = normal(5, 1), torch.zeros(5, dtype=torch.int64)
    assert torch.equal(CFG(two, 0.0)(x, T, label=label), two.free(x, T))
    assert torch.equal(CFG(two, 1.0)(x, T, label=label), two.cond(x, T))
    assert len(two.asked) == 2


def test_in_between_and_beyond_is_the_line_through_both(two, normal):
    x, label = normal(5, 1), torch.zeros(5, dtype=torch.int64)
    for scale in (-1.0, 0.3, 4.0):
        line = (1 - scale) * two.free(x, T) + scale * two.cond(x, T)
        assert torch.allclose(CFG(two, scale)(x, T, label=label), line, rtol=0, atol=1e-14)


def test_no_label_is_the_unconditional_denoiser(two, normal):
    x = normal(4, 1)
    assert torch.equal(CFG(two, 3.0)(x, T), two.free(x, T))
    assert torch.equal(CFG(two, 3.0)(x, T, label=None), two.free(x, T))
    mixed = CFG(two, 3.0)(x, T, label=torch.tensor([0, -1, 0, -1]))
    assert torch.equal(mixed[1::2], two.free(x, T)[1::2])
    led = CFG(two, 3.0)(x, T, label=torch.zeros(4, dtype=torch.int64))
    assert torch.equal(mixed[::2], led[::2])


def test_equal_spreads_give_a_gaussian_beyond_the_conditional_mean(normal):
    """N((1 - w) m_u + w m_c, v): the flow of a Gaussian is affine, so two points tell all."""
    path = VE(0.01, 50.0)
    denoiser = CFG(Two(path, 2.0, 0.5), 3.0)
    x = torch.tensor([[0.0], [float(torch.tensor(2500.5).sqrt())]], dtype=torch.float64)
    label = torch.zeros(2, dtype=torch.int64)
    base, end = sample(denoiser, x + 6.0, Heun(), 400, label=label)[:, 0]
    assert float(base) == pytest.approx(6.0, abs=1e-3)
    assert float(end - base) == pytest.approx(0.5**0.5, abs=1e-3)


def test_a_scale_must_be_finite(two):
    with pytest.raises(InputError, match="scale must be a finite number, got inf"):
        CFG(two, float("inf"))


def test_no_guidance_has_the_moments_of_all_data(labelled):
    """w = 0 is the unconditional model, so its moments know no classes."""
    denoiser = labelled(VP())
    means, variances = torch.tensor([[-0.5], [0.5], [0.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    basis = PrincipalBasis(torch.eye(1))
    denoiser.moments = Moments(basis, means.double(), variances.double(), torch.tensor([2]))
    label = torch.tensor([0, 1, -1])
    whole = CFG(denoiser, 0).moments.given(label)
    assert whole.variances[whole.row].flatten().unique().tolist() == [3.0]
    led = CFG(denoiser, 2).moments.given(label)
    assert led.variances[led.row].flatten().tolist() == [1.0, 2.0, 3.0]
    assert led.mean[led.row].flatten().tolist() == [-1.0, 1.0, 0.0]


def test_below_the_least_noise_level_the_conditional_denoiser_is_alone_and_asked_once(two, normal):
    x, label = normal(5, 1), torch.zeros(5, dtype=torch.int64)
    alpha, sigma = two.schedule(T)
    level = float(sigma / alpha)
    for least, led in ((0.99 * level, True), (1.01 * level, False)):
        two.asked.clear()
        found = CFG(two, 3.0, least)(x, T, label=label)
        assert torch.equal(found, (CFG(two, 3.0) if led else CFG(two, 1.0))(x, T, label=label))
        assert len(two.asked) == (2 if led else 1) * 2


def test_samples_at_times_of_their_own_are_led_by_their_own_levels(two, normal):
    x, label = normal(2, 1), torch.zeros(2, dtype=torch.int64)
    t = torch.tensor([0.1, 0.9], dtype=torch.float64)
    levels = [float(sigma / alpha) for alpha, sigma in map(two.schedule, t)]
    found = CFG(two, 3.0, sum(levels) / 2)(x, t, label=label)
    assert torch.equal(found[0], two.cond(x, t)[0])
    assert torch.equal(found[1], CFG(two, 3.0)(x, t, label=label)[1])


def test_a_level_where_no_signal_is_left_is_above_every_other(normal):
    """σ/α is infinite at t = 1 of the cosine path, and guidance counts."""
    two = Two(Cosine(), 2.0, 0.5)
    x, label = normal(3, 1), torch.zeros(3, dtype=torch.int64)
    one = torch.ones((), dtype=torch.float64)
    expected = CFG(two, 3.0)(x, one, label=label)
    assert torch.equal(CFG(two, 3.0, 1e6)(x, one, label=label), expected)


@pytest.mark.parametrize("least", [-1.0, float("nan"), float("inf")])
def test_a_least_noise_level_must_be_one(two, least):
    with pytest.raises(InputError, match=f"least must be at least 0 and finite, got {least}"):
        CFG(two, 3.0, least)
