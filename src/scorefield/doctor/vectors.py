"""A recipe fitted to vectors: the toys' preset, with a network as wide as the vectors ask for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scorefield.core.objective import Objective, UniformTimes
from scorefield.core.schedules import VE, VP, Schedule
from scorefield.data.base import Dataset
from scorefield.doctor.choices import Choice, Fit, batch_for, rounded_up
from scorefield.doctor.examination import Diagnosis
from scorefield.nets.base import NetworkConfig
from scorefield.nets.mlp import MLPConfig
from scorefield.recipes.recipe import Recipe, Sampling, Training

BATCH, LR = 512, 2e-3  # of the presets for toys
SMALL, MIDDLE = 8, 64  # numbers in a sample up to which the network has 128 and 256 units
FEW = 2_000  # samples below which it stays narrow


@dataclass(frozen=True)
class VectorFit(Fit):
    """How a recipe is fitted to vectors and signals."""

    def start(self, diagnosis: Diagnosis, dataset: Dataset) -> Recipe:
        return Recipe(
            data=dataset,
            network=MLPConfig(),
            schedule=_schedule(diagnosis),
            objective=Objective(times=UniformTimes()),
            training=Training(
                batch=batch_for(BATCH, diagnosis.count),
                lr=LR,
                precision="fp32",
                compile="off",
            ),
            sampling=Sampling(steps=25),
        )

    def network(
        self, diagnosis: Diagnosis, base: NetworkConfig, seen: Callable[[NetworkConfig], int]
    ) -> tuple[NetworkConfig, Choice]:
        size = math.prod(diagnosis.spec.shape)
        width = 128 if size <= SMALL else 256 if size <= MIDDLE else 512
        reason = (
            f"an MLP of {width} units for {size} numbers in a sample: 128 up to {SMALL}, 256 up to "
            f"{MIDDLE}, then 512"
        )
        if diagnosis.count < FEW and width > 128:
            width = 128
            reason = f"an MLP of 128 units, narrow, as there are {diagnosis.count:,} samples only"
        return MLPConfig(width=width), Choice("network", reason, "rule of thumb")

    def finished(
        self, recipe: Recipe, diagnosis: Diagnosis, seen: int
    ) -> tuple[Recipe, tuple[Choice, ...]]:
        training = replace(recipe.training, lr=LR)
        return replace(recipe, training=training), tuple(_reasons(recipe, diagnosis))


def _end(path: Schedule) -> float:
    """σ/α at the noise end."""
    return math.exp(-0.5 * float(path.log_snr(1.0)))


def _schedule(diagnosis: Diagnosis) -> Schedule:
    """VP, unless the data are wider than its noise."""
    far = diagnosis.distance.value
    if far <= _end(VP()):
        return VP()
    return VE(float(f"{0.004 * diagnosis.spec.sigma_data:.1g}"), rounded_up(far))


def _reasons(recipe: Recipe, diagnosis: Diagnosis) -> list[Choice]:
    far, end = diagnosis.distance, _end(recipe.schedule)
    pairs = "of all pairs" if far.exact else f"among the {far.compared:,} samples furthest out"
    return [
        Choice(
            "schedule",
            f"its noise grows to σ/α = {end:.3g}, beyond the largest distance between two samples, "
            f"{far.value:.3g} ({pairs}), as Song & Ermon 2020, Technique 1, ask",
            "measured",
        ),
        Choice(
            "parameterization",
            "EDM's: the network's target has unit variance at every noise level (Karras et al. 2022)",
            "source",
        ),
        Choice("objective.times", "every time alike, as in the presets for toys", "rule of thumb"),
        Choice(
            "training.batch",
            "as many as 512: a step of a small network hardly takes longer for it",
            "rule of thumb",
        ),
        Choice("training.lr", "that of the presets for toys, AdamW", "rule of thumb"),
        Choice(
            "training.compile",
            "off, and float32: measuring would take longer than it saves on so small a network",
            "rule of thumb",
        ),
        Choice("sampling", "DPM-Solver++ in 25 steps, as in the presets", "rule of thumb"),
    ]
