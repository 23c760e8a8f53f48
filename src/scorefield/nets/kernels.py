"""Layers that are written twice: torch's own kernel, and a form that its compiler makes fast code of.

Run eagerly, each function is the kernel that torch has for it; while a network is compiled it is the same
map in a form that Inductor can vectorize. On a CPU that is worth a sixth of a training step
(docs/performance.md). The tests hold the two forms to each other, values and gradients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional

EPS = 1e-5  # added to the variance in a group norm
# √(1 + eᵃ) as a polynomial in a ≥ 0, by ascending powers: of those that are right at 0, the one for which
# max(1, a) · |1 / polynomial² - 1 / (1 + eᵃ)| is least at its largest, 1.5e-4.
ROOT = (math.sqrt(2), 0.356595426, 0.121024408, 0.0385158907, -0.00361908402, 0.00111129954)


def group_norm(
    x: Tensor, count: int, weight: Tensor, bias: Tensor, modulation: Tensor | None = None
) -> Tensor:
    """Group norm, then a scale and a shift from a condition.

        y = (x - mean) / √(var + 1e-5) · weight + bias,   out = y (1 + scale) + shift

    Compiled, it is one slope and one offset for each channel of each sample. Left as it is, Inductor
    looks up the moments of the group anew for each number.

    Arguments:
        x: shape (B, C, ...).
        count: groups; divides C.
        weight: shape (C,).
        bias: shape (C,).
        modulation: scale and shift side by side, shape (B, 2C); none for 0.

    Reference: Wu & He 2018, Group Normalization, eq. 1-3, arXiv:1803.08494; Dhariwal & Nichol 2021,
        section 3 for the modulation, arXiv:2105.05233.
    """
    ones = (1,) * (x.ndim - 2)
    if is_compiling():
        slope, offset = _slope_offset(x, count, weight, bias, modulation)
        out = slope.reshape(*slope.shape, *ones) * x + offset.reshape(*offset.shape, *ones)
        return out.to(x.dtype)
    out = functional.group_norm(x, count, weight, bias, EPS)
    if modulation is None:
        return out
    scale, shift = modulation.reshape(*modulation.shape, *ones).chunk(2, dim=1)
    return out * (1 + scale) + shift


def _slope_offset(
    x: Tensor, count: int, weight: Tensor, bias: Tensor, modulation: Tensor | None
) -> tuple[Tensor, Tensor]:
    """A modulated group norm as slope · x + offset; both (B, C), in float32 or better."""
    axes, channels = tuple(range(2, x.ndim)), x.shape[1]
    with torch.autocast(x.device.type, enabled=False):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        # Products with the groups' indicators, since the result of a product is kept in memory: an
        # indexed read would be done again for each number that is normalized.
        indicator = torch.eye(count, device=x.device, dtype=wide.dtype)
        indicator = indicator.repeat_interleave(channels // count, dim=1)  # (groups, C)
        moments = torch.cat([wide.mean(axes), wide.square().mean(axes)])
        mean, square = (moments @ indicator.T * (count / channels)).chunk(2)
        rstd = torch.rsqrt((square - mean.square()).clamp(min=0) + EPS)
        slope, offset = (torch.cat([rstd, mean * rstd]) @ indicator).chunk(2)
        slope, offset = slope * weight, bias - offset * weight
        if modulation is None:
            return slope, offset
        scale, shift = modulation.chunk(2, dim=1)
        return slope * (1 + scale), offset * (1 + scale) + shift


def silu(x: Tensor) -> Tensor:
    """x / (1 + e^{-x}).

    Compiled, the exponential is a power of 2: what Inductor knows as exp it computes once, writes to
    memory in float32 and reads back wherever the gradient needs it, which costs more than computing it.
    In bfloat16, which rounds to 2e-3 to 4e-3 of a value, a processor takes a rational function that is
    right to 2e-4, and a training step 1 to 4 % less time.
    """
    if not is_compiling():
        return functional.silu(x)
    out: Tensor = _SiLU.apply(x)  # type: ignore[no-untyped-call]
    return out


class _SiLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(x)
        return (x * _sigmoid(x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        (x,) = ctx.saved_tensors
        share = _sigmoid(x)
        out: Tensor = gradient * (share * (1 + x * (1 - share)))
        return out.to(x.dtype)


def _sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^{-x}); of bfloat16 on a processor it is float32, and right to 1.5e-4."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu":
        return 1 / (1 + torch.exp2(x * -math.log2(math.e)))
    # At -|x| first: it falls to 0 by itself, where to clamp x would cost as much as the polynomial.
    size = x.float().abs()
    root = torch.full_like(size, ROOT[-1])
    for coefficient in ROOT[-2::-1]:
        root = root * size + coefficient
    low = 1 / (root * root)
    return torch.where(x > 0, 1 - low, low)


def halved(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """A convolution of 2×2 blocks in strides of 2: (B, C, H, W) to (B, out, H/2, W/2).

    Compiled, it is a pointwise convolution of the blocks, whose gradients have faster kernels. The blocks
    are written with channels innermost, as the convolution reads them.

    Arguments:
        x: of even height and width.
        layer: the convolution; its kernel has the shape (out, C, 2, 2).
    """
    if not is_compiling():
        out: Tensor = layer(x)
        return out
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1).reshape(batch, height // 2, 2, width // 2, 2, channels)
    blocks = pixels.transpose(2, 3).flatten(3)
    pointwise = layer.weight.permute(0, 2, 3, 1).flatten(1)[:, :, None, None]
    return functional.conv2d(blocks.permute(0, 3, 1, 2), pointwise, layer.bias)


def doubled(x: Tensor) -> Tensor:
    """Each row and column of x of shape (B, C, H, W) twice: (B, C, 2H, 2W).

    torch 2.13 compiles the gradient of its own upsampling in bfloat16 on a CPU to zeros. Channels are
    written innermost, as above.
    """
    if not is_compiling():
        return functional.interpolate(x, scale_factor=2.0, mode="nearest")
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1)[:, :, None, :, None]
    wide = pixels.expand(batch, height, 2, width, 2, channels)
    return wide.reshape(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def spread(xs: Sequence[Tensor], layer: nn.ConvTranspose2d) -> Tensor:
    """A transposed convolution of maps side by side, (B, C, H, W) to (B, out, H + k - 1, W + k - 1).

    Compiled, it is one matrix product for each map and k² shifted sums: the ready kernels pad a few
    output channels to 16, and the maps need not be copied together.

    Arguments:
        xs: maps of one height and width.
        layer: the convolution, without bias; its kernel has the shape (sum of channels, out, k, k).
    """
    if not is_compiling():
        out: Tensor = layer(torch.cat(list(xs), dim=1))
        return out
    kernel, side = layer.weight, layer.weight.shape[-1]
    matrices = torch.split(kernel.permute(0, 2, 3, 1).flatten(1), [x.shape[1] for x in xs])
    products = [x.permute(0, 2, 3, 1) @ m for x, m in zip(xs, matrices, strict=True)]
    product = torch.stack(products).sum(0)
    parts = product.reshape(*product.shape[:3], side**2, -1).unbind(-2)
    moved = []
    for place, part in enumerate(parts):
        down, right = divmod(place, side)
        moved.append(functional.pad(part, (0, 0, right, side - 1 - right, down, side - 1 - down)))
    return torch.stack(moved).sum(0).permute(0, 3, 1, 2)
