"""Which figures a set of samples gets beside a reference, in the order to show, and what they say."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scorefield.data.blocks import spread
from scorefield.evaluation.classes import (
    chi_square,
    chi_square_two,
    class_counts,
    confidence,
    inception_score,
    label_agreement,
)
from scorefield.evaluation.fidelity import density_coverage, precision_recall
from scorefield.evaluation.frechet import (
    Gaussian,
    frechet_from_moments,
    frechet_infinity,
    frechet_interval,
    gaussian_of,
)
from scorefield.evaluation.kernels import energy_distance, kernel_distance, mmd
from scorefield.evaluation.scores import ENERGY, FRECHET, Figure, estimated
from scorefield.evaluation.sliced import sliced_wasserstein

PAIRS = 10_000  # rows of either side where each is compared with each
MANY = 512  # features beyond which a bootstrap takes minutes, and is made of fewer resamples
ENOUGH = 15  # samples for each feature from which on a distance is extrapolated to endless ones

MEANING = {
    FRECHET: "how far the mean and the covariance of the features are from those of real samples",
    "Fréchet distance, N → ∞": "the same, had there been endless samples",
    "KID": "how far apart the laws of the features are, whatever the count",
    "precision": "share of samples that lie among real ones",
    "recall": "share of real samples that lie among samples",
    "density": "in how many real samples' reach a sample lies; real ones have 1",
    "coverage": "share of real samples that have a sample near",
    ENERGY: "how much further samples are from real ones than these from one another",
    "MMD²": "how far apart the two laws are, seen through a Gaussian kernel",
    "sliced Wasserstein": "how far samples are to be moved to become real ones, along random directions",
    "inception score": "whether each is of one class and all are of many; it knows nothing of the data",
    "classifier's confidence": "how sure the classifier is of what it reads",
    "labels obeyed": "share of samples that are read as the class that was asked for",
    "classes, χ² p-value": "how often chance makes classes as unlike those asked for, or the real ones",
    "log-likelihood in nats": "mean log-density that the model gives held-out samples, in its units",
}


def image_figures(
    samples: Tensor, real: Tensor, reference: Gaussian, chance: torch.Generator
) -> Iterator[Figure]:
    """How near the features of images are to those of real ones.

    Arguments:
        samples: features, shape (N, D).
        real: features of real images, shape (M, D).
        reference: their mean and covariance.
        chance: draws resamples.
    """
    there = gaussian_of(samples)
    resamples = 200 if samples.shape[1] <= MANY else 30
    interval = frechet_interval(samples, reference, chance, resamples=resamples)
    yield Figure(FRECHET, frechet_from_moments(*there, *reference), *interval, "lower")
    if len(samples) >= ENOUGH * samples.shape[1]:
        endless = frechet_infinity(samples, reference, chance)
        yield estimated("Fréchet distance, N → ∞", endless, "lower")
    some = few(samples)
    blocks = min(10, len(some) // 2, len(real) // 2)
    yield estimated("KID", kernel_distance(some, few(real), chance, blocks=blocks), "lower")
    count = min(len(some), len(real), PAIRS)  # as many of either: coverage grows with the samples
    some, like = few(some, count), few(real, count)
    fidelity = precision_recall(some, like)
    yield Figure("precision", fidelity.precision, better="higher")
    yield Figure("recall", fidelity.recall, better="higher")
    cover = density_coverage(some, like)
    yield Figure("density", cover.density, better="higher")
    yield Figure("coverage", cover.coverage, better="higher")


def vector_figures(samples: Tensor, real: Tensor) -> Iterator[Figure]:
    """How near vectors are to real ones.

    Arguments:
        samples: features, shape (N, D).
        real: features of real vectors, shape (M, D).
    """
    some, like = few(samples), few(real)
    yield estimated(ENERGY, energy_distance(some, like), "lower")
    yield estimated("MMD²", mmd(some, like), "lower")


def sliced_figure(samples: Tensor, real: Tensor, chance: torch.Generator) -> Figure:
    """How near anything is to real ones, along random directions.

    Arguments:
        samples: features, shape (N, D).
        real: features of real samples, shape (M, D).
        chance: draws the directions.
    """
    value = sliced_wasserstein(few(samples), few(real), chance)
    return Figure("sliced Wasserstein", value, better="lower")


def class_figures(
    logits: Tensor, real: Tensor, labels: Tensor | None, chance: torch.Generator
) -> Iterator[Figure]:
    """What a classifier makes of samples.

    Arguments:
        logits: of the samples, shape (N, K).
        real: of real samples, shape (M, K).
        labels: the class that each sample was asked for, shape (N,); none if there were none.
        chance: draws splits.
    """
    yield estimated("inception score", inception_score(logits, chance), "higher")
    yield estimated("classifier's confidence", confidence(logits), "higher", least=0.0, most=1.0)
    read = logits.argmax(1)
    if labels is not None:
        yield estimated(
            "labels obeyed", label_agreement(read, labels), "higher", least=0.0, most=1.0
        )
    classes = logits.shape[1]
    counts = class_counts(read, classes)
    like = class_counts(real.argmax(1) if labels is None else labels, classes)
    if sum(map(bool, like)) > 1:  # with a single class there is nothing to compare
        found = chi_square_two(counts, like) if labels is None else chi_square(counts, like)
        yield Figure("classes, χ² p-value", found.p)


def few(rows: Tensor, most: int = PAIRS) -> Tensor:
    """Rows from all over, few enough that each can be compared with each.

    Arguments:
        rows: shape (N, ...).
        most: how many.
    """
    return rows if len(rows) <= most else rows[spread(len(rows), most)]
