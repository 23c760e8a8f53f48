"""The default network: a U-Net on 2×2 patches, small enough to learn digits in minutes on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, cast

from torch import Tensor, cat, nn
from torch.nn import functional

from scorefield.errors import InputError
from scorefield.nets.base import Network, NetworkConfig
from scorefield.nets.kernels import doubled, halved, silu
from scorefield.nets.layers import (
    Attention,
    Conditioning,
    FourierFeatures,
    GroupNorm,
    ResBlock,
    SinusoidalFeatures,
    groups,
    pad_to,
    zeroed,
)

FEATURES = 64  # sinusoids that describe the noise level


@dataclass(frozen=True)
class UNetConfig(NetworkConfig):
    """A U-Net of residual blocks with adaptive group norm and attention, for images of any size.

        F(x, c_noise, label, augment): (B, C, H, W) -> (B, C, H, W)

    Images are cut into patch × patch blocks, padded to what the levels need, and cropped at the end.

    Arguments:
        width: channels at the finest level; the unit of size.
        multipliers: channels at each level, in widths, from fine to coarse.
        blocks: residual blocks at each level, on the way down and again on the way up.
        attention: levels that have attention, counted from 0 at the finest.
        heads: attention heads.
        patch: side of the blocks of pixels that are folded into channels; 1 for none.
        embedding: how the noise level is described, 'sinusoidal' or 'fourier' (random frequencies).
        dropout: share of activations dropped in training; from 0 to below 1.
        conditional: use the labels when the data have them.

    Reference: Ronneberger et al. 2015, arXiv:1505.04597; Dhariwal & Nichol 2021, arXiv:2105.05233.
    """

    width: int = 48
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    attention: tuple[int, ...] = ()
    heads: int = 4
    patch: int = 2
    embedding: Literal["sinusoidal", "fourier"] = "sinusoidal"
    dropout: float = 0.0
    conditional: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "heads", "patch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.multipliers or min(self.multipliers) < 1:
            raise InputError(f"multipliers must be whole numbers above 0, got {self.multipliers}")
        for level in self.attention:
            if not 0 <= level < len(self.multipliers):
                raise InputError(
                    f"attention level {level} does not exist; there are levels 0 to "
                    f"{len(self.multipliers) - 1}"
                )
            if self.width * self.multipliers[level] % self.heads:
                raise InputError(
                    f"heads must divide the {self.width * self.multipliers[level]} channels of "
                    f"level {level}, got {self.heads}"
                )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie from 0 to below 1, got {self.dropout}")

    def build(self, shape: tuple[int, ...], classes: int, augment: int = 0) -> Network:
        if len(shape) != 3:
            raise InputError(f"a UNet needs images (C, H, W), got data of shape {shape}; try mlp")
        return UNet(self, shape[0], classes if self.conditional else 0, augment)


class UNet(Network):
    """The module of a `UNetConfig`.

    Arguments:
        config: its description.
        channels: channels of the images.
        classes: number of classes, 0 for none.
        augment: numbers that tell what was done to a sample, 0 for none.
    """

    outer: ClassVar[tuple[str, ...]] = ("stem", "head")  # the layers that meet the data

    def __init__(self, config: UNetConfig, channels: int, classes: int, augment: int) -> None:
        super().__init__()
        widths = [config.width * m for m in config.multipliers]
        condition = 4 * config.width
        features = (
            SinusoidalFeatures(FEATURES)
            if config.embedding == "sinusoidal"
            else FourierFeatures(FEATURES, scale=1.0)
        )
        self.patch = config.patch
        self.multiple = config.patch * 2 ** (len(widths) - 1)
        self.conditioning = Conditioning(features, FEATURES, condition, classes, augment)
        self.stem = nn.Conv2d(channels * config.patch**2, widths[0], 3, padding=1)

        def stage(first: int, out: int, level: int, blocks: int) -> Stage:
            heads = config.heads if level in config.attention else 0
            return Stage(first, out, condition, blocks, heads, config.dropout)

        levels = list(enumerate(widths))
        self.down = nn.ModuleList(
            stage(width, width, level, config.blocks) for level, width in levels
        )
        self.shrink = nn.ModuleList(
            nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairwise(widths)
        )
        self.middle = stage(widths[-1], widths[-1], len(widths) - 1, 1)
        self.up = nn.ModuleList(
            stage(2 * width, width, level, config.blocks) for level, width in levels
        )
        self.grow = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.norm = GroupNorm(widths[0], groups(widths[0]))
        self.head = zeroed(nn.Conv2d(widths[0], channels * config.patch**2, 3, padding=1))

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        label: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to(x, *(-(-side // self.multiple) * self.multiple for side in (height, width)))
        condition = self.conditioning(c_noise, label, augment)
        hidden = self.stem(functional.pixel_unshuffle(x, self.patch))
        skips = []
        for level, stage in enumerate(self.down):
            if level:
                hidden = halved(hidden, cast(nn.Conv2d, self.shrink[level - 1]))
            hidden = self.through(stage, hidden, condition)
            skips.append(hidden)
        hidden = self.through(self.middle, hidden, condition)
        for level, stage in reversed(list(enumerate(self.up))):
            hidden = self.through(stage, cat([hidden, skips[level]], dim=1), condition)
            if level:
                # The 1×1 convolution comes first: it is the same map at a quarter of the cost.
                hidden = doubled(self.grow[level - 1](hidden))
        hidden = self.head(silu(self.norm(hidden)))
        return functional.pixel_shuffle(hidden, self.patch)[..., :height, :width]


class Stage(nn.Module):
    """Residual blocks at one resolution, each followed by attention where the level has it.

    Arguments:
        channels: input channels.
        out: output channels.
        condition: length of the conditioning vector.
        blocks: number of residual blocks.
        heads: attention heads; 0 for no attention.
        dropout: share of activations dropped in training.
    """

    def __init__(
        self, channels: int, out: int, condition: int, blocks: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResBlock(channels if i == 0 else out, out, condition, dropout) for i in range(blocks)
        )
        self.attention = nn.ModuleList(Attention(out, heads) for _ in range(blocks if heads else 0))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x, condition)
            if self.attention:
                x = self.attention[i](x)
        return x
