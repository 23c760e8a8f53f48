"""Real samples that others are compared with: looked at once, then asked as often as need be."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from scorefield.data.base import Data, DataSpec
from scorefield.errors import InputError
from scorefield.evaluation.classes import (
    chi_square_two,
    class_counts,
    confidence,
    inception_score,
    label_agreement,
)
from scorefield.evaluation.features import Features, Fitted, Seen, shown
from scorefield.evaluation.fidelity import density_coverage, precision_recall
from scorefield.evaluation.frechet import (
    Gaussian,
    frechet_from_moments,
    frechet_infinity,
    frechet_interval,
    gaussian_of,
)
from scorefield.evaluation.kernels import energy_distance, kernel_distance, mmd
from scorefield.evaluation.scores import ENERGY, FRECHET, Figure, Scores, estimated
from scorefield.evaluation.sliced import sliced_wasserstein

MOST = 60_000  # reference samples that are looked at; of more, as many evenly spaced ones
PAIRS = 10_000  # of either side where each sample is compared with each
SOME = 2048  # samples that features are fitted to
MANY = 512  # features beyond which a bootstrap takes minutes, and is made of fewer resamples
ENOUGH = 16  # samples for each feature from which on a distance is extrapolated to endless ones

T = TypeVar("T")


@dataclass(frozen=True)
class Reference:
    """Real samples as features see them.

    In one unit for all: features are scaled by one number so that their total variance over the
    reference is their count D. Those in whose own unit figures are published are left in it.

    Arguments:
        fitted: the features, ready to look.
        spec: the description of the data.
        seen: what they make of the reference, in that unit.
        scale: what the features were multiplied by.
        data_hash: of the samples that were looked at.
    """

    fitted: Fitted
    spec: DataSpec
    seen: Seen
    scale: float
    data_hash: str

    @staticmethod
    def of(features: Features, data: Data) -> Reference:
        """The reference that data are, looked at in one go.

        Arguments:
            features: what to compare in.
            data: the real samples; at least 2.

        Raises:
            InputError: when the features do not fit the data, or are not at hand.
        """
        return drained(referring(features, data))

    @property
    def name(self) -> str:
        """What the features are called."""
        return self.fitted.name

    @property
    def hash(self) -> str:
        """The hash of the features."""
        return self.fitted.hash

    @property
    def count(self) -> int:
        """Real samples that were looked at."""
        return len(self.seen.features)

    @cached_property
    def gaussian(self) -> Gaussian:
        """Mean and covariance of the features."""
        return gaussian_of(self.seen.features)

    @property
    def distance_name(self) -> str:
        """What `distance` measures: a Fréchet distance for images, an energy distance for the rest."""
        return FRECHET if self.spec.is_image else ENERGY

    def look(self, x: Tensor) -> Seen:
        """What the features make of samples, in the reference's unit.

        Arguments:
            x: samples in the model's units, shape (N, ...), as `Model.sample` gives them.

        Raises:
            InputError: for samples of another shape than the reference's.
        """
        if tuple(x.shape[1:]) != self.spec.shape:
            raise InputError(
                f"the reference has samples of shape {self.spec.shape}, got {tuple(x.shape[1:])}"
            )
        return self.look_at(shown(x, self.spec))

    def look_at(self, samples: Tensor) -> Seen:
        """The same of samples as `shown` gives them.

        Arguments:
            samples: images as people keep them, or vectors and signals in the model's units.
        """
        parts = torch.split(samples, self.fitted.batch)
        return scaled(joined([self.fitted.look(part) for part in parts]), self.scale)

    def distance(self, features: Tensor) -> float:
        """The one figure that orders sets of samples of the same count; lower is better.

        Arguments:
            features: as `look` gives them, shape (N, D); some of its rows, for a bootstrap.
        """
        if not self.spec.is_image:
            return energy_distance(few(features), few(self.seen.features)).value
        there = gaussian_of(features)
        return frechet_from_moments(
            there.mean, there.covariance, self.gaussian.mean, self.gaussian.covariance
        )

    def score(self, x: Tensor, labels: Tensor | None = None, *, seed: int = 0) -> Scores:
        """All figures of samples.

        Arguments:
            x: samples in the model's units, shape (N, ...), as `Model.sample` gives them.
            labels: the class that each was asked for, shape (N,); none if there are none.
            seed: of resampling and of random projections.

        Raises:
            InputError: for samples of another shape than the reference's, or too few of them.
        """
        return Scores(len(x), tuple(self.scoring(self.look(x), labels, seed=seed)))

    def scoring(
        self, seen: Seen, labels: Tensor | None = None, *, seed: int = 0
    ) -> Iterator[Figure]:
        """The figures of samples as they come.

        Arguments:
            seen: what `look` makes of the samples.
            labels: the class that each was asked for, shape (N,); none if there are none.
            seed: of resampling and of random projections.
        """
        chance = torch.Generator().manual_seed(seed)
        if self.spec.is_image:
            yield from self._of_images(seen.features, chance)
        else:
            yield from self._of_vectors(seen.features)
        few_seen, few_real = few(seen.features), few(self.seen.features)
        wasserstein = sliced_wasserstein(few_seen, few_real, chance)
        yield Figure("sliced Wasserstein", wasserstein, better="lower")
        if seen.logits is not None and self.seen.logits is not None:
            yield from self._of_classes(seen.logits, self.seen.logits, labels, chance)

    def _of_images(self, features: Tensor, chance: torch.Generator) -> Iterator[Figure]:
        resamples = 200 if features.shape[1] <= MANY else 30
        interval = frechet_interval(features, self.gaussian, chance, resamples=resamples)
        yield Figure(FRECHET, self.distance(features), interval.low, interval.high, "lower")
        if len(features) >= ENOUGH * features.shape[1]:
            endless = frechet_infinity(features, self.gaussian, chance)
            yield estimated("Fréchet distance, N → ∞", endless, "lower")
        some, real = few(features), few(self.seen.features)
        yield estimated("KID", kernel_distance(some, real, chance), "lower")
        real = few(self.seen.features, len(some))  # as many of either, so that real ones get near 1
        fidelity = precision_recall(some, real)
        yield Figure("precision", fidelity.precision, better="higher")
        yield Figure("recall", fidelity.recall, better="higher")
        cover = density_coverage(some, real)
        yield Figure("density", cover.density, better="higher")
        yield Figure("coverage", cover.coverage, better="higher")

    def _of_vectors(self, features: Tensor) -> Iterator[Figure]:
        some, real = few(features), few(self.seen.features)
        yield estimated(ENERGY, energy_distance(some, real), "lower")
        yield estimated("MMD²", mmd(some, real), "lower")

    def _of_classes(
        self, logits: Tensor, real: Tensor, labels: Tensor | None, chance: torch.Generator
    ) -> Iterator[Figure]:
        yield estimated("inception score", inception_score(logits, chance), "higher")
        yield estimated("classifier's confidence", confidence(logits), "higher", most=1.0)
        read = logits.argmax(1)
        if labels is not None:
            yield estimated("labels obeyed", label_agreement(read, labels), "higher", most=1.0)
            return
        counts = [class_counts(one.argmax(1), logits.shape[1]) for one in (logits, real)]
        yield Figure("classes, χ² p-value", chi_square_two(*counts).p)


def referring(features: Features, data: Data) -> Generator[float, None, Reference]:
    """The reference that data are, looked at batch by batch: the share done, and at the end the reference.

    Arguments:
        features: what to compare in.
        data: the real samples; at least 2.

    Raises:
        InputError: when the features do not fit the data, or are not at hand.
    """
    if len(data) < 2:
        raise InputError(f"a reference needs at least 2 real samples, got {len(data)}")
    features.check(data.spec)
    some, _ = data.batch(spaced(len(data), SOME))
    fitted = features.fitted(shown(some, data.spec))
    digest = hashlib.sha256(f"{len(data)} {data.spec.shape}".encode())
    if data.label is not None:
        digest.update(data.label.numpy().tobytes())
    rows, parts = spaced(len(data), MOST), []
    for indices in torch.split(rows, fitted.batch):
        stored = data.stored(indices)
        digest.update(stored.contiguous().numpy().tobytes())
        parts.append(fitted.look(shown(data.spec.to_model(stored), data.spec)))
        yield float(indices[-1] + 1) / len(data)
    seen = joined(parts)
    total = float(seen.features.var(0).sum())
    scale = 1.0 if fitted.published or not total > 0 else (seen.features.shape[1] / total) ** 0.5
    return Reference(fitted, data.spec, scaled(seen, scale), scale, digest.hexdigest()[:16])


def drained(work: Generator[object, None, T]) -> T:
    """What work gives at its end.

    Arguments:
        work: a generator that returns it.
    """
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def spaced(count: int, most: int) -> Tensor:
    """At most so many numbers below a count, evenly spaced, shape (min(count, most),), int64.

    Arguments:
        count: how many there are.
        most: how many to take.
    """
    taken = min(count, most)
    return torch.arange(taken) * count // taken


def few(rows: Tensor, most: int = PAIRS) -> Tensor:
    """Evenly spaced rows, few enough that each can be compared with each.

    Arguments:
        rows: shape (N, ...).
        most: how many.
    """
    return rows if len(rows) <= most else rows[spaced(len(rows), most)]


def joined(parts: list[Seen]) -> Seen:
    """What was seen in batches as one.

    Arguments:
        parts: in order; at least 1.
    """
    logits = [part.logits for part in parts if part.logits is not None]
    return Seen(torch.cat([part.features for part in parts]), torch.cat(logits) if logits else None)


def scaled(seen: Seen, scale: float) -> Seen:
    """The same in another unit.

    Arguments:
        seen: what was seen.
        scale: what the features are multiplied by.
    """
    return Seen(seen.features * scale, seen.logits)
