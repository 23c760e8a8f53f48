"""CIFAR-10 and CIFAR-100 from the authors' binary files, which need no pickle."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scorefield.data import published
from scorefield.data.base import Arrays, Dataset, Split, described
from scorefield.data.published import Published, downloaded, known_split, local_copy
from scorefield.errors import InputError

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """How an archive is laid out: its inner folder, the files of each split, label bytes a record."""

    archive: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_bytes: int


@dataclass(frozen=True)
class CIFAR(Dataset):
    """Colour images in records of labels and pixels, from a local copy or else from the network."""

    root: str | None = None

    @property
    @abstractmethod
    def published(self) -> Published:
        """What is known of the files."""

    @property
    @abstractmethod
    def layout(self) -> _Layout:
        """How the archive is laid out."""

    def load(self, split: Split = "train") -> Arrays:
        layout = self.layout
        names = layout.train if known_split(split) == "train" else layout.test
        # the archive, its folder, or the files themselves
        places = (layout.folder, layout.archive, names[0])
        found = local_copy(self.published, self.root, places)
        found = found or downloaded(self.published, layout.archive, layout.archive)
        if found.name == layout.archive:
            contents = _from_archive(found, layout, names, self.published)
        else:
            folder = found if found.is_dir() else found.parent
            contents = [_read(folder / name) for name in names]
        size = layout.label_bytes + PIXELS
        for name, content in zip(names, contents, strict=True):
            if not content or len(content) % size:
                raise InputError(
                    f"{name} in {found} is cut off: it should hold records of {size} bytes, it "
                    f"holds {len(content)}"
                )
        records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, size)
        images = torch.from_numpy(records[:, layout.label_bytes :].reshape(-1, *SHAPE).copy())
        label = torch.from_numpy(records[:, layout.label_bytes - 1].astype(np.int64))
        classes = self.published.class_names
        return described(images, label, classes=len(classes), class_names=classes)


@dataclass(frozen=True)
class CIFAR10(CIFAR):
    """50,000 training and 10,000 test photographs, 32×32, colour, 10 classes.

        x ∈ {0 … 255}^(3×32×32), shown to the model in [-1, 1]

    ``cifar-10-binary.tar.gz``, or the folder in it, is looked for in ``root`` or else in the folder that
    SCOREFIELD_DATA names (there first in its folder ``cifar10``); else the archive is downloaded. It is
    checked by its hash, an unpacked folder by its sizes and labels.

    Arguments:
        root: folder of the archive or of what is in it; if not given, SCOREFIELD_DATA, then the network.

    Reference: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
        https://www.cs.toronto.edu/~kriz/cifar.html
    """

    @property
    def published(self) -> Published:
        return published.CIFAR10

    @property
    def layout(self) -> _Layout:
        train = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
        return _Layout(
            "cifar-10-binary.tar.gz", "cifar-10-batches-bin", train, ("test_batch.bin",), 1
        )


@dataclass(frozen=True)
class CIFAR100(CIFAR):
    """50,000 training and 10,000 test photographs, 32×32, colour, 100 fine classes.

        x ∈ {0 … 255}^(3×32×32), shown to the model in [-1, 1]

    ``cifar-100-binary.tar.gz``, or the folder in it, is looked for in ``root`` or else in the folder that
    SCOREFIELD_DATA names (there first in its folder ``cifar100``); else the archive is downloaded. It is
    checked by its hash, an unpacked folder by its sizes and labels.

    Arguments:
        root: folder of the archive or of what is in it; if not given, SCOREFIELD_DATA, then the network.

    Reference: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
        https://www.cs.toronto.edu/~kriz/cifar.html
    """

    @property
    def published(self) -> Published:
        return published.CIFAR100

    @property
    def layout(self) -> _Layout:
        # a record begins with the coarse label, then the fine one
        return _Layout(
            "cifar-100-binary.tar.gz", "cifar-100-binary", ("train.bin",), ("test.bin",), 2
        )


def _from_archive(
    path: Path, layout: _Layout, names: Sequence[str], known: Published
) -> list[bytes]:
    """The content of members of an archive, read without unpacking it."""
    wanted = known.hashes[layout.archive][1]
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted:
            raise InputError(f"{path} is damaged: its sha256 is {found[:12]}…, not {wanted[:12]}…")
        with tarfile.open(path) as archive:
            members = [archive.extractfile(f"{layout.folder}/{name}") for name in names]
            return [b"" if member is None else member.read() for member in members]
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError) as error:
        raise InputError(f"cannot read {path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
