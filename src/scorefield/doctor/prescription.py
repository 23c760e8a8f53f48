"""A recipe fitted to data and a budget, with a reason beside every choice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from scorefield.core.parameterizations import EDM
from scorefield.data.base import Dataset, DataSpec
from scorefield.doctor.choices import Choice, Fit
from scorefield.doctor.examination import Diagnosis
from scorefield.doctor.findings import plural
from scorefield.doctor.images import ImageFit
from scorefield.doctor.speed import operations, training_rate
from scorefield.doctor.vectors import VectorFit
from scorefield.nets.base import NetworkConfig
from scorefield.recipes.budget import Budget
from scorefield.recipes.recipe import Recipe

MANY = 200  # times that each sample is seen, above which a network may learn it by heart

Rate = Callable[[Recipe, DataSpec], float]


@dataclass(frozen=True)
class Prescription:
    """A recipe, the reasons for it, and what the budget comes to.

    Arguments:
        recipe: what to train.
        choices: the reasons.
        rate: training samples a second on this machine, eager and in float32.
        seen: samples that the budget shows at that rate.
        epochs: times that each sample is seen.
    """

    recipe: Recipe
    choices: tuple[Choice, ...]
    rate: float
    seen: int
    epochs: float


def prescribe(
    diagnosis: Diagnosis, dataset: Dataset, budget: str, rate: Rate = training_rate
) -> Prescription:
    """The recipe for data and a budget.

    One network is timed; the speed of others follows from their numbers of operations.

    Arguments:
        diagnosis: what was measured of the data.
        dataset: the data, for the recipe.
        budget: how much to train: a time (90s, 5m, 2h), images (600k images) or steps (120steps).
        rate: measures training samples a second of a recipe.

    Raises:
        InputError: for a budget that is none.
    """
    spec, amount = diagnosis.spec, Budget.parse(budget)
    fit: Fit = ImageFit() if spec.is_image else VectorFit()
    start = fit.start(diagnosis, dataset)
    start = replace(
        start,
        parameterization=EDM(sigma_data=spec.sigma_data),
        training=replace(start.training, budget=budget),
    )
    speed, base = rate(start, spec), operations(start.network, spec)

    def rate_of(network: NetworkConfig) -> float:
        return speed * base / operations(network, spec)

    def seen(network: NetworkConfig) -> int:
        per = {"seconds": rate_of(network), "images": 1.0, "steps": float(start.training.batch)}
        return max(1, int(amount.amount * per[amount.unit]))

    network, why = fit.network(diagnosis, start.network, seen)
    shown = seen(network)
    recipe, reasons = fit.finished(replace(start, network=network), diagnosis, shown)
    steps = max(1, shown // recipe.training.batch)
    warmup = min(recipe.training.warmup, steps // 10)
    recipe = replace(recipe, training=replace(recipe.training, warmup=warmup))
    epochs = shown / diagnosis.count
    choices = (why, *reasons, *_shared(rate_of(network), shown, steps, epochs))
    return Prescription(recipe, choices, rate_of(network), shown, epochs)


def _shared(rate: float, seen: int, steps: int, epochs: float) -> tuple[Choice, ...]:
    """Reasons that do not depend on the kind of data."""
    times = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.2g}"
    much = "; look whether its samples are training samples" if epochs > MANY else ""
    return (
        Choice(
            "parameterization.sigma_data",
            "the standard deviation of these data about their mean, so that the network's input and "
            "target have unit variance",
            "measured",
        ),
        Choice(
            "training.budget",
            f"at the {rate:,.0f} samples/s measured here (eager, float32; the trainer may find a way "
            f"twice as fast) it shows {plural(seen, 'sample')} in {plural(steps, 'step')}, each of "
            f"the data {times} times{much}",
            "measured",
        ),
        Choice("training.warmup", "100 steps, or a tenth of a short run", "rule of thumb"),
        Choice(
            "training.decay",
            "the rate falls to 0 over the last 60 % of the budget, so that a run ends settled",
            "rule of thumb",
        ),
        Choice(
            "training.ema",
            "a power-function average, 5 % of the run wide (Karras et al. 2024)",
            "source",
        ),
    )
