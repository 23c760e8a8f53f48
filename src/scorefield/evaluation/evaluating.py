"""An evaluation from end to end, as an iterator of its stages."""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from scorefield.data import blocks
from scorefield.data.base import Data, Dataset
from scorefield.errors import InputError
from scorefield.evaluation.choice import features_for
from scorefield.evaluation.classes import class_counts
from scorefield.evaluation.estimates import mean_of
from scorefield.evaluation.features import Features, Seen
from scorefield.evaluation.neighbours import Closeness, closeness
from scorefield.evaluation.reference import Reference, joined, referring
from scorefield.evaluation.result import Gallery, Histogram, Result
from scorefield.evaluation.samples import (
    Drawing,
    Kept,
    determined_by,
    drawn,
    folder_of,
    weights_hash,
)
from scorefield.evaluation.scores import Figure, Scores, estimated
from scorefield.evaluation.splits import Splits, shown_blocks, shown_rows, splits_of, spread
from scorefield.models.likelihoods import likelihoods
from scorefield.models.model import Model
from scorefield.recipes.config import to_dict

FEWEST = 16  # samples
SHOWN, SUSPECTS = 64, 16  # samples in the gallery
BARS = 100  # classes in a histogram
LIKELY = 500  # held-out vectors whose log-likelihood is computed
EXACT = 64  # numbers in a vector up to which its likelihood needs no random probes

T = TypeVar("T")


class Stage(NamedTuple):
    """How far an evaluation is.

    Arguments:
        name: what is being done.
        share: how much of that, from 0 to 1.
        result: what was found; none before the end.
    """

    name: str
    share: float
    result: Result | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is to be evaluated, and how.

    Arguments:
        drawing: how samples are drawn.
        count: how many; at least 16.
        features: what they are compared in; those that fit the data if not given.
        data: the real samples; those of the model's recipe if not given.
    """

    drawing: Drawing
    count: int = 10_000
    features: Features | None = None
    data: Dataset | None = None

    def __post_init__(self) -> None:
        if self.count < FEWEST:
            raise InputError(f"an evaluation needs at least {FEWEST} samples, got {self.count}")


@dataclass
class Clock:
    """What each stage took.

    Arguments:
        seconds: by the stage's name.
    """

    seconds: dict[str, float]

    def timed(self, name: str, work: Generator[float, None, T]) -> Generator[Stage, None, T]:
        """The stages of some work, and what it gives at its end.

        Arguments:
            name: of the stage.
            work: gives the share done, again and again.
        """
        begin = time.perf_counter()
        while True:
            try:
                share = next(work)
            except StopIteration as end:
                self.seconds[name] = round(time.perf_counter() - begin, 3)
                found: T = end.value
                return found
            yield Stage(name, share)


def evaluate(model: Model, asked: Evaluation, root: Path) -> Iterator[Stage]:
    """Draw samples, look at them and at real ones, and measure: the stages, the last with the result.

    Stopped and begun anew, it goes on with the samples that are in ``root``.

    Arguments:
        model: a trained model.
        asked: what is to be evaluated, and how.
        root: folder of the samples.

    Raises:
        InputError: for features that do not fit the data or are not at hand, or data that are not the
            model's.
    """
    features = asked.features or features_for(model.spec)
    features.check(model.spec)
    labels = _labels(model, asked)
    clock, dataset = Clock({}), asked.data or model.recipe.data
    splits = splits_of(dataset)
    check_real(model, splits)
    # Real samples come first: if features are not at hand, nothing was drawn in vain.
    reference = yield from clock.timed("real samples", referring(features, splits.reference))
    model = model.settled(asked.count, asked.drawing.sampling)
    folder = folder_of(root, determined_by(model, asked.drawing))
    yield from clock.timed("drawing", drawn(model, asked.drawing, asked.count, folder))
    samples = Kept(asked.count, asked.drawing.batch or model.batch, folder)
    seen = yield from clock.timed("looking", _looked(reference, samples))
    scores = yield from clock.timed("figures", _scored(reference, seen, labels))
    if _has_likelihood(model):
        likely = yield from clock.timed("likelihood", _likelihood(model, splits.held_out))
        scores = replace(scores, figures=(*scores.figures, likely))
    real = spread(splits.held_out, asked.count)
    held_out = yield from clock.timed("held-out samples", _looked(reference, shown_blocks(real)))
    true = None if labels is None else real.label
    floor = yield from clock.timed("floor", _scored(reference, held_out, true))
    near = yield from clock.timed("nearest training samples", closeness(samples, splits))
    about = _about(model, asked, dataset, splits, reference) | {"seconds": clock.seconds}
    if labels is not None:
        about["data"]["mix"] = _mix(asked.drawing.label, splits.reference, model.spec.classes)
    classes, gallery = _histogram(seen, held_out, real), _gallery(samples, splits, near)
    yield Stage("done", 1.0, Result(about, scores, floor, classes, near.plain(), gallery))


def check_real(model: Model, splits: Splits) -> None:
    """Refuse too few real samples, and those of another shape or unit than the model was trained with.

    Arguments:
        model: a trained model.
        splits: the real samples.

    Raises:
        InputError: with how many there are, or with what differs.
    """
    for role, real in (("reference", splits.reference), ("floor", splits.held_out)):
        if len(real) < FEWEST:
            raise InputError(f"the {role} needs at least {FEWEST} real samples, got {len(real)}")
    for data in (splits.train, splits.held_out):
        model.spec.check_like(data.spec)


def _looked(reference: Reference, samples: Iterable[Tensor]) -> Generator[float, None, Seen]:
    parts = []
    for piece in samples:
        parts.append(reference.look_at(piece))
        yield len(parts) / (len(parts) + 1)
    return joined(parts)


def _scored(
    reference: Reference, seen: Seen, labels: Tensor | None
) -> Generator[float, None, Scores]:
    figures: list[Figure] = []
    for figure in reference.scoring(seen, labels):
        figures.append(figure)
        yield len(figures) / (len(figures) + 1)
    return Scores(len(seen.features), tuple(figures))


def _labels(model: Model, asked: Evaluation) -> Tensor | None:
    """The class that each sample was asked for; none if there was none."""
    labels = model.labels(asked.count, asked.drawing.label)
    return None if labels is None or bool((labels < 0).any()) else labels


def _mix(asked: int | None, real: Data, classes: int) -> float | None:
    """Half the summed differences of shares of classes, of one or all in turn, to those of real samples.

    0 for the same shares, 1 for no class in common; none where the real samples have other classes or none.
    """
    if real.label is None or real.spec.classes != classes:
        return None
    ours = torch.full((classes,), 1 / classes) if asked is None else torch.eye(classes)[asked]
    theirs = torch.tensor(class_counts(real.label, classes)) / len(real)
    return round(0.5 * float((ours - theirs).abs().sum()), 4)


def _has_likelihood(model: Model) -> bool:
    return len(model.spec.shape) == 1 and model.spec.shape[0] <= EXACT


def _likelihood(model: Model, data: Data) -> Generator[float, None, Figure]:
    """The mean log-density of held-out vectors, in nats and in the model's units."""
    x, label = data.batch(blocks.spread(len(data), LIKELY))
    parts, done = [], 0
    for found in likelihoods(model, x, label if model.classes else None, batch=100):
        parts.append(found.log_prob.cpu())
        done += len(found.log_prob)
        yield done / len(x)
    return estimated("log-likelihood in nats", mean_of(torch.cat(parts)), "higher")


def _histogram(seen: Seen, held_out: Seen, real: Data) -> Histogram | None:
    if seen.logits is None or held_out.logits is None or seen.logits.shape[1] > BARS:
        return None
    read, classes = held_out.logits.argmax(1), seen.logits.shape[1]
    alike, known = real.spec.classes == classes, None
    if alike and real.label is not None:
        known = float((read == real.label).double().mean())
    return Histogram(
        class_counts(seen.logits.argmax(1), classes),
        class_counts(read, classes),
        real.spec.class_words if alike else tuple(map(str, range(classes))),
        known,
    )


def _gallery(samples: Kept, splits: Splits, near: Closeness) -> Gallery:
    worst = near.samples.argsort()[:SUSPECTS]
    return Gallery(
        samples.some(torch.arange(min(SHOWN, samples.count))),
        shown_rows(splits.held_out, torch.arange(min(SHOWN, len(splits.held_out)))),
        samples.some(near.rows[worst]),
        shown_rows(splits.train, near.nearest[worst]),
    )


def _about(
    model: Model, asked: Evaluation, dataset: Dataset, splits: Splits, reference: Reference
) -> dict[str, Any]:
    from scorefield import __version__

    drawing = asked.drawing
    return {
        "count": asked.count,
        "seed": drawing.seed,
        "label": drawing.label,
        "batch": drawing.batch or model.batch,
        "engine": str(model.engine),
        **to_dict(drawing.sampling),
        "weights": {
            "hash": weights_hash(model),
            "step": model.step,
            "ema": model.recipe.training.ema,
        },
        "data": {
            "hash": reference.data_hash,
            "dataset": to_dict(dataset),
            "splits": splits.words,
            "reference": reference.count,
            "floor": min(asked.count, len(splits.held_out)),
        },
        "features": {"name": reference.name, "hash": reference.hash, "scale": reference.scale},
        "versions": {
            "scorefield": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
