"""What is in .npy and .npz files: which arrays, how their axes lie, what their numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorefield.atomic import reading_arrays
from scorefield.data.base import Split
from scorefield.errors import InputError

Layout = Literal["auto", "channels-first", "channels-last"]
AnyArray = NDArray[np.generic]

SAMPLES = ("images", "samples", "x", "data", "arr_0")
LABELS = ("labels", "label", "y", "targets")
CAPTIONS = ("captions", "caption")
CHANNELS = range(1, 5)  # what can be told from a height or width


@dataclass(frozen=True)
class Members:
    """The arrays of a file that belong together.

    Arguments:
        samples: the samples, from a disk as they are asked for if the file is a .npy.
        labels: a whole number for each, or none.
        captions: a sentence for each, or none.
        class_names: what the classes are called, or none.
        own_split: the file has a test split of its own, and these are one of the two.
    """

    samples: AnyArray
    labels: AnyArray | None = None
    captions: AnyArray | None = None
    class_names: AnyArray | None = None
    own_split: bool = False


def read_members(path: Path, split: Split) -> Members:
    """The arrays of a .npy or .npz file for a split; nothing in it is ever run as code.

    Arguments:
        path: the file.
        split: 'train' or 'test'; the latter has arrays of its own, or is a share of the former.

    Raises:
        InputError: when the file is missing, damaged, or has no samples.
    """
    with reading_arrays(path):
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):  # whatever the file's name ends in
            return Members(found)
        with found as archive:
            return _members(archive, archive.files, split, path)


def _members(
    archive: np.lib.npyio.NpzFile, names: Sequence[str], split: Split, path: Path
) -> Members:
    own = _named(names, SAMPLES, "test_{}", "{}_test") is not None
    if own and split == "test":
        forms: tuple[str, ...] = ("test_{}", "{}_test")
    else:
        forms = ("{}", "train_{}", "{}_train")
    found = {
        field: _named(names, keys, *forms)
        for field, keys in (("samples", SAMPLES), ("labels", LABELS), ("captions", CAPTIONS))
    }
    if found["samples"] is None:
        raise InputError(
            f"{path} has no samples: they are called one of {', '.join(SAMPLES)}, it has "
            f"{', '.join(names) or 'nothing'}"
        )
    arrays = {field: archive[name] for field, name in found.items() if name is not None}
    if "class_names" in names:
        arrays["class_names"] = archive["class_names"]
    return Members(**arrays, own_split=own)


def _named(names: Sequence[str], keys: Sequence[str], *forms: str) -> str | None:
    wanted = (form.format(key) for key in keys for form in forms)
    return next((name for name in wanted if name in names), None)


@dataclass(frozen=True)
class Form:
    """How the axes and numbers of an array are to be read.

    Arguments:
        axes: the order of the array's axes that gives (N, C, H, W), (N, C, L) or (N, D).
        insert: put in the axis of the one channel.
        levels: levels of a stored value; none for real numbers.
        image: whether samples are images.
    """

    axes: tuple[int, ...]
    insert: bool
    levels: int | None
    image: bool

    def arranged(self, block: AnyArray) -> Tensor:
        """Rows of the array as samples, in memory of their own.

        Arguments:
            block: some rows, in the array's own axes.
        """
        block = block.transpose(self.axes)
        block = block[:, None] if self.insert else block
        if self.image and self.levels is not None:
            dtype: np.dtype[np.generic] = np.dtype(np.uint16 if self.levels > 256 else np.uint8)
        else:  # whole numbers as doubles, floating point as it is, in this machine's byte order
            whole = block.dtype.kind != "f"
            dtype = np.dtype(np.float64) if whole else block.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(block, dtype=dtype, order="C"))


def form_of(array: AnyArray, layout: Layout, *, bounded: bool) -> Form:
    """How an array is to be read.

    Arguments:
        array: the samples.
        layout: where the channels of images of four axes are; 'auto' to tell by the counts.
        bounded: whether a range of floating point images was given.

    Raises:
        InputError: for a shape or a kind of number that are no samples.
    """
    kind, rank = array.dtype.kind, array.ndim
    if kind not in "buif" or array.dtype.itemsize > 8:
        raise InputError(f"samples must be numbers, got {array.dtype}")
    if not 1 <= rank <= 4 or 0 in array.shape:
        raise InputError(
            "samples must have the shape (N, D), (N, C, L), (N, H, W), (N, H, W, C) or (N, C, H, W), "
            f"got {array.shape}"
        )
    image = rank == 4 or (rank == 3 and (kind in "bu" or bounded))
    if not image:
        return Form(tuple(range(rank)), rank == 1, None, False)
    if kind == "i" or (array.dtype.itemsize > 2 and kind == "u"):
        raise InputError(
            f"images must be stored as uint8, uint16, bool or floats, got {array.dtype}"
        )
    if kind == "f" and not bounded:
        raise InputError(
            f"images of {array.dtype} need their range, as in data.low=0 data.high=1; the first has "
            f"{float(array[0].min()):g} to {float(array[0].max()):g}"
        )
    levels = {"b": 2, "f": None}.get(kind, 256**array.dtype.itemsize)
    axes = (0, 3, 1, 2) if rank == 4 and _channels_last(array.shape, layout) else tuple(range(rank))
    return Form(axes, rank == 3, levels, True)


def _channels_last(shape: tuple[int, ...], layout: Layout) -> bool:
    if layout != "auto":
        return layout == "channels-last"
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        raise InputError(
            f"images of shape {shape} may have their channels first or last; say which, as in "
            f"data.layout=channels-last"
        )
    return last
