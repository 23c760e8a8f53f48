"""A residual multilayer perceptron, for points and other vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from scorefield.errors import InputError
from scorefield.nets.base import Network, NetworkConfig
from scorefield.nets.layers import Conditioning, SinusoidalFeatures

FEATURES = 64


@dataclass(frozen=True)
class MLPConfig(NetworkConfig):
    """A residual MLP on the flattened sample, with the noise level added in every block.

        F(x, c_noise, label, augment): (B, ...) -> (B, ...)

    Arguments:
        width: hidden units; at least 1.
        depth: residual blocks of two layers; at least 1.
        dropout: share of activations dropped in training; from 0 to below 1.
        conditional: use the labels when the data have them.

    Reference: He et al. 2016, Identity Mappings in Deep Residual Networks, fig. 4e. arXiv:1603.05027
    """

    width: int = 128
    depth: int = 3
    dropout: float = 0.0
    conditional: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must lie from 0 to below 1, got {self.dropout}")

    def build(self, shape: tuple[int, ...], classes: int, augment: int = 0) -> Network:
        return MLP(self, math.prod(shape), classes if self.conditional else 0, augment)


class MLP(Network):
    """The module of an `MLPConfig`.

    Arguments:
        config: its description.
        size: numbers in a sample.
        classes: number of classes, 0 for none.
        augment: numbers that tell what was done to a sample, 0 for none.
    """

    outer: ClassVar[tuple[str, ...]] = ("stem", "head")  # the layers that meet the data

    def __init__(self, config: MLPConfig, size: int, classes: int, augment: int) -> None:
        super().__init__()
        width = config.width
        self.conditioning = Conditioning(
            SinusoidalFeatures(FEATURES), FEATURES, width, classes, augment
        )
        self.stem = nn.Linear(size, width)
        self.blocks = nn.ModuleList(MLPBlock(width, config.dropout) for _ in range(config.depth))
        self.head = nn.Linear(width, size)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        label: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        condition = self.conditioning(c_noise, label, augment)
        hidden = self.stem(x.flatten(1))
        for block in self.blocks:
            hidden = self.through(block, hidden, condition)
        out: Tensor = self.head(functional.silu(hidden))
        return out.reshape(x.shape)


class MLPBlock(nn.Module):
    """A residual block of two layers, the conditioning added between them.

    Arguments:
        width: units in and out.
        dropout: share of activations dropped in training.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.condition = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        hidden = self.first(functional.silu(self.norm(x))) + self.condition(condition)
        out: Tensor = x + self.second(self.dropout(functional.silu(hidden)))
        return out
