"""Images under maps of the plane: matrices on pixel coordinates, and the image they make.

Coordinates are in pixels from the middle of the image, x to the right and y down; a matrix takes a point of
the image to where it is seen afterwards.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def _matrix(*numbers: Tensor) -> Tensor:
    """Matrices of shape (B, 3, 3) from the six numbers of their upper rows, each of shape (B,)."""
    upper = torch.stack(numbers, dim=-1).double().reshape(-1, 2, 3)
    lowest = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(upper), 1, 3)
    return torch.cat([upper, lowest], dim=1)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that stretch by x and y, each of shape (B,)."""
    zero = torch.zeros(len(x))
    return _matrix(x, zero, zero, zero, y, zero)


def rotation(angle: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that turn x towards y by angles (B,), which is clockwise as y points down."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(len(angle))
    return _matrix(cos, -sin, zero, sin, cos, zero)


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Matrices (B, 3, 3) that move by x and y pixels, each of shape (B,)."""
    one, zero = torch.ones(len(x)), torch.zeros(len(x))
    return _matrix(one, zero, x, zero, one, y)


def warped(x: Tensor, matrix: Tensor, mode: Literal["nearest", "bicubic"]) -> Tensor:
    """Images under maps, x(M⁻¹ p) at every pixel p; beyond an edge is the image mirrored in it.

    Arguments:
        x: images, shape (B, C, H, W).
        matrix: M, one for each, shape (B, 3, 3).
        mode: 'nearest' copies pixels, and is exact for maps of pixels onto pixels; 'bicubic' for others.
    """
    if len(x) == 0:
        return x
    unit = torch.tensor([x.shape[-1] / 2, x.shape[-2] / 2, 1.0], dtype=torch.float64)
    inverse = torch.linalg.inv(matrix) * unit / unit[:, None]  # in halves of the sides
    grid = functional.affine_grid(inverse[:, :2].to(x), list(x.shape), align_corners=False)
    return functional.grid_sample(
        x, grid, mode=mode, padding_mode="reflection", align_corners=False
    )
