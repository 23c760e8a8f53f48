"""Images, vectors and signals in .npz and .npy files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorefield.data.array_files import AnyArray, Form, Layout, Members, form_of, read_members
from scorefield.data.base import Data, Dataset, DataSpec, Split, check_range, measured
from scorefield.data.holdout import check_share, chosen
from scorefield.data.published import known_split
from scorefield.data.units import units
from scorefield.errors import InputError

BLOCK = 1 << 24  # bytes read at once while measuring


@dataclass(frozen=True, kw_only=True)
class Rows(Data):
    """Rows of an array that is in memory or, mapped, on a disk.

    Arguments:
        label: class of each sample, shape (N,), int64; none if there are no labels.
        spec: the description.
        caption: a sentence about each sample; none if there are no sentences.
        skipped: files that could not be used; none here.
        array: the array, of which only the rows that are asked for are read.
        rows: which rows are the samples, shape (N,).
        form: how they are to be read.
    """

    array: AnyArray
    rows: NDArray[np.int64]
    form: Form

    def __len__(self) -> int:
        return len(self.rows)

    def stored(self, indices: Tensor) -> Tensor:
        return self.form.arranged(self.array[self.rows[indices.numpy()]])


@dataclass(frozen=True)
class ArrayFile(Dataset):
    """Images, vectors or signals in a .npz or .npy file.

        (N, H, W), (N, H, W, C) or (N, C, H, W): images;   (N, D): vectors;   (N, C, L): signals

    Images are uint8, uint16 (65,536 levels), bool, or floats in a range that is given. In a .npz they are
    called images, samples, x or data, labels are called labels or y, sentences captions, and a test split
    test_images, test_labels and so on; what `scorefield sample` writes is read. A .npy is never read as
    a whole. Vectors and signals come to the model in units of spread 1, and samples out in their own.

    Arguments:
        path: the file.
        holdout: share of the samples for the test split, by a hash of their number; 0 for none.
        low: what the least value of images of floats is; none for other samples.
        high: what their greatest value is.
        layout: where images have their channels; 'auto' to tell by the counts.
        scaling: unit of vectors: 'overall' (one for all numbers), 'each' (of each number) or 'none'.

    Reference: NumPy Enhancement Proposal 1, 2007, A Simple File Format for NumPy Arrays.
        https://numpy.org/neps/nep-0001-npy-format.html
    """

    path: str = ""
    holdout: float = 0.0
    low: float | None = None
    high: float | None = None
    layout: Layout = "auto"
    scaling: Literal["overall", "each", "none"] = "overall"

    def __post_init__(self) -> None:
        check_share(self.holdout)
        if (self.low is None) != (self.high is None):
            raise InputError("low and high must be given together")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"low must be below high, got {self.low:g} and {self.high:g}")

    def load(self, split: Split = "train") -> Data:
        if not self.path:
            raise InputError(
                "the path of a .npz or .npy file is needed, as in data.path=images.npz"
            )
        members = train = read_members(Path(self.path), known_split(split))
        if members.own_split and split == "test":
            train = read_members(
                Path(self.path), "train"
            )  # whose units and classes are those of both
        bounded = self.low is not None
        form = form_of(members.samples, self.layout, bounded=bounded)
        if bounded and form.levels is not None:
            raise InputError(
                f"low and high are for floats; {self.path} has {members.samples.dtype}"
            )
        rows = self._rows(members, split)
        label = _labels(members, self.path)
        classes, names = _classes(train, label, self.path)
        plain = DataSpec(_shape(members, form), classes, form.levels, class_names=names)
        if form.levels is None and self.low is not None and self.high is not None:
            # In the model's units they lie in -1 to 1, as images with levels do.
            middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
            plain = replace(plain, center=(middle,), scale=(half,))
        elif form.levels is None:
            plain = replace(plain, low=None, high=None)
            if self.scaling != "none":
                blocks = _blocks(train.samples, self._rows(train, "train"), form)
                center, scale = units(blocks, each=self.scaling == "each")
                plain = replace(plain, center=center, scale=scale)
        checked = (self._in_range(b, form) for b in _blocks(members.samples, rows, form))
        captions = members.captions
        return Rows(
            label=None if label is None else label[torch.from_numpy(rows)],
            spec=measured(plain, checked),
            caption=None if captions is None else tuple(str(c) for c in captions[rows]),
            array=members.samples,
            rows=rows,
            form=form,
        )

    def _rows(self, members: Members, split: Split) -> NDArray[np.int64]:
        count = len(members.samples)
        for name, array in (("labels", members.labels), ("captions", members.captions)):
            if array is not None and array.shape != (count,):
                raise InputError(
                    f"{count} samples in {self.path} need {name} of shape ({count},), got {array.shape}"
                )
        if not members.own_split:
            return chosen(count, self.holdout, split)
        if self.holdout > 0:
            raise InputError(f"{self.path} has a test split of its own; holdout must be 0")
        return np.arange(count)

    def _in_range(self, block: Tensor, form: Form) -> Tensor:
        if form.levels is None:
            check_range(block, self.low, self.high)
        return block


def _shape(members: Members, form: Form) -> tuple[int, ...]:
    return tuple(form.arranged(members.samples[:1]).shape[1:])


def _blocks(array: AnyArray, rows: NDArray[np.int64], form: Form) -> Iterator[Tensor]:
    size = max(1, BLOCK // max(1, array[:1].nbytes))
    for begin in range(0, len(rows), size):
        yield form.arranged(array[rows[begin : begin + size]])


def _labels(members: Members, path: str) -> Tensor | None:
    if members.labels is None:
        return None
    if members.labels.dtype.kind not in "ui":
        raise InputError(f"labels in {path} must be whole numbers, got {members.labels.dtype}")
    return torch.from_numpy(members.labels.astype(np.int64))


def _names(array: AnyArray | None, path: str) -> tuple[str, ...]:
    """What the classes are called, in order; nothing if a file does not say."""
    if array is None:
        return ()
    if array.ndim != 1:
        raise InputError(f"class_names in {path} must be a list, got the shape {array.shape}")
    words = array.tolist()
    names = tuple(w.decode("utf-8", "replace") if isinstance(w, bytes) else str(w) for w in words)
    if len(set(names)) < len(names):
        raise InputError(f"class_names in {path} must differ, got {', '.join(names)}")
    return names


def _classes(train: Members, label: Tensor | None, path: str) -> tuple[int, tuple[str, ...]]:
    """How many classes there are, and what they are called if the file says it."""
    if label is None:
        return 0, ()
    names = _names(train.class_names, path)
    known = label if train.labels is None else torch.from_numpy(train.labels.astype(np.int64))
    classes = len(names) or int(known.max()) + 1
    if int(label.min()) < 0 or int(label.max()) >= classes:
        raise InputError(
            f"labels in {path} must lie in 0 to {classes - 1}, got {int(label.min())} to "
            f"{int(label.max())}"
        )
    used = np.unique(known.numpy())
    if not names and len(used) < classes:
        empty = int((used != np.arange(len(used))).argmax())
        raise InputError(
            f"no training sample in {path} has the label {empty}; number the classes from 0 without gaps, "
            f"or name all of them in class_names"
        )
    return classes, names
