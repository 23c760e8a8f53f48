"""Samples of a model on disk, in pieces that are there whole or not at all, so that work can go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield.atomic import whole_file
from scorefield.errors import InputError
from scorefield.evaluation.features import fingerprint, shown
from scorefield.models.model import Model
from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Sampling

LAYOUT = 1  # of the pieces on disk


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are drawn: with the model, all that they depend on.

    Arguments:
        sampling: sampler, steps and what else there is to choose.
        seed: of the whole set.
        label: the class wanted; every class in turn if not given; -1 for none.
        batch: samples drawn at once and kept in one piece, which decides how sums are rounded; what suits
            the machine if not given.
    """

    sampling: Sampling
    seed: int = 0
    label: int | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise InputError(f"batch must be at least 1, got {self.batch}")


def determined_by(model: Model, drawing: Drawing) -> dict[str, Any]:
    """Everything that the bits of the samples depend on, plain; the count is not among it.

    Arguments:
        model: a trained model, settled on how it computes.
        drawing: how samples are drawn.
    """
    from scorefield import __version__

    network = model.denoiser.network
    recipe = model.recipe
    made_of = [to_dict(part) for part in (recipe.network, recipe.schedule, recipe.parameterization)]
    return {
        "layout": LAYOUT,
        "scorefield": __version__,
        "torch": torch.__version__,
        "device": str(next(network.parameters()).device.type),
        "weights": weights_hash(model),
        "network": made_of[0],
        "schedule": made_of[1],
        "parameterization": made_of[2],
        "spec": asdict(model.spec),
        "sampling": to_dict(drawing.sampling),
        "seed": drawing.seed,
        "label": drawing.label,
        "batch": drawing.batch or model.batch,
        "engine": asdict(model.engine),
    }


def weights_hash(model: Model) -> str:
    """A hash of a model's weights and of its moments of the data, which some samplers use.

    Arguments:
        model: a trained model.
    """
    moments = model.denoiser.moments
    known = {} if moments is None else moments.tensors()
    extra = [part for name in sorted(known) for part in (name, known[name])]
    return fingerprint(model.denoiser.network, *extra)


def folder_of(root: Path, determined: dict[str, Any]) -> Path:
    """Where the samples of one way of drawing are kept.

    Arguments:
        root: the folder of all of them.
        determined: what `determined_by` gives.
    """
    text = json.dumps(determined, sort_keys=True)
    return root / hashlib.sha256(text.encode()).hexdigest()[:16]


def drawn(model: Model, drawing: Drawing, count: int, folder: Path) -> Generator[float, None, None]:
    """Draw what is missing of a set of samples: the share of the work done, again and again.

    A piece is a batch; each appears whole or not at all, and those that are there are not drawn again.

    Arguments:
        model: a trained model, settled on how it computes.
        drawing: how samples are drawn.
        count: samples in the set; at least 1.
        folder: where they are kept, as `folder_of` gives it.

    Raises:
        InputError: for a count below 1, a guidance that the model cannot have, or when the folder cannot
            be written.
    """
    if drawing.sampling.guidance is not None:
        model.recipe.check_guidance(model.spec)
    asked = model.drawn_by(drawing.sampling)
    batch = drawing.batch or model.batch
    missing = [p for p in pieces(count, batch) if not _is_whole(folder, p, model)]
    if missing:
        with whole_file(folder / "drawn.json") as temporary:
            temporary.write_text(json.dumps(determined_by(model, drawing), indent=1))
    for number, (start, stop) in enumerate(missing):
        parts = []
        for share, new in asked.draw(
            stop - start, label=drawing.label, seed=drawing.seed, first=start, batch=batch
        ):
            parts.append(new)
            yield (number + share) / len(missing)
        with whole_file(folder / _name(start, stop)) as temporary:
            np.save(temporary, shown(torch.cat(parts), model.spec).numpy(), allow_pickle=False)


@dataclass(frozen=True)
class Kept:
    """A set of samples on disk, a piece at a time, as features look at them.

    Arguments:
        count: samples in the set.
        batch: samples in a piece.
        folder: where they are kept.
    """

    count: int
    batch: int
    folder: Path

    def __iter__(self) -> Iterator[Tensor]:
        for start, stop in pieces(self.count, self.batch):
            yield torch.from_numpy(np.load(self.folder / _name(start, stop), allow_pickle=False))

    def some(self, places: Tensor) -> Tensor:
        """A few of the samples.

        Arguments:
            places: which, shape (B,), int64.
        """
        rows = []
        for place in places.tolist():
            start = place - place % self.batch
            path = self.folder / _name(start, min(start + self.batch, self.count))
            rows.append(np.load(path, mmap_mode="r", allow_pickle=False)[place - start])
        return torch.from_numpy(np.stack(rows))


def pieces(count: int, batch: int) -> list[tuple[int, int]]:
    """Where the pieces of a set begin and end.

    Arguments:
        count: samples in the set; at least 1.
        batch: samples in a piece.

    Raises:
        InputError: for a count below 1.
    """
    if count < 1:
        raise InputError(f"the number of samples must be at least 1, got {count}")
    return [(start, min(start + batch, count)) for start in range(0, count, batch)]


def _name(start: int, stop: int) -> str:
    return f"{start:08d}-{stop:08d}.npy"


def _is_whole(folder: Path, piece: tuple[int, int], model: Model) -> bool:
    try:
        array = np.load(folder / _name(*piece), mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return False
    like = shown(torch.zeros(1, *model.spec.shape), model.spec).numpy()
    shape = (piece[1] - piece[0], *like.shape[1:])
    return bool(array.dtype == like.dtype and array.shape == shape)
