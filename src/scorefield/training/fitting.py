"""A batch that does not fit into memory is computed in parts: more of them until it fits."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from scorefield.errors import InputError, is_out_of_memory

R = TypeVar("R")


def until_it_fits(
    run: Callable[[int], R], parts: int, most: int, drop: Callable[[], None]
) -> tuple[R, int]:
    """Run with twice as many parts each time that memory runs out; returns the result and the parts.

    Arguments:
        run: what is run, given a number of parts.
        parts: to begin with.
        most: the largest number of parts that may be tried.
        drop: called after a failure, to let go of what there is of the result.

    Raises:
        InputError: when that many do not fit either.
    """
    while True:
        try:
            return run(parts), parts
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0][:200] if str(error) else "out of memory"
        # Only here, outside of the except block, have the frames that hold tensors been let go.
        drop()
        gc.collect()
        torch.cuda.empty_cache()  # nothing where there is none
        if parts >= most:
            raise InputError(
                f"a batch does not fit into memory in {parts} parts ({reason}); "
                "try a larger training.accumulate or a smaller network"
            )
        parts = min(2 * parts, most)
