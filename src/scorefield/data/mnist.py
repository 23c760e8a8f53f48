"""MNIST: 70,000 handwritten digits from files, a download, or (10,000 of them) this package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources

from scorefield.data import published
from scorefield.data.base import Arrays, Dataset, Split, described
from scorefield.data.idx import parse_idx
from scorefield.data.idx_sets import IDXSet
from scorefield.data.published import Published, known_split
from scorefield.errors import InputError


@dataclass(frozen=True)
class MNIST(IDXSet):
    """60,000 training and 10,000 test images of digits, 28×28, gray, 10 classes.

        x ∈ {0 … 255}^(1×28×28), shown to the model in [-1, 1]

    Files are looked for in ``root`` or else in the folder that SCOREFIELD_DATA names (there first in its
    folder ``mnist``), raw or gzipped; else they are downloaded. Their content is checked.

    Arguments:
        root: folder of the IDX files; if not given, SCOREFIELD_DATA, then the network.

    Reference: LeCun, Cortes & Burges, The MNIST Database of Handwritten Digits.
        http://yann.lecun.com/exdb/mnist/
    """

    @property
    def published(self) -> Published:
        return published.MNIST


@dataclass(frozen=True)
class MNIST10k(Dataset):
    """The first 10,000 training images of MNIST, which come with this package.

        x ∈ {0 … 255}^(1×28×28), shown to the model in [-1, 1]

    They need no files and no network. There is no test split.

    Reference: LeCun, Cortes & Burges, The MNIST Database of Handwritten Digits.
        http://yann.lecun.com/exdb/mnist/
    """

    def load(self, split: Split = "train") -> Arrays:
        if known_split(split) == "test":
            raise InputError("mnist10k has no test split; mnist has one")
        import lzma

        folder = resources.files("scorefield.data") / "embedded"
        images, labels = (
            parse_idx(lzma.decompress((folder / name).read_bytes()), name)
            for name in ("mnist10k-images.idx3.xz", "mnist10k-labels.idx1.xz")
        )
        return described(images[:, None], labels.long(), classes=10)
