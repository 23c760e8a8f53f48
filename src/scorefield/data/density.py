"""Points of any density that is given as a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scorefield.errors import InputError

LARGEST = 1 << 24  # cells


def draw_density(
    density: Callable[[Tensor], Tensor],
    size: int,
    *,
    low: Sequence[float],
    high: Sequence[float],
    cells: int = 512,
    seed: int = 0,
) -> Tensor:
    """Independent points of a density on an interval or a rectangle, which need not be normalized.

        P(cell) ∝ p(its centre),   uniform within a cell

    A function is no setting that a file could hold, so this is not a data set of its own: save the
    points, and train on the file with ``data=arrays``.

    Arguments:
        density: values at points (M, D), at least 0, shape (M,).
        size: number of points; at least 1.
        low: least value in each of the D directions; D is 1 or 2.
        high: greatest value in each direction.
        cells: cells of the grid in each direction; the law is exact to the grid.
        seed: fixes the draw.

    Raises:
        InputError: for a box or a grid that is none, or values that are no density.

    Examples:
        >>> points = draw_density(lambda x: torch.exp(-x[:, 0] ** 2 / 2), 5, low=[-4], high=[4])
        >>> points.shape
        torch.Size([5, 1])
    """
    begin, end = (torch.tensor(v, dtype=torch.float64) for v in (low, high))
    _check(size, begin, end, cells)
    dim = len(begin)
    width = (end - begin) / cells
    places = torch.arange(cells, dtype=torch.float64) + 0.5
    centres = torch.cartesian_prod(*[places] * dim).reshape(-1, dim) * width + begin
    values = density(centres).double()
    if values.shape != (len(centres),):
        raise InputError(
            f"a density gives one value a point, shape ({len(centres)},); got {tuple(values.shape)}"
        )
    if not bool((values.isfinite() & (values >= 0)).all()) or not bool((values > 0).any()):
        raise InputError(
            "a density must be finite and at least 0 everywhere, and somewhere above 0"
        )
    generator = torch.Generator().manual_seed(seed)
    lot = torch.rand(size, dim + 1, generator=generator, dtype=torch.float64)
    total = (values / values.max()).cumsum(0)
    cell = torch.searchsorted(total, lot[:, 0] * total[-1], right=True).clamp(max=len(total) - 1)
    return centres[cell] + (lot[:, 1:] - 0.5) * width


def _check(size: int, low: Tensor, high: Tensor, cells: int) -> None:
    if low.ndim != 1 or low.shape != high.shape or len(low) not in (1, 2):
        raise InputError("low and high must have one number for each of 1 or 2 directions")
    if not bool((low < high).all()):
        raise InputError(f"low must be below high, got {low.tolist()} and {high.tolist()}")
    if size < 1:
        raise InputError(f"size must be at least 1, got {size}")
    if cells < 1 or cells ** len(low) > LARGEST:
        raise InputError(f"cells must give a grid of 1 to {LARGEST} cells, got {cells} a direction")
