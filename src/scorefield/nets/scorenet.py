"""The network of the score-SDE tutorial, layer for layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, cat, nn
from torch.nn import functional

from scorefield.errors import InputError
from scorefield.nets.base import Network, NetworkConfig
from scorefield.nets.kernels import silu, spread
from scorefield.nets.layers import (
    AugmentEmbedding,
    FourierFeatures,
    GroupNorm,
    LabelEmbedding,
    pad_to,
)

CHANNELS = (32, 64, 128, 256)
EMBEDDING = 256


@dataclass(frozen=True)
class ScoreNetConfig(NetworkConfig):
    """The U-Net of the score-SDE tutorial: 1,115,296 parameters for gray images without labels.

        F(x, c_noise, label, augment): (B, C, H, W) -> (B, C, H, W)

    Four 3×3 convolutions down without padding, four transposed ones up, the embedding of the noise level
    added before each group norm. Heights and widths of 8k + 12 (20, 28, 36 …) fit as they are, others are
    padded and cropped. Where the tutorial divides the output by the standard deviation, use the
    parameterization `Score` or, for a target of unit size, `Noise`.

    Arguments:
        scale: standard deviation of the random frequencies that describe the noise level; above 0.
        conditional: use the labels when the data have them.

    Reference: Song, Generative Modeling by Estimating Gradients of the Data Distribution (tutorial).
        https://yang-song.net/blog/2021/score/
    """

    scale: float = 30.0
    conditional: bool = False

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise InputError(f"scale must be above 0, got {self.scale}")

    def build(self, shape: tuple[int, ...], classes: int, augment: int = 0) -> Network:
        if len(shape) != 3:
            raise InputError(f"ScoreNet needs images (C, H, W), got data of shape {shape}; try mlp")
        return ScoreNet(self, shape[0], classes if self.conditional else 0, augment)


class Stage(nn.Module):
    """Convolution, plus the embedding, group norm, swish.

    Arguments:
        conv: the convolution.
        out: its output channels.
        groups: groups of the norm.
    """

    def __init__(self, conv: nn.Module, out: int, groups: int) -> None:
        super().__init__()
        self.conv = conv
        self.dense = nn.Linear(EMBEDDING, out)
        self.norm = GroupNorm(out, groups)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv(x) + self.dense(embedding)[:, :, None, None]
        return silu(self.norm(hidden))


class ScoreNet(Network):
    """The module of a `ScoreNetConfig`.

    Arguments:
        config: its description.
        channels: channels of the images.
        classes: number of classes, 0 for none.
        augment: numbers that tell what was done to a sample, 0 for none.
    """

    outer: ClassVar[tuple[str, ...]] = ("down1.conv", "up1")  # the layers that meet the data

    def __init__(self, config: ScoreNetConfig, channels: int, classes: int, augment: int) -> None:
        super().__init__()
        self.features = FourierFeatures(EMBEDDING, config.scale)
        self.embed = nn.Linear(EMBEDDING, EMBEDDING)
        self.label = LabelEmbedding(classes, EMBEDDING) if classes else None
        self.augment = AugmentEmbedding(augment, EMBEDDING) if augment else None
        a, b, c, d = CHANNELS
        conv, up = nn.Conv2d, nn.ConvTranspose2d
        self.down1 = Stage(conv(channels, a, 3, bias=False), a, 4)
        self.down2 = Stage(conv(a, b, 3, stride=2, bias=False), b, 32)
        self.down3 = Stage(conv(b, c, 3, stride=2, bias=False), c, 32)
        self.down4 = Stage(conv(c, d, 3, stride=2, bias=False), d, 32)
        self.up4 = Stage(up(d, c, 3, stride=2, bias=False), c, 32)
        self.up3 = Stage(up(2 * c, b, 3, stride=2, output_padding=1, bias=False), b, 32)
        self.up2 = Stage(up(2 * b, a, 3, stride=2, output_padding=1, bias=False), a, 32)
        self.up1 = up(2 * a, channels, 3, bias=False)

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        label: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to(x, *(max(20, 12 + -(-(side - 12) // 8) * 8) for side in (height, width)))
        hidden = self.embed(self.features(c_noise))
        if self.label is not None:
            hidden = hidden + self.label(label, c_noise)
        if self.augment is not None and augment is not None:
            hidden = hidden + self.augment(augment)
        embedding = functional.silu(hidden)
        h1 = self.through(self.down1, x, embedding)
        h2 = self.through(self.down2, h1, embedding)
        h3 = self.through(self.down3, h2, embedding)
        h4 = self.through(self.down4, h3, embedding)
        h = self.through(self.up4, h4, embedding)
        h = self.through(self.up3, cat([h, h3], dim=1), embedding)
        h = self.through(self.up2, cat([h, h2], dim=1), embedding)
        return spread([h, h1], self.up1)[..., :height, :width]
