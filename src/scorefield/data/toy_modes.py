"""Two-dimensional distributions with several modes, each drawn from a formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.data.toy import NoisyToy, Toy
from scorefield.errors import InputError


@dataclass(frozen=True)
class EightGaussians(Toy):
    """Eight equal Gaussians, evenly spaced on a circle.

        x = (cos πk/4, sin πk/4) + std z,   k ~ U{0 … 7}

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.
        std: standard deviation of a component, in radii of the circle; above 0.

    Reference: Grathwohl et al. 2019, FFJORD, fig. 2, for its use; its code has std = 1/8. arXiv:1810.01367
    """

    std: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.std > 0:
            raise InputError(f"std must be above 0, got {self.std}")

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        angle = math.pi / 4 * torch.floor(8 * u[:, 0])
        return torch.stack([angle.cos(), angle.sin()], dim=1) + self.std * z


@dataclass(frozen=True)
class Pinwheel(Toy):
    """Five radial arms, bent by a rotation that grows with the radius.

        r = 1 + 0.3 z₁,   s = 0.1 z₂,   θ = 2πk/5 + ¼ exp r,   x = R(θ) (r, s),   k ~ U{0 … 4}

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.

    Reference: Johnson et al. 2016, Composing graphical models with neural networks, fig. 1.
        arXiv:1603.06277, whose usual code turns the other way: ours is its mirror image.
    """

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        along, across = 1 + 0.3 * z[:, 0], 0.1 * z[:, 1]
        angle = 2 * math.pi / 5 * torch.floor(5 * u[:, 0]) + 0.25 * along.exp()
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([along * cos - across * sin, along * sin + across * cos], dim=1)


@dataclass(frozen=True)
class Rings(NoisyToy):
    """Four rings about one centre, with Gaussian noise.

        x = r (cos 2πu, sin 2πu) + noise z,   r ~ U{¼, ½, ¾, 1}

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.
        noise: standard deviation of the noise, in radii of the outer ring; at least 0.

    Reference: Grathwohl et al. 2019, FFJORD, fig. 2, for its use. arXiv:1810.01367
    """

    noise: float = 0.02

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        angle = 2 * math.pi * u[:, :1]
        radius = (1 + torch.floor(4 * u[:, 1:2])) / 4
        return radius * torch.cat([angle.cos(), angle.sin()], 1) + self.noise * z
