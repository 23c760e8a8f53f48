"""The pieces that networks share: embeddings of the noise level and the label, blocks, padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scorefield.nets.kernels import group_norm, silu

# Up to so many positions attention is written out: the fused kernel is 8 times slower on a CPU in
# bfloat16 (49 positions, 4 heads of 24, batch 128), and has memory to save only beyond.
SHORT = 256


class SinusoidalFeatures(nn.Module):
    """sin and cos of a number at fixed frequencies, spaced geometrically.

    Arguments:
        size: number of features; even.
        low: the lowest frequency, radians per unit.
        high: the highest.
    """

    frequencies: Tensor

    def __init__(self, size: int, low: float = 0.5, high: float = 100.0) -> None:
        super().__init__()
        ramp = torch.linspace(0, 1, size // 2)
        self.register_buffer("frequencies", low * (high / low) ** ramp)

    def forward(self, value: Tensor) -> Tensor:
        angles = value[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1) * math.sqrt(2)


class FourierFeatures(nn.Module):
    """sin and cos of a number at random frequencies, drawn once and kept.

    Arguments:
        size: number of features; even.
        scale: standard deviation of the frequencies, cycles per unit.

    Reference: Tancik et al. 2020, Fourier Features, eq. 5. arXiv:2006.10739
    """

    frequencies: Tensor

    def __init__(self, size: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(size // 2) * scale)

    def forward(self, value: Tensor) -> Tensor:
        angles = 2 * math.pi * value[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class LabelEmbedding(nn.Module):
    """A vector for each class and one for "no label" (-1).

    Arguments:
        classes: number of classes; at least 1.
        size: length of the vectors.
    """

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.classes = classes
        self.table = nn.Embedding(classes + 1, size)

    def forward(self, label: Tensor | None, like: Tensor) -> Tensor:
        if label is None:
            label = torch.full((len(like),), -1, device=like.device)
        label = label.to(like.device)
        out: Tensor = self.table(torch.where(label < 0, self.classes, label))
        return out


class AugmentEmbedding(nn.Module):
    """A linear map, without a constant, of the numbers that tell what was done to a sample.

    It is 0 wherever nothing was done, and starts as large as the vectors of labels: started from 0, more of
    what was done came out of models.

    Arguments:
        numbers: how many numbers.
        size: length of the result.

    Reference: Karras et al. 2022, appendix F.2. arXiv:2206.00364
    """

    def __init__(self, numbers: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, numbers))

    def forward(self, augment: Tensor) -> Tensor:
        return functional.linear(augment, self.weight)


class Conditioning(nn.Module):
    """The vector that tells every block the noise level, the label, and what was done to the sample.

    Arguments:
        features: turns c_noise of shape (B,) into (B, size).
        size: length of the features.
        out: length of the vector.
        classes: number of classes, 0 for none.
        augment: numbers that tell what was done to a sample, 0 for none.
    """

    def __init__(
        self, features: nn.Module, size: int, out: int, classes: int, augment: int = 0
    ) -> None:
        super().__init__()
        self.features = features
        self.first = nn.Linear(size, out)
        self.second = nn.Linear(out, out)
        self.label = LabelEmbedding(classes, out) if classes else None
        self.augment = AugmentEmbedding(augment, out) if augment else None

    def forward(
        self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None
    ) -> Tensor:
        hidden = self.first(self.features(c_noise))
        if self.label is not None:
            hidden = hidden + self.label(label, c_noise)
        if self.augment is not None and augment is not None:
            hidden = hidden + self.augment(augment)
        return functional.silu(self.second(functional.silu(hidden)))


def groups(channels: int) -> int:
    """The number of groups for a group norm: at least 8 channels in each where that divides."""
    return math.gcd(channels, max(1, channels // 8))


class GroupNorm(nn.Module):
    """Group norm whose result a condition may scale and shift; `kernels.group_norm` has the equation.

    Arguments:
        channels: channels of the input.
        count: groups; divides the channels.
    """

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, modulation: Tensor | None = None) -> Tensor:
        return group_norm(x, self.count, self.weight, self.bias, modulation)


class ResBlock(nn.Module):
    """A residual block whose second norm is scaled and shifted by the conditioning.

    Arguments:
        channels: input channels.
        out: output channels.
        condition: length of the conditioning vector.
        dropout: share of activations dropped in training.

    Reference: Dhariwal & Nichol 2021, section 3, adaptive group normalization. arXiv:2105.05233
    """

    def __init__(self, channels: int, out: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = GroupNorm(channels, groups(channels))
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.modulation = nn.Linear(condition, 2 * out)
        self.norm2 = GroupNorm(out, groups(out))
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zeroed(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        hidden = self.conv1(silu(self.norm1(x)))
        hidden = silu(self.norm2(hidden, self.modulation(condition)))
        out: Tensor = self.skip(x) + self.conv2(self.dropout(hidden))
        return out


class Attention(nn.Module):
    """Self-attention over the positions of a feature map, as a residual.

    Arguments:
        channels: input and output channels.
        heads: number of heads; divides channels.

    Reference: Vaswani et al. 2017, eq. 1. arXiv:1706.03762
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels, groups(channels))
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1] // self.heads
        qkv = self.qkv(self.norm(x)).reshape(len(x), 3 * self.heads, size, -1)
        q, k, v = qkv.chunk(3, dim=1)  # each (B, heads, size, positions)
        if q.shape[-1] <= SHORT:
            share = torch.softmax(q.transpose(-1, -2) @ k / math.sqrt(size), dim=-1)
            mixed = v @ share.transpose(-1, -2)
        else:
            q, k, v = (part.transpose(-1, -2) for part in (q, k, v))
            mixed = functional.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        out: Tensor = self.out(mixed.reshape(x.shape))
        return x + out


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights and bias set to 0, so that what it ends starts as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def pad_to(x: Tensor, height: int, width: int) -> Tensor:
    """x of shape (B, C, H, W) with its last row and column repeated up to the size."""
    below, right = height - x.shape[-2], width - x.shape[-1]
    return functional.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
