"""The pieces of networks against their formulae."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from scorefield.nets import layers
from scorefield.nets.base import lay_out


def randomized(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def by_hand(attention, x):
    """softmax(Q Kᵀ/√d) V for each head, written with loops."""
    b, channels, height, width = x.shape
    size = channels // attention.heads
    weight, bias = attention.qkv.weight[:, :, 0, 0], attention.qkv.bias
    tokens = attention.norm(x).flatten(2).transpose(1, 2)
    mixed = torch.zeros(b, height * width, channels)
    for sample in range(b):
        q, k, v = (tokens[sample] @ weight.T + bias).chunk(3, dim=-1)
        for head in range(attention.heads):
            part = slice(head * size, (head + 1) * size)
            share = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(size), dim=-1)
            mixed[sample, :, part] = share @ v[:, part]
    out = mixed @ attention.out.weight[:, :, 0, 0].T + attention.out.bias
    return x + out.transpose(1, 2).reshape(x.shape)


@pytest.mark.parametrize("short", [0, 256], ids=["fused", "written-out"])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_that_of_the_paper(monkeypatch, heads, short):
    calls = []
    fused = functional.scaled_dot_product_attention
    monkeypatch.setattr(layers, "SHORT", short)
    monkeypatch.setattr(
        layers.functional,
        "scaled_dot_product_attention",
        lambda *args: calls.append(1) or fused(*args),
    )
    attention = randomized(layers.Attention(16, heads))
    x = torch.randn(2, 16, 3, 5, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(attention(x), by_hand(attention, x), atol=1e-5)
    assert len(calls) == (1 if short == 0 else 0)


@pytest.mark.parametrize("size", [2, 8, 64])
def test_sinusoidal_features_are_waves_of_unit_size(size):
    features = layers.SinusoidalFeatures(size, low=0.5, high=100.0)
    value = torch.tensor([-1.7, 0.0, 0.3])
    frequencies = torch.logspace(math.log10(0.5), 2, size // 2) if size > 2 else torch.tensor([0.5])
    waves = [torch.sin(value[:, None] * frequencies), torch.cos(value[:, None] * frequencies)]
    assert torch.allclose(features(value), math.sqrt(2) * torch.cat(waves, 1), atol=1e-3)
    assert torch.allclose(features(value).square().mean(1), torch.ones(3), atol=1e-5)


def test_fourier_features_are_fixed():
    torch.manual_seed(0)
    features = layers.FourierFeatures(4000, scale=30.0)
    value = torch.tensor([0.01])
    angles = 2 * math.pi * 0.01 * features.frequencies
    expected = torch.cat([angles.sin(), angles.cos()])
    assert torch.allclose(features(value)[0], expected, atol=1e-5)
    # 2,000 normal numbers: the standard deviation is known to 30/√4000 ≈ 0.5
    assert float(features.frequencies.std()) == pytest.approx(30, abs=2)
    assert list(features.parameters()) == []
    assert "frequencies" in features.state_dict()


@pytest.mark.parametrize("channels", [1, 3, 8, 12, 20, 48, 96, 100])
def test_groups_divide_the_channels_into_eights_where_they_can(channels):
    count = layers.groups(channels)
    assert channels % count == 0
    assert channels // count >= min(channels, 8)
    assert layers.groups(64) == 8


def test_res_block_starts_as_its_skip():
    block = layers.ResBlock(8, 8, 16, 0.0)
    x, condition = torch.randn(2, 8, 5, 5), torch.randn(2, 16)
    assert torch.equal(block(x, condition), x)
    randomized(block)
    assert not torch.allclose(block(x, condition), block(x, condition + 1), atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (5, 4), (3, 9), (8, 8)])
def test_padding_repeats_the_edge(height, width):
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    padded = layers.pad_to(x, height, width)
    rows = [min(i, 2) for i in range(height)]
    columns = [min(j, 3) for j in range(width)]
    assert torch.equal(padded, x[:, :, rows][..., columns])


def test_zeroed_layers():
    assert not any(p.any() for p in layers.zeroed(nn.Conv2d(2, 3, 3)).parameters())
    assert not layers.zeroed(nn.Conv2d(2, 3, 3, bias=False)).weight.any()


def test_layout_changes_strides_not_values():
    network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(6, 2))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    lay_out(network, torch.channels_last)
    assert network[0].weight.stride() == (36, 1, 12, 4)
    assert all(torch.equal(p, before[name]) for name, p in network.named_parameters())
    lay_out(network, torch.contiguous_format)
    assert network[0].weight.stride() == (36, 9, 3, 1)
