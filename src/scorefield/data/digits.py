"""1,797 tiny handwritten digits that come with this package."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from importlib import resources

from scorefield.data.base import Arrays, Dataset, Split, described
from scorefield.data.idx import parse_idx
from scorefield.data.published import known_split

HELD_OUT = 360  # the last fifth, 33 to 37 of each digit


@dataclass(frozen=True)
class Digits(Dataset):
    """1,797 images of handwritten digits, 8×8, 17 levels of gray, 10 classes.

        x ∈ {0 … 16}^(1×8×8), shown to the model in [-1, 1]

    The set is that of scikit-learn's `load_digits`, in its order: the first 1,437 are for training, the
    last 360 are the test split. They need no files and no network.

    Reference: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits, UCI Machine Learning
        Repository. https://doi.org/10.24432/C50P49
    """

    def load(self, split: Split = "train") -> Arrays:
        train = known_split(split) == "train"
        folder = resources.files("scorefield.data") / "embedded"
        images, labels = (
            parse_idx(lzma.decompress((folder / name).read_bytes()), name)
            for name in ("digits-images.idx3.xz", "digits-labels.idx1.xz")
        )
        chosen = slice(None, -HELD_OUT) if train else slice(-HELD_OUT, None)
        return described(images[chosen, None], labels[chosen].long(), classes=10, levels=17)
