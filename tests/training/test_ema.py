"""The average of the weights against the integral that defines it."""

import numpy as np
import pytest
import torch
from torch import nn

from scorefield.errors import InputError
from scorefield.training.ema import PowerAverage, exponent, half_life


def published_exponent(width):
    """Algorithm 2 of Karras et al. 2024, word for word."""
    t = width**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.2, 0.25, 0.279])
def test_exponent(width):
    gamma = exponent(width)
    assert gamma == pytest.approx(published_exponent(width), rel=1e-9)
    # width² is the variance of the density (γ + 1) τ^γ on [0, 1]: E τⁿ = (γ + 1)/(γ + 1 + n)
    mean, square = ((gamma + 1) / (gamma + 1 + n) for n in (1, 2))
    assert np.sqrt(square - mean**2) == pytest.approx(width, rel=1e-6)


def test_exponents_named_in_the_paper():
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.01)


@pytest.mark.parametrize("width", [0.02, 0.05, 0.2])
def test_half_of_an_average_is_of_its_half_life(width):
    steps = 20000
    shares = np.diff((np.arange(steps + 1) / steps) ** (published_exponent(width) + 1))
    late = shares[round(steps * (1 - half_life(width))) :].sum()
    assert late == pytest.approx(0.5, abs=2e-3)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.28, float("nan")])
def test_widths_without_an_exponent(width):
    with pytest.raises(InputError, match=f"above 0 and below 0.28, got {width}"):
        exponent(width)


class Walk(nn.Module):
    """Weights that change at every step, and a buffer."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.two = nn.Parameter(torch.zeros(2, 2, dtype=torch.float64))
        self.register_buffer("fixed", torch.tensor([5.0]))

    def move(self, generator):
        with torch.no_grad():
            for p in self.parameters():
                p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype))
        return [p.detach().clone() for p in self.parameters()]


def walked(width, steps):
    module, generator = Walk(), torch.Generator().manual_seed(0)
    module.move(generator)
    average = PowerAverage(module, width)
    seen = []
    for step in range(1, steps + 1):
        seen.append(module.move(generator))
        average.update(step)
    return module, average, seen


@pytest.mark.parametrize("width", [0.05, 0.2])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_average_is_the_integral_of_the_power_function(width, steps):
    _, average, seen = walked(width, steps)
    gamma = published_exponent(width)
    # (γ + 1)/T^{γ+1} ∫₀ᵀ τ^γ θ(τ) dτ for weights that are θ_i on (i - 1, i]
    edges = (np.arange(steps + 1) / steps) ** (gamma + 1)
    for k, name in enumerate(["one", "two"]):
        direct = sum(w * theta[k] for w, theta in zip(np.diff(edges), seen, strict=True))
        assert torch.allclose(average.weights()[name], direct, atol=1e-12)


def test_no_width_keeps_the_last_weights():
    module, average, _ = walked(0.0, 7)
    assert all(torch.equal(average.weights()[k], v) for k, v in module.state_dict().items())


def test_buffers_are_copied_and_weights_are_not_shared():
    module, average, seen = walked(0.1, 5)
    module.fixed.fill_(8.0)
    weights = average.weights()
    assert weights.keys() == module.state_dict().keys()
    assert weights["fixed"].item() == 8.0
    assert not torch.allclose(weights["one"], seen[-1][0])
    before = weights["one"].clone()
    module.move(torch.Generator().manual_seed(9))
    assert torch.equal(average.weights()["one"], before)


def test_restored_averages_go_on():
    module, average, _ = walked(0.1, 5)
    other = PowerAverage(module, 0.1)
    other.restore({k: a.clone() for k, a in average.tensors().items()})
    module.move(torch.Generator().manual_seed(9))
    average.update(6)
    other.update(6)
    assert all(torch.equal(a, b) for a, b in zip(average.averages, other.averages, strict=True))
    with pytest.raises(KeyError):
        other.restore({"0": average.averages[0]})
