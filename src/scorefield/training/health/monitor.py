"""When a run is checked, and what is known of it beside losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.data.base import Data
from scorefield.nets.engine import Engine
from scorefield.recipes.budget import Budget
from scorefield.recipes.recipe import Recipe
from scorefield.training.fitting import until_it_fits
from scorefield.training.health.checks import Checks
from scorefield.training.health.record import Health
from scorefield.training.state import Position

if TYPE_CHECKING:
    from accelerate import Accelerator


class Monitor:
    """Checks a run every so often, and at its end. What it goes on from stands in the log.

    Arguments:
        recipe: what is trained, fitted to its data.
        data: the training data.
        denoiser: whose network is trained.
        accelerator: devices and processes.
    """

    def __init__(
        self, recipe: Recipe, data: Data, denoiser: NetworkDenoiser, accelerator: Accelerator
    ) -> None:
        self.checks = Checks(recipe, data, denoiser, accelerator.device)
        self.processes, training = accelerator.num_processes, recipe.training
        self.batch = training.batch
        self.every = None if training.health_every == "off" else Budget.parse(training.health_every)
        self.last = self.begun = Position()  # of the last check, and from where waiting is counted
        self.found: Health | None = None
        self.waited = 0.0  # seconds in steps that went by waiting for data, since then

    def resume(self, position: Position, lines: Iterable[Mapping[str, Any]]) -> None:
        """Go on from where a run was left, or has gone back to.

        Arguments:
            position: where that is.
            lines: the lines of the log that are checks, oldest first.
        """
        self.begun, self.last, self.waited = position, Position(), 0.0
        self.found, self.checks.gradients = None, []
        for line in lines:
            self.last, self.found = (
                Position(line["step"], line["seconds"]),
                Health.of(line["health"]),
            )
            if self.found.gradient:
                self.checks.gradients.append(self.found.gradient)

    def is_due(self, position: Position, *, last: bool) -> bool:
        """Whether it is time for a check.

        Arguments:
            position: where the run stands.
            last: whether that is its end.
        """
        if self.every is None:
            return False
        steps, seconds = position.step - self.last.step, position.seconds - self.last.seconds
        return (
            last or self.every.spent(seconds=seconds, images=steps * self.batch, steps=steps) >= 1
        )

    def __call__(self, position: Position, average: Mapping[str, Tensor], engine: Engine) -> Health:
        """Check the run.

        Arguments:
            position: where it stands.
            average: the averaged weights, by the names of the network's state dict.
            engine: how to compute.
        """
        rows = -(-self.batch // self.processes)  # of which a step computes as many parts
        found, _ = until_it_fits(
            lambda parts: self.checks(position.step, average, engine, -(-rows // parts)),
            position.split,
            rows,
            lambda: None,
        )
        elapsed = position.seconds - self.begun.seconds
        share = self.waited / elapsed if elapsed > 0 else None
        self.last = self.begun = position
        self.waited = 0.0
        self.found = replace(found, data_share=share, processes=self.processes)
        return self.found

    def score(self, position: Position) -> float | None:
        """The held-out loss there, lower is better; none where it was not measured.

        Arguments:
            position: where the run stands.
        """
        return self.found.score if self.found and self.last.step == position.step else None
