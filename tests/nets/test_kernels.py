"""The two forms of each layer are one map, with one gradient."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from scorefield.nets import kernels


def drawn(*shape):
    return torch.randn(
        shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape))
    )


def norm(count):
    return lambda *tensors: kernels.group_norm(tensors[0], count, *tensors[1:])


class Held(nn.Module):
    """A kernel of a layer, as a module whose parameters can be given."""

    def __init__(self, kernel, layer):
        super().__init__()
        self.kernel, self.layer = kernel, layer

    def forward(self, *xs):
        return self.kernel(*xs, self.layer)


def of_layer(kernel, layer):
    """The kernel as a function of its inputs and then the layer's parameters."""
    held = Held(kernel, layer)
    names = [name for name, _ in held.named_parameters()]

    def call(*tensors):
        given = dict(zip(names, tensors[-len(names) :], strict=True))
        return functional_call(held, given, tensors[: -len(names)])

    return call


CASES = {
    "group-norm": (norm(4), [drawn(3, 8, 6, 4) * 5 + 2, drawn(8), drawn(8)]),
    "group-norm, modulated": (norm(2), [drawn(3, 8, 6, 4), drawn(8), drawn(8), drawn(3, 16)]),
    "group-norm, a row": (norm(8), [drawn(3, 8, 5), drawn(8), drawn(8), drawn(3, 16)]),
    "silu": (kernels.silu, [drawn(4, 7) * 30]),
    "halved": (
        of_layer(kernels.halved, nn.Conv2d(5, 2, 2, stride=2)),
        [drawn(3, 5, 6, 4), drawn(2, 5, 2, 2), drawn(2)],
    ),
    "doubled": (kernels.doubled, [drawn(3, 5, 2, 3)]),
    "spread": (
        of_layer(
            lambda x, y, layer: kernels.spread([x, y], layer),
            nn.ConvTranspose2d(7, 2, 3, bias=False),
        ),
        [drawn(2, 3, 4, 5), drawn(2, 4, 4, 5), drawn(7, 2, 3, 3)],
    ),
}


def result(function, tensors):
    """The value and the gradients of its product with something fixed."""
    tensors = [t.clone().requires_grad_() for t in tensors]
    value = function(*tensors)
    (value * drawn(*value.shape).cos()).sum().backward()
    return [value.detach(), *(t.grad for t in tensors)]


@pytest.mark.parametrize("name", CASES)
def test_the_compiled_form_is_the_same_map(monkeypatch, name):
    function, tensors = CASES[name]
    eager = result(function, tensors)
    monkeypatch.setattr(kernels, "is_compiling", lambda: True)
    for one, other in zip(eager, result(function, tensors), strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("compiling", [False, True])
def test_group_norm_is_that_of_the_paper(monkeypatch, compiling):
    """Mean and variance over each group by hand, then weight, bias, scale and shift."""
    monkeypatch.setattr(kernels, "is_compiling", lambda: compiling)
    x, weight, bias, modulation = drawn(3, 6, 4, 5), drawn(6), drawn(6), drawn(3, 12)
    found = kernels.group_norm(x, 3, weight, bias, modulation)
    for sample in range(3):
        for channel in range(6):
            group = x[sample, channel // 2 * 2 : channel // 2 * 2 + 2]
            normal = (x[sample, channel] - group.mean()) / (
                group.var(correction=0) + kernels.EPS
            ).sqrt()
            scale, shift = modulation[sample, channel], modulation[sample, 6 + channel]
            expected = (normal * weight[channel] + bias[channel]) * (1 + scale) + shift
            assert torch.allclose(found[sample, channel], expected, atol=1e-10)


def test_a_constant_map_is_normalized_to_the_bias(monkeypatch):
    monkeypatch.setattr(kernels, "is_compiling", lambda: True)
    found = kernels.group_norm(torch.full((2, 4, 3, 3), 7.0), 2, torch.ones(4), torch.arange(4.0))
    assert torch.allclose(found, torch.arange(4.0)[:, None, None].expand(2, 4, 3, 3), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_compiled_form_keeps_the_precision(monkeypatch, dtype):
    monkeypatch.setattr(kernels, "is_compiling", lambda: True)
    x = torch.randn(2, 4, 3, 3).to(dtype)
    assert kernels.group_norm(x, 2, torch.ones(4), torch.zeros(4)).dtype == dtype
    assert kernels.silu(x).dtype == dtype


def test_silu_has_no_overflow(monkeypatch):
    monkeypatch.setattr(kernels, "is_compiling", lambda: True)
    value, gradient = result(kernels.silu, [torch.tensor([-1e4, 1e4], dtype=torch.float64)])
    assert value.tolist() == [0.0, 1e4]
    assert gradient.tolist() == [0.0, float(drawn(2).cos()[1])]


def test_silu_in_bfloat16_is_right_for_every_number_it_has(monkeypatch):
    """Values and slopes within 2e-4 of the formula in float64, and half a rounding."""
    monkeypatch.setattr(kernels, "is_compiling", lambda: True)
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    x = bits.view(torch.bfloat16)
    x = x[x.isfinite() & (x.abs() < 1e30)].requires_grad_()
    found = kernels.silu(x)
    (slope,) = torch.autograd.grad(found.sum(), x)
    exact = x.detach().double()
    share = torch.sigmoid(exact)
    for one, other in (
        (found, exact * share),
        (slope, share * (1 + exact * torch.sigmoid(-exact))),
    ):
        assert one.dtype == torch.bfloat16
        assert ((one.double() - other).abs() <= 2e-4 + 2**-8 * other.abs()).all()
