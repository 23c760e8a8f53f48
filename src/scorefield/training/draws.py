"""Random numbers of the rows of a batch: each process draws its own, and their number changes no row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.samplers.noise import stream

BLOCK = 8  # rows that share a seed; seeding a generator costs as much as some hundred numbers


def drawn_by_row(
    draw: Callable[..., Tensor],
    rows: slice,
    shape: tuple[int, ...],
    *keys: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Numbers for some rows of a batch, each row a function of the keys and its place in the batch.

    Rows are drawn in blocks, and only the blocks that these rows touch.

    Arguments:
        draw: `torch.randn` or `torch.rand`.
        rows: from where to where in the batch of all processes.
        shape: of a row.
        keys: what the numbers depend on, such as the seed of the run, what they are for and the step.
        dtype: of the numbers.
    """
    first, last = rows.start // BLOCK, -(-rows.stop // BLOCK)
    out = torch.empty((last - first) * BLOCK, *shape, dtype=dtype)
    generator = torch.Generator()
    for block in range(first, last):
        generator.manual_seed(stream(*keys, block))
        part = out[(block - first) * BLOCK :][:BLOCK]
        draw(BLOCK, *shape, generator=generator, dtype=dtype, out=part)
    return out[rows.start - first * BLOCK : rows.stop - first * BLOCK]
