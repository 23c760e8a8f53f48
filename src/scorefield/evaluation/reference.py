"""Real samples that others are compared with: looked at once, then asked as often as need be."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from scorefield.data.base import Data, DataSpec
from scorefield.data.blocks import spread
from scorefield.errors import InputError
from scorefield.evaluation.features import Features, Fitted, Seen, shown
from scorefield.evaluation.figures import (
    class_figures,
    few,
    image_figures,
    sliced_figure,
    vector_figures,
)
from scorefield.evaluation.frechet import Gaussian, frechet_from_moments, gaussian_of
from scorefield.evaluation.kernels import energy_distance
from scorefield.evaluation.scores import ENERGY, FRECHET, Figure, Scores

MOST = 60_000  # reference samples that are looked at; of more, as many from all over
SOME = 2048  # samples that features are fitted to, or fewer of
NUMBERS = 1 << 26  # numbers in all, half a gigabyte where they are doubled in precision

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
        chance, real = torch.Generator().manual_seed(seed), self.seen
        if self.spec.is_image:
            yield from image_figures(seen.features, real.features, self.gaussian, chance)
        else:
            yield from vector_figures(seen.features, real.features)
        # Directions of their own: those of samples and of the floor are to be the same.
        directions = torch.Generator().manual_seed(seed)
        yield sliced_figure(seen.features, real.features, directions)
        if seen.logits is not None and real.logits is not None:
            known = real.logits.shape[1] == self.spec.classes  # or the classifier's are others
            yield from class_figures(seen.logits, real.logits, labels if known else None, chance)


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
    fitting = max(256, min(SOME, NUMBERS // math.prod(data.spec.shape)))
    some, _ = data.batch(spread(len(data), fitting))
    fitted = features.fitted(shown(some, data.spec))
    digest = hashlib.sha256(f"{len(data)} {data.spec.shape}".encode())
    if data.label is not None:
        digest.update(data.label.numpy().tobytes())
    rows, parts = spread(len(data), MOST), []
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
