"""The data of each step, fetched while the network is busy with the steps before it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from scorefield.data.ahead import ahead
from scorefield.data.base import Data

DEPTH = 2  # batches that are fetched, or have been, while one is trained on


@dataclass(frozen=True)
class Batches:
    """What a process needs of the batches of all steps.

    Arguments:
        data: the data.
        order: the indices of a step's batch.
        mine: which rows of a batch this process trains on; only these are read.
    """

    data: Data
    order: Callable[[int], Tensor]
    mine: slice

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """This process's samples in the batch of a step, and the labels of the whole batch."""
        return self._fetched(self.order(step))

    def ahead(self, first: int) -> Generator[tuple[Tensor, Tensor | None]]:
        """The same for step after step, without end; the thread behind it ends when it is closed.

        Arguments:
            first: the first step.
        """
        return ahead(self._fetched, map(self.order, count(first)), threads=1, depth=DEPTH)

    def _fetched(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        x0, _ = self.data.batch(indices[self.mine])
        return x0, None if self.data.label is None else self.data.label[indices]
