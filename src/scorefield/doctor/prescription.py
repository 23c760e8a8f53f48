"""A recipe fitted to data and a budget, with a reason beside every choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scorefield.data.base import Dataset
from scorefield.doctor.choices import Choice, given
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.findings import plural
from scorefield.doctor.images import image_recipe
from scorefield.doctor.speed import Measure, Pace, training_rate
from scorefield.doctor.vectors import vector_recipe
from scorefield.recipes.presets import overridden
from scorefield.recipes.recipe import Recipe

LEAST = 300  # steps of training below which little is learnt
MANY = 200  # times that each image is seen, above which a network may learn it by heart


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
    diagnosis: Diagnosis,
    dataset: Dataset,
    budget: str,
    overrides: Sequence[str] = (),
    *,
    measure: Measure = training_rate,
) -> Prescription:
    """The recipe for data and a budget.

    Arguments:
        diagnosis: what was measured of the data.
        dataset: the data, for the recipe.
        budget: how much to train: a time (90s, 5m, 2h), images (600k images) or steps (120steps).
        overrides: what the user wants otherwise, such as ``network.width=64``.
        measure: training samples a second of a recipe; a second's trial if not given.

    Raises:
        InputError: for a budget that is none, and overrides that do not fit.
    """
    wishes = dict(word.partition("=")[::2] for word in overrides)
    budget = wishes.pop("training.budget", budget)  # which all is fitted to
    pace = Pace(diagnosis.spec, measure)
    fitted = image_recipe if diagnosis.spec.is_image else vector_recipe
    recipe, reasons = fitted(diagnosis, dataset, budget, pace)
    steps = max(1, pace.seen(recipe) // recipe.training.batch)
    warmup = min(recipe.training.warmup, steps // 10)
    recipe = replace(recipe, training=replace(recipe.training, warmup=warmup))
    recipe = overridden(recipe, overrides)
    rate, seen = pace.rate(recipe), pace.seen(recipe)
    epochs = seen / diagnosis.count
    by_heart = diagnosis.spec.is_image and epochs > MANY
    choices = (*reasons, *_shared(recipe, rate, seen, epochs, by_heart=by_heart))
    for key in wishes:
        choices = given(choices, key)
    return Prescription(recipe, choices, rate, seen, epochs)


def _shared(
    recipe: Recipe, rate: float, seen: int, epochs: float, *, by_heart: bool
) -> tuple[Choice, ...]:
    """Reasons that do not depend on the kind of data."""
    times = f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.2g}"
    steps = max(1, seen // recipe.training.batch)
    much = "; look whether its samples are training samples" if by_heart else ""
    much = f"; little is learnt in fewer than {LEAST} steps" if steps < LEAST else much
    return (
        Choice(
            "parameterization",
            "EDM's: the network's target has unit variance at every noise level (Karras et al. 2022)",
            "source",
        ),
        Choice(
            "parameterization.sigma_data",
            "the standard deviation of these data about their mean",
            "measured",
        ),
        Choice(
            "training.budget",
            f"at the {rate:,.0f} samples/s measured here (eager, float32; the trainer looks for "
            f"something faster) a budget of {recipe.training.budget} shows {plural(seen, 'sample')} in "
            f"{plural(steps, 'step')}, each of the data {times} times{much}",
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
