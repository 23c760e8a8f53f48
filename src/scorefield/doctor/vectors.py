"""A recipe fitted to vectors: the toys' preset, with a network as wide as the vectors ask for."""

from __future__ import annotations

import math

from scorefield.core.objective import Objective
from scorefield.core.parameterizations import EDM
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VE, VP
from scorefield.core.times import UniformTimes
from scorefield.data.base import Dataset
from scorefield.doctor.choices import Choice, batch_for, furthest, rounded_up, short
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.speed import Pace
from scorefield.nets.mlp import MLPConfig
from scorefield.recipes.recipe import Recipe, Sampling
from scorefield.recipes.training import Training

BATCH, LR = 512, 2e-3  # of the presets for toys
SMALL, MIDDLE = 8, 64  # numbers in a sample up to which the network has 128 and 256 units
FEW = 2_000  # samples below which it stays narrow
FINE = 0.05  # σ/α at the data's end of a schedule, in σ_data, at most


def vector_recipe(
    diagnosis: Diagnosis, dataset: Dataset, budget: str, pace: Pace
) -> tuple[Recipe, tuple[Choice, ...]]:
    """The recipe for vectors and signals, and the reasons for what is peculiar to them.

    Arguments:
        diagnosis: what was measured of the data.
        dataset: the data, for the recipe.
        budget: how much to train.
        pace: how fast recipes train; not needed, since these networks are small.
    """
    network, why = _network(diagnosis)
    schedule, because = _schedule(diagnosis)
    recipe = Recipe(
        data=dataset,
        network=network,
        schedule=schedule,
        parameterization=EDM(sigma_data=diagnosis.spec.sigma_data),
        objective=Objective(times=UniformTimes()),
        training=Training(
            budget=budget,
            batch=batch_for(BATCH, diagnosis.count),
            lr=LR,
            precision="fp32",
            compile="off",
        ),
        sampling=Sampling(steps=25),
    )
    return recipe, (why, because, *_reasons())


def _network(diagnosis: Diagnosis) -> tuple[MLPConfig, Choice]:
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


def _noise(path: Schedule, t: float) -> float:
    """σ/α at a time."""
    return math.exp(-0.5 * float(path.log_snr(t)))


def _schedule(diagnosis: Diagnosis) -> tuple[Schedule, Choice]:
    """VP, unless the data are wider than its noise or finer."""
    sigma, far = diagnosis.spec.sigma_data, diagnosis.distance.value
    path: Schedule = VP()
    if far > _noise(path, 1.0) or _noise(path, path.t_min) > FINE * sigma:
        path = VE(short(0.004 * sigma), rounded_up(max(far, 20 * sigma)))
    reason = (
        f"its noise grows to σ/α = {_noise(path, 1.0):.3g}, and is to be as wide as any pair of samples "
        f"(Song & Ermon 2020, Technique 1): {furthest(diagnosis, 'sample')}"
    )
    return path, Choice("schedule", reason, "measured")


def _reasons() -> tuple[Choice, ...]:
    return (
        Choice("objective.times", "every time alike, as in the presets for toys", "rule of thumb"),
        Choice(
            "training.batch",
            f"as many as {BATCH}: a step of a small network hardly takes longer for it",
            "rule of thumb",
        ),
        Choice("training.lr", "that of the presets for toys, AdamW", "rule of thumb"),
        Choice(
            "training.compile",
            "off, and float32: measuring would take longer than it saves on so small a network",
            "rule of thumb",
        ),
        Choice("sampling.steps", "of DPM-Solver++, as in the presets for toys", "rule of thumb"),
    )
