"""Random transformations of images, and the numbers by which a network is told of one.

Reference: Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models, table 6;
Karras et al. 2020, Training Generative Adversarial Networks with Limited Data, appendix B, for the quarter
turn and the shift. arXiv:2206.00364, arXiv:2006.06676
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scorefield.data.warp import rotation, scaling, translation

Transformation = Literal[
    "x-flip",
    "y-flip",
    "quarter-turn",
    "shift",
    "scaling",
    "rotation",
    "anisotropy",
    "translation",
]
Size = tuple[int, int]  # width and height in pixels

STRETCH = 2**0.2  # A_scale and A_aniso
REACH = 1 / 8  # A_trans, of the side of the image


class Kind(NamedTuple):
    """A random transformation; all its parameters 0 stand for none.

    Arguments:
        draw: count, size and generator to parameters, shape (B, P), float64.
        matrix: parameters and size to matrices on centred pixel coordinates, shape (B, 3, 3).
        told: parameters to what the network is told, shape (B, K), 0 for none.
        length: K.
        exact: whether pixels land on pixels.
    """

    draw: Callable[[int, Size, torch.Generator], Tensor]
    matrix: Callable[[Tensor, Size], Tensor]
    told: Callable[[Tensor], Tensor]
    length: int
    exact: bool = False


def _coin(count: int, size: Size, generator: torch.Generator) -> Tensor:
    return torch.randint(2, (count, 1), generator=generator).double()


def _quarters(count: int, size: Size, generator: torch.Generator) -> Tensor:
    return torch.randint(4, (count, 1), generator=generator).double() * (math.pi / 2)


def _angle(count: int, size: Size, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, 1, generator=generator, dtype=torch.float64) * 2 - 1) * math.pi


def _normal(count: int, size: Size, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 1, generator=generator, dtype=torch.float64)


def _stretch(count: int, size: Size, generator: torch.Generator) -> Tensor:
    return torch.cat([_angle(count, size, generator), _normal(count, size, generator)], dim=1)


def _offset(count: int, size: Size, generator: torch.Generator) -> Tensor:
    return torch.randn(count, 2, generator=generator, dtype=torch.float64)


def _whole_offset(count: int, size: Size, generator: torch.Generator) -> Tensor:
    """Uniform in [-1, 1]² as far as the reach, but of whole pixels."""
    reach = torch.tensor(size, dtype=torch.float64) * REACH
    free = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 2 - 1
    return torch.round(free * reach) / reach


def _moved(a: Tensor, size: Size) -> Tensor:
    return translation(a[:, 0] * (REACH * size[0]), a[:, 1] * (REACH * size[1]))


def _stretched(a: Tensor, size: Size) -> Tensor:
    by = STRETCH ** a[:, 1]
    return rotation(a[:, 0]) @ scaling(by, 1 / by) @ rotation(-a[:, 0])


def _direction(a: Tensor) -> Tensor:
    return torch.cat([a.cos() - 1, a.sin()], dim=1)


def _axis(a: Tensor) -> Tensor:
    """The stretch as a vector at twice its angle: half a turn makes no other stretch.

    Table 6 has the angle itself, by which stretching along an axis and squeezing along it can be told in
    the same numbers.
    """
    return a[:, 1:] * torch.cat([torch.cos(2 * a[:, :1]), torch.sin(2 * a[:, :1])], dim=1)


def _same(a: Tensor) -> Tensor:
    return a


# In the order in which they are applied.
KINDS: dict[Transformation, Kind] = {
    "x-flip": Kind(
        _coin, lambda a, size: scaling(1 - 2 * a[:, 0], torch.ones(len(a))), _same, 1, exact=True
    ),
    "y-flip": Kind(
        _coin, lambda a, size: scaling(torch.ones(len(a)), 1 - 2 * a[:, 0]), _same, 1, exact=True
    ),
    "quarter-turn": Kind(_quarters, lambda a, size: rotation(-a[:, 0]), _direction, 2, exact=True),
    "shift": Kind(_whole_offset, _moved, _same, 2, exact=True),
    "scaling": Kind(
        _normal, lambda a, size: scaling(STRETCH ** a[:, 0], STRETCH ** a[:, 0]), _same, 1
    ),
    "rotation": Kind(_angle, lambda a, size: rotation(-a[:, 0]), _direction, 2),
    "anisotropy": Kind(_stretch, _stretched, _axis, 2),
    "translation": Kind(_offset, _moved, _same, 2),
}
