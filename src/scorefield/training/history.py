"""The losses lately seen over time, from which `ImportanceTimes` knows which times to draw."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from scorefield.core.schedule import Schedule
from scorefield.core.times import Times, stretch
from scorefield.training.state import Part

MEMORY = 10  # steps over which the average is taken; the paper keeps ten losses of each time


class LossHistory(Part):
    """The mean squared loss in each stretch of time, the same in all processes.

        m_k ← m_k + (mean of L² in this step - m_k) / min(n_k + 1, 10)

    The mean is over the samples of a step whose times fall into the stretch; n_k counts the steps that have
    any.

    Arguments:
        times: whose stretches they are.
        schedule: the path.
    """

    def __init__(self, times: Times, schedule: Schedule) -> None:
        self.chosen, self.schedule = times, schedule
        self.squares = torch.zeros(times.stretches)
        self.steps = torch.zeros(times.stretches)
        self.forget()

    @property
    def times(self) -> Times:
        """The times to draw: as chosen until every stretch was seen often enough."""
        enough = bool((self.steps >= MEMORY).all())
        return self.chosen.knowing(self.squares) if enough else self.chosen

    def forget(self) -> None:
        """Drop what was noted and not taken."""
        self._noted = torch.zeros(2, len(self.squares))

    def note(self, t: Tensor, losses: Tensor) -> None:
        """Note the losses of this process's samples, or of some of them.

        Arguments:
            t: their times, shape (B,).
            losses: shape (B,).
        """
        where = stretch(self.schedule, t, len(self.squares)).cpu()
        squares = losses.detach().cpu().float().square()
        self._noted[0].index_add_(0, where, squares)
        self._noted[1].index_add_(0, where, torch.ones_like(squares))

    def take(self, summed: Callable[[Tensor], Tensor]) -> None:
        """Take what was noted in a step into the average.

        Arguments:
            summed: the sum of a tensor over all processes.
        """
        total, count = summed(self._noted)
        self.forget()
        seen = count > 0
        step = (total / count.clamp(min=1) - self.squares) / (self.steps + 1).clamp(max=MEMORY)
        self.squares += torch.where(seen, step, 0.0)
        self.steps += seen

    def tensors(self) -> dict[str, Tensor]:
        return {"squares": self.squares, "steps": self.steps}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.squares.copy_(tensors["squares"])
        self.steps.copy_(tensors["steps"])
