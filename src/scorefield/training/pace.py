"""How far a run has got with its budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from scorefield.recipes.budget import Budget
from scorefield.recipes.training import Training
from scorefield.training.state import Position


@dataclass(frozen=True)
class Pace:
    """What a run has spent of its budget, and what is left of it.

    Arguments:
        training: has the budget, the batch, and how often checkpoints are due.
    """

    training: Training

    def spent(self, position: Position) -> float:
        """The share of the budget that is spent, 0 at the start and 1 or a little more at the end.

        Arguments:
            position: where the run stands.
        """
        return self._share(self._budget, position.seconds, position.step)

    def remaining(self, position: Position, step_seconds: float) -> float:
        """Seconds of training left if a step takes so long.

        Arguments:
            position: where the run stands.
            step_seconds: what a step takes.
        """
        per_step = self._share(self._budget, step_seconds, 1)
        return (1 - self.spent(position)) / per_step * step_seconds

    def is_due(self, position: Position, saved: Position) -> bool:
        """Whether a checkpoint is due.

        Arguments:
            position: where the run stands.
            saved: where it stood at the last one.
        """
        seconds, steps = position.seconds - saved.seconds, position.step - saved.step
        return self._share(self._between, seconds, steps) >= 1

    @cached_property
    def _budget(self) -> Budget:
        return Budget.parse(self.training.budget)

    @cached_property
    def _between(self) -> Budget:
        return Budget.parse(self.training.checkpoint_every)

    def _share(self, budget: Budget, seconds: float, steps: int) -> float:
        images = steps * self.training.batch
        return budget.spent(seconds=seconds, images=images, steps=steps)
