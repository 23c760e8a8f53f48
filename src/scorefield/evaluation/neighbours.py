"""How near samples come to what the model was trained on, beside how near unseen real samples come."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.data import blocks
from scorefield.evaluation.distances import Neighbours, nearest
from scorefield.evaluation.features import Pixels
from scorefield.evaluation.figures import PAIRS, few
from scorefield.evaluation.memorisation import memorisation, relative_distance
from scorefield.evaluation.reference import MOST, joined, referring
from scorefield.evaluation.splits import Splits, shown_blocks, spread

NEAREST = 50  # training samples whose mean distance is the unit of the nearest one's


@dataclass(frozen=True)
class Closeness:
    """How near samples, and unseen real ones, come to training samples.

    Arguments:
        samples: distance of each sample to the nearest training sample, in units of its mean distance to
            the nearest ones, shape (N,).
        unseen: the same of real samples that the model was not trained on; empty if there are none.
        rows: the place of each sample in its set, shape (N,).
        nearest: the place of its nearest training sample in the training data, shape (N,).
        looked_at: share of the training data that samples were held against.
    """

    samples: Tensor
    unseen: Tensor
    rows: Tensor
    nearest: Tensor
    looked_at: float = 1.0

    def plain(self) -> dict[str, Any]:
        """The verdict, ready for JSON."""
        counts = {"samples": len(self.samples), "unseen": len(self.unseen)}
        found = memorisation(self.samples, self.unseen, looked_at=self.looked_at)
        return counts | {"looked_at": self.looked_at} | found._asdict()


def closeness(samples: Iterable[Tensor], splits: Splits) -> Generator[float, None, Closeness]:
    """How near samples come to training samples, in the features `Pixels`: the share done, then the answer.

    Arguments:
        samples: in pieces, as features look at them.
        splits: the real samples.
    """
    train = yield from referring(Pixels(), splits.train)
    real, near = train.seen.features, min(NEAREST, train.count)

    def found(pieces: Iterable[Tensor]) -> tuple[Tensor, Neighbours]:
        seen = joined([train.look_at(piece) for piece in pieces]).features
        return blocks.spread(len(seen), PAIRS), nearest(few(seen), real, k=near)

    rows, ours = found(samples)
    unseen = torch.empty(0, dtype=torch.float64)
    if splits.unseen:
        _, theirs = found(shown_blocks(spread(splits.held_out, PAIRS)))
        unseen = relative_distance(theirs)
    places = blocks.spread(len(splits.train), MOST)[ours.row[:, 0]]
    share = train.count / len(splits.train)
    return Closeness(relative_distance(ours), unseen, rows, places, share)
