"""A recipe fitted to images: the presets, carried over to other sizes, ranges and budgets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast

from scorefield.core.objective import Objective
from scorefield.core.parameterizations import EDM
from scorefield.core.schedules import VE
from scorefield.core.times import LogNormalTimes
from scorefield.data.base import Dataset, DataSpec
from scorefield.doctor.augment import mirrors
from scorefield.doctor.choices import Basis, Choice, batch_for, furthest, rounded_up, short
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.speed import Pace
from scorefield.nets.unet import UNetConfig
from scorefield.recipes.presets import RECIPES
from scorefield.recipes.recipe import Recipe, Sampling
from scorefield.recipes.training import Training

LR, WIDTH, BATCH = 1.2e-2, 48, 64  # of the preset for MNIST
WIDTHS = (96, 64, 48, 32)  # that may be chosen, the widest first
# Images that a network of width 48 is to see; others as the square of the width. For digits at half as
# many, width 32 with as much arithmetic did better.
ENOUGH = 100_000
HELD = 4_000_000  # numbers in the finest layer's output for a part of a batch, at most
FEW = 1_000  # images below which a network is kept small
SMALL = 16  # side of images below which no pixels are folded away
HEARD = 100  # times that a sample of few is seen, above which dropout is used


@dataclass(frozen=True)
class Known:
    """Noise levels that are known to do well, and the images that they were tried on.

    Arguments:
        mean: of log σ.
        std: of log σ.
        side: of the images.
        sigma_data: of the images.
        words: what is known of them.
        basis: what that rests on.
    """

    mean: float
    std: float
    side: int
    sigma_data: float
    words: str
    basis: Basis


GRAY = Known(0.4, 1.4, 28, 0.617, "did best on digits of 28 pixels", "measured")
COLOUR = Known(-1.2, 1.2, 32, 0.5, "is that of Karras et al. 2022 for colour photographs", "source")


def image_recipe(
    diagnosis: Diagnosis, dataset: Dataset, budget: str, pace: Pace
) -> tuple[Recipe, tuple[Choice, ...]]:
    """The recipe for images, and the reasons for what is peculiar to them.

    Arguments:
        diagnosis: what was measured of the data.
        dataset: the data, for the recipe.
        budget: how much to train.
        pace: how fast recipes train.
    """
    spec = diagnosis.spec
    times, why_times = _times(spec)
    schedule, why_schedule = _schedule(diagnosis)
    batch = batch_for(BATCH, diagnosis.count)
    augmentation, why_flip = mirrors(diagnosis)
    sampling, why_sampling = _sampling(spec)
    recipe = Recipe(
        data=dataset,
        network=_shaped(spec),
        schedule=schedule,
        parameterization=EDM(sigma_data=spec.sigma_data),
        objective=Objective(times=times),
        augmentation=augmentation,
        training=Training(
            budget=budget,
            batch=batch,
            accumulate=_parts(batch, spec, WIDTH),
            lr=LR,
            optimizer="muon",
        ),
        sampling=sampling,
    )
    recipe, why_network = _sized(recipe, diagnosis, pace)
    reasons = (why_network, *why_schedule, why_times, why_flip, *_reasons(recipe, diagnosis))
    return recipe, (*reasons, *why_sampling)


def _sampling(spec: DataSpec) -> tuple[Sampling, tuple[Choice, ...]]:
    """The presets' ways: with guidance where it is known to do well, for classes of gray images."""
    if max(spec.shape[1:]) < SMALL:
        why = "of DPM-Solver++, as in the presets for small images"
        return Sampling(), (Choice("sampling.steps", why, "rule of thumb"),)
    if spec.classes == 0 or spec.shape[0] >= 3:
        why = "of the Gaussian-residual sampler for networks, as in the presets"
        return RECIPES["cifar10"].sampling, (Choice("sampling.steps", why, "rule of thumb"),)
    found = RECIPES["mnist"].sampling
    why = (
        f"guidance {found.guidance} in {found.steps} steps of the Gaussian-residual sampler for networks "
        f"did best on digits of 28 pixels, at {found.evaluations} evaluations"
    )
    return found, (Choice("sampling", why, "measured"),)


def _shaped(spec: DataSpec) -> UNetConfig:
    """The UNet for images of this size, at the width of the presets."""
    side = max(spec.shape[1:])
    colour = spec.shape[0] >= 3
    patch = 1 if side < SMALL else 2 if side <= 128 else 4
    coarsest = 4 if colour else 8
    levels = 2
    while -(-side // patch) / 2 ** (levels - 1) > coarsest:
        levels += 1
    attention = (levels - 1,) if colour else ()
    return UNetConfig(
        width=WIDTH, multipliers=(1, *[2] * (levels - 1)), patch=patch, attention=attention
    )


def _parts(batch: int, spec: DataSpec, width: int) -> int:
    """In how many parts a batch, a power of two, is computed so that it fits in memory."""
    one = math.prod(spec.shape[1:]) // _shaped(spec).patch ** 2 * width
    parts = 1
    while parts < batch and batch // parts * one > HELD:
        parts *= 2
    return parts


def _sized(recipe: Recipe, diagnosis: Diagnosis, pace: Pace) -> tuple[Recipe, Choice]:
    """A recipe with the widest network that the budget can teach, and what follows from the width."""
    shape, batch = cast(UNetConfig, recipe.network), recipe.training.batch
    few = diagnosis.count < FEW
    pace.rate(recipe)  # times the presets' width, whichever is chosen
    for width in WIDTHS[-1:] if few else WIDTHS:
        training = replace(
            recipe.training,
            lr=float(f"{LR * min(1.0, math.sqrt(WIDTH / width)):.2g}"),
            accumulate=_parts(batch, diagnosis.spec, width),
        )
        fitted = replace(recipe, network=replace(shape, width=width), training=training)
        need, seen = ENOUGH * width**2 // WIDTH**2, pace.seen(fitted)
        if seen >= need:
            break
    if few:
        size = f"small, as {diagnosis.count:,} images are soon learnt by heart"
    elif seen >= need:
        size = (
            f"the widest of {', '.join(map(str, WIDTHS))} that sees {need:,} images in the budget"
        )
    else:
        hours = need / pace.rate(fitted) / 3600
        size = (
            f"the narrowest, and yet the budget shows {seen:,} images where {need:,} are wanted, which "
            f"take {hours:.1g} h here"
        )
    if seen > HEARD * diagnosis.count and diagnosis.count < 10_000:
        fitted = replace(fitted, network=replace(shape, width=width, dropout=0.1))
        size += f"; dropout, as few images are each seen more than {HEARD} times"
    return fitted, Choice("network", f"{_form(shape)}; width {width}: {size}", "rule of thumb")


def _form(network: UNetConfig) -> str:
    """What a network looks like, in words, but for its width."""
    pixels = f"{network.patch}×{network.patch} patches" if network.patch > 1 else "pixels"
    words = f"a UNet on {pixels} at {len(network.multipliers)} resolutions"
    if network.attention:
        return f"{words}, attention at the coarsest, as in the preset for colour"
    return f"{words}, no attention, which on digits cost a quarter of the speed and gained nothing"


def _schedule(diagnosis: Diagnosis) -> tuple[VE, list[Choice]]:
    spec, sigma = diagnosis.spec, diagnosis.spec.sigma_data
    step = math.inf
    if spec.levels and spec.low is not None and spec.high is not None:
        step = (spec.high - spec.low) / (spec.levels - 1)
    low = short(max(min(step / 4, 0.004 * sigma), 0.001 * sigma))
    high = rounded_up(max(diagnosis.distance.value, 20 * sigma))
    return VE(low, high), [
        Choice(
            "schedule.sigma_min",
            "a quarter of the step between two levels, which rounding hides, but within 0.001 to 0.004 "
            "σ_data; EDM has 0.004 (Karras et al. 2022)",
            "source",
        ),
        Choice(
            "schedule.sigma_max",
            f"{furthest(diagnosis, 'image')}; noise as wide lets a path lead from any image to any "
            f"other (Song & Ermon 2020, Technique 1), and at least 20 σ_data, beyond which nothing of "
            f"an image is seen",
            "measured",
        ),
    ]


def _times(spec: DataSpec) -> tuple[LogNormalTimes, Choice]:
    """Known noise levels, moved with the spread of the data and with larger images."""
    known = COLOUR if spec.shape[0] >= 3 else GRAY
    larger = min(1.0, max(0.0, math.log(max(spec.shape[1:]) / known.side)))
    wider = math.log(spec.sigma_data / known.sigma_data)
    times = LogNormalTimes(mean=round(known.mean + wider + larger, 1), std=known.std)
    reason = f"log σ ~ N({known.mean}, {known.std}²) {known.words}"
    if times.mean == known.mean:
        return times, Choice("objective.times", reason, known.basis)
    reason += (
        f" and σ_data {known.sigma_data:g}; the centre moves with log σ_data, and with the logarithm of "
        f"a larger side, as larger images show through more noise (Hoogeboom et al. 2023)"
    )
    return times, Choice("objective.times", reason, "rule of thumb")


def _reasons(recipe: Recipe, diagnosis: Diagnosis) -> list[Choice]:
    lr, batch, parts = recipe.training.lr, recipe.training.batch, recipe.training.accumulate
    found = [
        Choice("training.batch", f"{BATCH} did better than 128 on digits", "measured"),
        Choice(
            "training.lr",
            f"{LR:g}, with Muon, was the best of 0.003 to 0.012 on digits at width {WIDTH}"
            + ("" if lr == LR else "; less by the root of the width"),
            "measured" if lr == LR else "rule of thumb",
        ),
    ]
    if diagnosis.spec.classes:
        words = "on: the data have labels, which make learning easier and can be asked for"
        found.append(Choice("network.conditional", words, "rule of thumb"))
    if parts > 1:
        words = f"parts of {batch // parts}, to fit in memory"
        found.append(Choice("training.accumulate", words, "rule of thumb"))
    return found
