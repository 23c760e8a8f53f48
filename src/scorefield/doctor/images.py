"""A recipe fitted to images: the digits' preset, carried over to other sizes, ranges and budgets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from scorefield.core.objective import LogNormalTimes, Objective
from scorefield.core.schedules import VE
from scorefield.data.base import Dataset
from scorefield.doctor.choices import Choice, Fit, batch_for, rounded_up
from scorefield.doctor.examination import Diagnosis
from scorefield.nets.base import NetworkConfig
from scorefield.nets.unet import UNetConfig
from scorefield.recipes.recipe import Recipe, Training

# What the presets were measured on: MNIST.
SIDE, SIGMA_DATA, MEAN, STD, LR, WIDTH, BATCH = 28, 0.617, 0.4, 1.4, 1.2e-2, 48, 64
WIDTHS = (96, 64, 48, 32)  # that may be chosen, the widest first
ENOUGH = 80_000  # images that a network of width 48 is to see; as the square of the width
COARSEST = 8  # pixels a side at the coarsest level, at most
HELD = 4_000_000  # numbers in the finest layer's output for a part of a batch, at most
FEW = 1_000  # images below which a network is kept small
SYMMETRIC = 0.1  # mirror gap below which mirrored images are plausible
HEARD = 100  # times that a sample of few is seen, above which dropout is used


@dataclass(frozen=True)
class ImageFit(Fit):
    """How a recipe is fitted to images."""

    def start(self, diagnosis: Diagnosis, dataset: Dataset) -> Recipe:
        spec = diagnosis.spec
        network = _shaped(max(spec.shape[1:]))
        batch = batch_for(BATCH, diagnosis.count)
        return Recipe(
            data=dataset,
            network=network,
            schedule=VE(_sigma_min(diagnosis), _sigma_max(diagnosis)),
            objective=Objective(times=_times(diagnosis)),
            training=Training(
                batch=batch,
                accumulate=_parts(batch, spec.shape, network),
                lr=LR,
                optimizer="muon",
            ),
        )

    def network(
        self, diagnosis: Diagnosis, base: NetworkConfig, seen: Callable[[NetworkConfig], int]
    ) -> tuple[NetworkConfig, Choice]:
        widths = WIDTHS if diagnosis.count >= FEW else WIDTHS[-1:]
        for width in widths:
            network = replace(_shaped(max(diagnosis.spec.shape[1:])), width=width)
            need = ENOUGH * width**2 // WIDTH**2
            if (shown := seen(network)) >= need:
                break
        words = f"the widest of {', '.join(map(str, sorted(widths)))} that sees {need:,} images"
        if shown < need:
            words = f"the narrowest: the budget shows {shown:,} images, of {need:,} that it wants"
        if diagnosis.count < FEW:
            words = f"kept small, as {diagnosis.count:,} images are soon learnt by heart"
        side = max(diagnosis.spec.shape[1:])
        reason = (
            f"a UNet on {network.patch}×{network.patch} patches, halved until {side} pixels are "
            f"{COARSEST} or fewer; width {width}: {words} (in proportion to its weights); without "
            f"attention, which cost a quarter of the speed on digits and gained nothing in 50,000 "
            f"images"
        )
        return network, Choice("network", reason, "rule of thumb")

    def finished(
        self, recipe: Recipe, diagnosis: Diagnosis, seen: int
    ) -> tuple[Recipe, tuple[Choice, ...]]:
        network = cast(UNetConfig, recipe.network)  # as `network` made it
        heard = seen > HEARD * diagnosis.count and diagnosis.count < 10_000
        network = replace(network, dropout=0.1 if heard else 0.0)
        lr = float(f"{LR * min(1.0, math.sqrt(WIDTH / network.width)):.2g}")
        batch = recipe.training.batch
        accumulate = _parts(batch, diagnosis.spec.shape, network)
        training = replace(recipe.training, lr=lr, accumulate=accumulate)
        recipe = replace(recipe, network=network, training=training)
        return recipe, tuple(_reasons(recipe, diagnosis, heard=heard))


def _shaped(side: int) -> UNetConfig:
    """The UNet for images of a side, at the width that the presets have."""
    patch = 1 if side < 16 else 2 if side <= 128 else 4
    fine = -(-side // patch)
    levels = 2
    while fine / 2 ** (levels - 1) > COARSEST:
        levels += 1
    return UNetConfig(width=WIDTH, multipliers=(1, *[2] * (levels - 1)), patch=patch)


def _parts(batch: int, shape: tuple[int, ...], network: UNetConfig) -> int:
    """In how many parts a batch, a power of two, is computed so that it fits in memory."""
    one = math.prod(shape[1:]) // network.patch**2 * network.width
    parts = 1
    while parts < batch and batch // parts * one > HELD:
        parts *= 2
    return parts


def _sigma_min(diagnosis: Diagnosis) -> float:
    """A quarter of the step between two levels, but not far from 0.004 σ_data."""
    spec = diagnosis.spec
    sigma = spec.sigma_data
    step = 0.016 * sigma
    if spec.levels and spec.low is not None and spec.high is not None:
        step = (spec.high - spec.low) / (spec.levels - 1)
    return float(f"{max(min(step / 4, 0.004 * sigma), 0.001 * sigma):.1g}")


def _sigma_max(diagnosis: Diagnosis) -> float:
    """The largest distance, but never so little that data could be seen through the noise."""
    return rounded_up(max(diagnosis.distance.value, 20 * diagnosis.spec.sigma_data))


def _times(diagnosis: Diagnosis) -> LogNormalTimes:
    """The preset's times, moved with the spread of the data and the side of the images."""
    larger = math.log(max(diagnosis.spec.shape[1:]) / SIDE)
    wider = math.log(diagnosis.spec.sigma_data / SIGMA_DATA)
    return LogNormalTimes(mean=round(MEAN + wider + min(max(larger, -1), 1), 1), std=STD)


def _reasons(recipe: Recipe, diagnosis: Diagnosis, *, heard: bool) -> list[Choice]:
    spec, far = diagnosis.spec, diagnosis.distance
    pairs = "of all pairs" if far.exact else f"among the {far.compared:,} images furthest out"
    above = "" if far.exact else f", and none can exceed {far.bound:.3g}"
    lr = recipe.training.lr
    found = [
        Choice(
            "schedule.sigma_min",
            "about a quarter of the step between two levels, below which noise rounds away, and at "
            "most 0.004 σ_data, as in EDM (Karras et al. 2022)",
            "source",
        ),
        Choice(
            "schedule.sigma_max",
            f"the largest distance between two images is {far.value:.3g} ({pairs}{above}); noise as "
            f"wide lets a path lead from any image to any other (Song & Ermon 2020, Technique 1)",
            "measured",
        ),
        Choice(
            "parameterization",
            "EDM's: the network's target has unit variance at every noise level (Karras et al. 2022)",
            "source",
        ),
        Choice(
            "objective.times",
            f"log σ ~ N({MEAN}, {STD}²) was best on digits of {SIDE} pixels and σ_data {SIGMA_DATA}; "
            f"its centre moves with log σ_data exactly, and with the logarithm of the side, as larger "
            f"images show through more noise (Hoogeboom et al. 2023)",
            "rule of thumb",
        ),
        Choice("training.batch", "64 did better than 128 on digits at the same number", "measured"),
        Choice(
            "training.lr",
            f"{LR:g} was the best of 0.003 to 0.012 on digits at width {WIDTH}"
            + ("" if lr == LR else "; less by the square root of the width")
            + "; Muon learnt faster than AdamW there",
            "measured" if lr == LR else "rule of thumb",
        ),
        Choice(
            "sampling",
            "DPM-Solver++ in 20 steps, as in the presets; `scorefield calibrate` fits fewer",
            "measured",
        ),
        Choice("", _mirrors(diagnosis), "rule of thumb"),
    ]
    if heard:
        found.append(
            Choice("network.dropout", "few images, each seen over 100 times", "rule of thumb")
        )
    if spec.classes:
        words = "on: the data have labels, which make learning easier and can be asked for"
        found.append(Choice("network.conditional", words, "rule of thumb"))
    if recipe.training.accumulate > 1:
        words = f"parts of {recipe.training.batch // recipe.training.accumulate}, to fit in memory"
        found.append(Choice("training.accumulate", words, "rule of thumb"))
    return found


def _mirrors(diagnosis: Diagnosis) -> str:
    """Whether mirrored images may be shown too, in words."""
    gap = diagnosis.scan.mirror or 0.0
    if diagnosis.spec.shape[0] != 3:
        return (
            "no mirrored images: of gray images, many are writing or measurements, and a mirrored "
            "digit is none"
        )
    if gap > SYMMETRIC:
        return (
            f"no mirrored images: the mean image differs from its mirror image by {gap:.2f} σ_data, "
            f"so left and right are not alike here"
        )
    return (
        f"mirrored images would be plausible (the mean image differs from its mirror image by "
        f"{gap:.2f} σ_data) if nothing in them is written; none are used, since a recipe has no key "
        f"for it"
    )
