"""Which real samples others are compared with, and which ones tell how near real samples come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scorefield.data import blocks
from scorefield.data.base import Data, Dataset
from scorefield.errors import InputError
from scorefield.evaluation.features import shown

BLOCK = 500  # samples looked at at once


@dataclass(frozen=True, kw_only=True)
class Part(Data):
    """Some samples of a data set.

    Arguments:
        label: class of each sample, shape (N,), int64; none if there are no labels.
        spec: the description, which is the whole set's.
        caption: a sentence about each sample; none if there are no sentences.
        skipped: files that could not be used.
        whole: the data set.
        rows: which of its samples, shape (N,), int64.
    """

    whole: Data
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def stored(self, indices: Tensor) -> Tensor:
        return self.whole.stored(self.rows[indices])


@dataclass(frozen=True)
class Splits:
    """Real samples in their roles.

    Arguments:
        train: what the model was trained on.
        reference: what samples are compared with.
        held_out: what gives the floor.
        unseen: whether the model was not trained on ``held_out``.
        words: where they come from.
    """

    train: Data
    reference: Data
    held_out: Data
    unseen: bool
    words: str


def splits_of(dataset: Dataset) -> Splits:
    """The training and test split of a data set, or two halves of the training split if it is all there is.

    Arguments:
        dataset: the data set.

    Raises:
        InputError: when the training split cannot be loaded, or has a single sample.
    """
    train = dataset.load("train")
    try:
        test = dataset.load("test")
    except InputError as error:
        if len(train) < 2:
            raise InputError(f"halves need at least 2 samples, got {len(train)}") from error
        first, second = halves(train)
        words = f"reference and floor are two halves of the training data ({error})"
        return Splits(train, first, second, False, words)
    return Splits(train, train, test, True, "reference is the training split, floor the test split")


def halves(data: Data) -> tuple[Data, Data]:
    """Two halves of a data set, by chance that is fixed.

    Arguments:
        data: the data set.
    """
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(data)))
    middle = (len(data) + 1) // 2
    first, second = (part_of(data, rows.sort().values) for rows in torch.split(order, middle))
    return first, second


def spread(data: Data, most: int) -> Data:
    """At most so many samples of a data set, from all over it.

    Arguments:
        data: the data set.
        most: how many.
    """
    return data if len(data) <= most else part_of(data, blocks.spread(len(data), most))


def part_of(data: Data, rows: Tensor) -> Data:
    """Some samples of a data set.

    Arguments:
        data: the data set.
        rows: which, shape (N,), int64.
    """
    label = None if data.label is None else data.label[rows]
    caption = None if data.caption is None else tuple(data.caption[int(i)] for i in rows)
    return Part(label=label, spec=data.spec, caption=caption, whole=data, rows=rows)


def shown_blocks(data: Data) -> Iterator[Tensor]:
    """All real samples as features look at them, in blocks of bounded memory.

    Arguments:
        data: the real samples.
    """
    return (shown_rows(data, rows) for rows in torch.split(torch.arange(len(data)), BLOCK))


def shown_rows(data: Data, rows: Tensor) -> Tensor:
    """Real samples as features look at them.

    Arguments:
        data: the real samples.
        rows: which, shape (B,), int64.
    """
    return shown(data.batch(rows)[0], data.spec)
