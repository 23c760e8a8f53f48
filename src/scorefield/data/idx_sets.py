"""Sets of gray images in IDX files, all with the same file names: MNIST and its kin."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scorefield.data import published
from scorefield.data.base import Arrays, Dataset, Split, described
from scorefield.data.idx import parse_idx, read_unpacked
from scorefield.data.published import Published, downloaded, known_split, local_copy
from scorefield.errors import InputError

FILES: dict[Split, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@dataclass(frozen=True)
class IDXSet(Dataset):
    """Images and labels in IDX files, from a local copy or else from the network, checked."""

    root: str | None = None

    @property
    @abstractmethod
    def published(self) -> Published:
        """What is known of the files."""

    def load(self, split: Split = "train") -> Arrays:
        images, labels = (self._read(name) for name in FILES[known_split(split)])
        names = self.published.class_names
        return described(images[:, None], labels.long(), classes=10, class_names=names)

    def _read(self, name: str) -> Tensor:
        found = local_copy(self.published, self.root, (name, f"{name}.gz"))
        path = found or downloaded(self.published, name, f"{name}.gz")
        return parse_idx(_checked(path, name, self.published), str(path))


@dataclass(frozen=True)
class FashionMNIST(IDXSet):
    """60,000 training and 10,000 test images of clothes, 28×28, gray, 10 classes.

        x ∈ {0 … 255}^(1×28×28), shown to the model in [-1, 1]

    Files are looked for in ``root`` (there first in its folder ``fashion-mnist``) or else in the folder
    ``fashion-mnist`` where SCOREFIELD_DATA points, raw or gzipped; else they are downloaded. Their
    content is checked.

    Arguments:
        root: folder of the IDX files; if not given, SCOREFIELD_DATA, then the network.

    Reference: Xiao, Rasul & Vollgraf 2017, Fashion-MNIST. arXiv:1708.07747
    """

    @property
    def published(self) -> Published:
        return published.FASHION_MNIST


@dataclass(frozen=True)
class KMNIST(IDXSet):
    """60,000 training and 10,000 test images of cursive hiragana, 28×28, gray, 10 classes.

        x ∈ {0 … 255}^(1×28×28), shown to the model in [-1, 1]

    Files are looked for in ``root`` (there first in its folder ``kmnist``) or else in the folder
    ``kmnist`` where SCOREFIELD_DATA points, raw or gzipped; else they are downloaded. Gzipped files are
    checked; of raw ones no checksum is published, and only those of MNIST and Fashion-MNIST are told
    apart.

    Arguments:
        root: folder of the IDX files; if not given, SCOREFIELD_DATA, then the network.

    Reference: Clanuwat et al. 2018, Deep Learning for Classical Japanese Literature. arXiv:1812.01718
    """

    @property
    def published(self) -> Published:
        return published.KMNIST


def _checked(path: Path, name: str, known: Published) -> bytes:
    """The unpacked content of a file, if it is what it should be."""
    stored, content = read_unpacked(path)
    if _is(stored, content, known.hashes[name]):
        return content
    for other in (published.MNIST, published.FASHION_MNIST, published.KMNIST):
        if _is(stored, content, other.hashes.get(name, ("", ""))):
            raise InputError(f"{path} belongs to {other.title}, not to {known.title}")
    unpacked, zipped = known.hashes[name]
    if not unpacked and stored is content:
        return content  # nobody published what the raw file hashes to
    wanted = unpacked or zipped
    found = _hash(content if unpacked else stored, wanted)
    word = "md5" if len(wanted) == 32 else "sha256"
    raise InputError(f"{path} is damaged: its {word} is {found[:12]}…, not {wanted[:12]}…")


def _is(stored: bytes, content: bytes, hashes: tuple[str, str]) -> bool:
    unpacked, zipped = hashes
    return _hash(stored, zipped) == zipped or (
        unpacked != "" and _hash(content, unpacked) == unpacked
    )


def _hash(content: bytes, like: str) -> str:
    """The hash of some bytes by the algorithm of another, which its length tells."""
    if len(like) == 32:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()
    return hashlib.sha256(content).hexdigest()
