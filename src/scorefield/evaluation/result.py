"""What an evaluation found: plain facts for a file, and what a page shows beside them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scorefield.atomic import read_json, whole_file
from scorefield.errors import InputError
from scorefield.evaluation.scores import Figure, Scores

FORMAT = 1


@dataclass(frozen=True)
class Histogram:
    """How many samples are read as each class.

    Arguments:
        samples: of the samples.
        held_out: of the real samples that give the floor.
        names: what the classes are called, in order.
        known: share of the real ones that are read as what they are; none if that is not known.
    """

    samples: tuple[int, ...]
    held_out: tuple[int, ...]
    names: tuple[str, ...]
    known: float | None


@dataclass(frozen=True)
class Gallery:
    """Samples to look at; images as people keep them, vectors and signals in the model's units.

    Arguments:
        samples: the first ones.
        real: as many real ones.
        near: the samples that are nearest to training samples, nearest first.
        nearest: these training samples, in the same order.
    """

    samples: Tensor
    real: Tensor
    near: Tensor
    nearest: Tensor


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Arguments:
        about: what was evaluated and how: plain values, ready for JSON.
        scores: the figures of the samples.
        floor: the figures of as many real samples.
        classes: how many samples are read as each class; none without a classifier.
        memory: whether training samples come back: distances and a verdict, plain.
        gallery: samples to look at.
    """

    about: dict[str, Any]
    scores: Scores
    floor: Scores
    classes: Histogram | None
    memory: dict[str, Any]
    gallery: Gallery

    def plain(self) -> dict[str, Any]:
        """Everything but the gallery, ready for JSON."""
        return {
            "format": FORMAT,
            **self.about,
            "figures": {
                figure.name: _figure(figure)
                | {"floor": _figure(self.floor[figure.name]) if figure.name in self.floor else None}
                for figure in self.scores.figures
            },
            "classes": None if self.classes is None else asdict(self.classes),
            "memorisation": self.memory,
        }


def write_result(result: Result, path: Path) -> None:
    """Write the facts as JSON; the file appears whole or not at all.

    Arguments:
        result: what was found.
        path: where.
    """
    with whole_file(path) as temporary:
        temporary.write_text(
            json.dumps(result.plain(), indent=1, ensure_ascii=False), encoding="utf-8"
        )


def read_result(path: str | Path) -> dict[str, Any]:
    """The facts of an evaluation from its file.

    Arguments:
        path: a JSON file that `write_result` wrote, or the folder of a run that has one.

    Raises:
        InputError: when there is none, or it is something else.
    """
    path = Path(path)
    file = path / "evaluation.json" if path.is_dir() else path
    found = read_json(file)
    if (
        not isinstance(found, dict)
        or not {"format", "figures", "features"} <= found.keys()
        or not isinstance(found["figures"], dict)
    ):
        raise InputError(f"{file} is not an evaluation; `scorefield evaluate` writes one")
    if found["format"] != FORMAT:
        raise InputError(f"{file} has format {found['format']}; this version reads {FORMAT}")
    return found


def _figure(figure: Figure) -> dict[str, Any]:
    return {key: value for key, value in asdict(figure).items() if key != "name"}
