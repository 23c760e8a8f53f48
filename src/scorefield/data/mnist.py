"""MNIST: 70,000 handwritten digits from files, a download, or (10,000 of them) this package."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from scorefield.data.base import Arrays, Dataset, Split, described
from scorefield.data.download import cache_folder, fetch
from scorefield.data.idx import parse_idx, read_idx
from scorefield.errors import InputError

ENVIRONMENT = "SCOREFIELD_DATA"
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FILES: dict[Split, tuple[str, str]] = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
# sha256 of the unpacked files, then of the .gz files that the mirrors serve
HASHES = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
}


@dataclass(frozen=True)
class MNIST(Dataset):
    """60,000 training and 10,000 test images of digits, 28×28, gray, 10 classes.

        x ∈ {0 … 255}^(1×28×28), shown to the model in [-1, 1]

    Files are looked for in ``root``, else in the folder that SCOREFIELD_DATA names (there also in its
    ``mnist`` folder), raw or gzipped, and else downloaded to the user's cache. Their content is checked.

    Arguments:
        root: folder of the IDX files; if not given, SCOREFIELD_DATA, then the network.

    Reference: LeCun, Cortes & Burges, The MNIST Database of Handwritten Digits.
        http://yann.lecun.com/exdb/mnist/
    """

    root: str | None = None

    def load(self, split: Split = "train") -> Arrays:
        images, labels = (
            read_idx(self._path(name), HASHES[name][0]) for name in FILES[_known(split)]
        )
        return described(images[:, None], labels.long(), classes=10)

    def _path(self, name: str) -> Path:
        root = self.root or os.environ.get(ENVIRONMENT)
        if not root:
            path = f"{name}.gz"
            return fetch(
                path, HASHES[name][1], MIRRORS, cache_folder(), progress=sys.stderr.isatty()
            )
        for folder in (Path(root), Path(root) / "mnist", Path(root) / "MNIST" / "raw"):
            for candidate in (folder / name, folder / f"{name}.gz"):
                if candidate.is_file():
                    return candidate
        raise InputError(f"no {name} or {name}.gz in {root} or its folder mnist")


@dataclass(frozen=True)
class MNIST10k(Dataset):
    """The first 10,000 training images of MNIST, which come with this package.

        x ∈ {0 … 255}^(1×28×28), shown to the model in [-1, 1]

    They need no files and no network. There is no test split.

    Reference: LeCun, Cortes & Burges, The MNIST Database of Handwritten Digits.
        http://yann.lecun.com/exdb/mnist/
    """

    def load(self, split: Split = "train") -> Arrays:
        if _known(split) == "test":
            raise InputError("mnist10k has no test split; mnist has one")
        import lzma

        folder = resources.files("scorefield.data") / "embedded"
        images, labels = (
            parse_idx(lzma.decompress((folder / name).read_bytes()), name)
            for name in ("mnist10k-images.idx3.xz", "mnist10k-labels.idx1.xz")
        )
        return described(images[:, None], labels.long(), classes=10)


def _known(split: Split) -> Split:
    if split not in FILES:
        raise InputError(f"split must be 'train' or 'test', got '{split}'")
    return split
