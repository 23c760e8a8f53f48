"""Public data sets: what their files are called, hash to, and where a copy of them may be."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scorefield.data.base import Split
from scorefield.data.download import cache_folder, fetch
from scorefield.errors import InputError

ENVIRONMENT = "SCOREFIELD_DATA"


@dataclass(frozen=True)
class Published:
    """What is known of the files of a public data set.

    Arguments:
        title: its name in a sentence.
        folder: its folder in the cache, and in a folder of many data sets.
        aliases: other names of that folder; '.' if the files may lie among those of other data sets.
        mirrors: addresses that end in a slash.
        hashes: checksums by file name: of the file unpacked ('' if not published), then as downloaded.
        class_names: what the classes are called, in order.
    """

    title: str
    folder: str
    aliases: tuple[str, ...]
    mirrors: tuple[str, ...]
    hashes: dict[str, tuple[str, str]]
    class_names: tuple[str, ...] = ()


def known_split(split: Split) -> Split:
    """The split, if there is one of that name.

    Arguments:
        split: 'train' or 'test'.

    Raises:
        InputError: for another word.
    """
    if split not in ("train", "test"):
        raise InputError(f"split must be 'train' or 'test', got '{split}'")
    return split


def local_copy(published: Published, root: str | None, names: Sequence[str]) -> Path | None:
    """The first of some files or folders that a local folder has, or none if no folder is named.

    It is looked for in ``root``: in the data set's own folder there, then in the folder itself. Without a
    ``root``, in the folder that SCOREFIELD_DATA names; what lies there itself may be MNIST, and so is not
    taken for another set with the same file names.

    Arguments:
        published: the data set.
        root: the folder that the user named, if any.
        names: what to look for.

    Raises:
        InputError: when the user named a folder that has none of them.
    """
    place = root or os.environ.get(ENVIRONMENT)
    if not place:
        return None
    for folder in (published.folder, *published.aliases, *(["."] if root else [])):
        for name in names:
            if (found := Path(place) / folder / name).exists():
                return found
    if root:
        wanted = " or ".join(names)
        raise InputError(f"no {wanted} in {root} or its folder {published.folder}")
    return None


def downloaded(published: Published, name: str, file: str) -> Path:
    """A file in the cache, fetched from a mirror if it is not there.

    Arguments:
        published: the data set.
        name: the file's name in the table of checksums.
        file: its name on the mirrors.

    Raises:
        InputError: when no mirror gives it; says so too when SCOREFIELD_DATA was looked through.
    """
    folder = cache_folder() / published.folder
    try:
        return fetch(
            file,
            published.hashes[name][1],
            published.mirrors,
            folder,
            progress=sys.stderr.isatty(),
        )
    except InputError as error:
        place = os.environ.get(ENVIRONMENT)
        looked = f", and {ENVIRONMENT} ({place}) has no {published.folder}" if place else ""
        raise InputError(f"{error}{looked}") from error


# Of MNIST the unpacked files have a known sha256, of Fashion-MNIST a known md5.
MNIST = Published(
    title="MNIST",
    folder="mnist",
    aliases=("MNIST/raw", "."),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    hashes={
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
    },
)

FASHION_MNIST = Published(
    title="Fashion-MNIST",
    folder="fashion-mnist",
    aliases=("FashionMNIST/raw",),
    mirrors=(
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    hashes={
        "train-images-idx3-ubyte": (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        "train-labels-idx1-ubyte": (
            "9018921c3c673c538a1fc5bad174d6f9",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        "t10k-images-idx3-ubyte": (
            "8181f5470baa50b63fa0f6fddb340f0a",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        "t10k-labels-idx1-ubyte": (
            "15d484375f8d13e6eb1aabb0c3f46965",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    },
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker"),
        *("Bag", "Ankle boot"),
    ),
)

KMNIST = Published(
    title="KMNIST",
    folder="kmnist",
    aliases=("KMNIST/raw",),
    mirrors=(
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://storage.googleapis.com/kuzushiji-mnist/",
    ),
    hashes={
        "train-images-idx3-ubyte": (
            "",
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        "train-labels-idx1-ubyte": (
            "",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        "t10k-images-idx3-ubyte": (
            "",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        "t10k-labels-idx1-ubyte": (
            "",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    },
    class_names=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)

_CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://cave.cs.toronto.edu/kriz/")

CIFAR10 = Published(
    title="CIFAR-10",
    folder="cifar10",
    aliases=("CIFAR10", "."),
    mirrors=_CIFAR_MIRRORS,
    hashes={
        "cifar-10-binary.tar.gz": (
            "",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        )
    },
    class_names=(
        *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
)

CIFAR100 = Published(
    title="CIFAR-100",
    folder="cifar100",
    aliases=("CIFAR100", "."),
    mirrors=_CIFAR_MIRRORS,
    hashes={
        "cifar-100-binary.tar.gz": (
            "",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        )
    },
    class_names=(
        *("apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle"),
        *("bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle"),
        *("caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch"),
        *("crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest"),
        *("fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower"),
        *("leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain"),
        *("mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear"),
        *("pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum"),
        *("rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew"),
        *("skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar"),
        *("sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger"),
        *("tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree"),
        *("wolf", "woman", "worm"),
    ),
)
