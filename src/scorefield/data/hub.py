"""Data sets of images in the format of Hugging Face's library, from its hub or from a local folder."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from scorefield.data.base import Data, Dataset, DataSpec, Skipped, Split
from scorefield.data.holdout import check_share, chosen
from scorefield.data.hub_columns import find_columns
from scorefield.data.picture_files import Header, read_header
from scorefield.data.pictures import Kind, kind_of
from scorefield.data.published import known_split
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError

MEMORY = 1 << 30  # bytes of pixels that are held in memory


@dataclass(frozen=True)
class Hub(Dataset):
    """Any data set of images on the Hugging Face hub, or in its formats in a local folder.

        x ∈ {0 … 255}^(C×H×W), or {0 … 65535}^(1×H×W), shown to the model in [-1, 1]

    A local path (what `save_to_disk` wrote, a .parquet file, a folder of them) needs no network. Columns
    are found by their types if not given. Images are gray if all are; they are held in memory up to
    1 GiB, else decoded as they are asked for. It needs `pip install "scorefield[hub]"`.

    Arguments:
        path: a name on the hub, as in ylecun/mnist, or a local path.
        config: which of the configurations of the data set; none for the only one.
        revision: commit, tag or branch on the hub; none for the newest.
        train: what the training split is called.
        test: what the test split is called.
        holdout: share of the training split to take as the test split instead; 0 for none.
        image: the column of the images; the only one if not given.
        label: the column of the classes; the only one if not given; 'none' for no classes.
        caption: the column of the sentences; one called caption or text if not given.
        side: side of the squares that are cut out of the middle and resized; 0 for images as they are.
        strict: a broken image is an error.

    Reference: Lhoest et al. 2021, Datasets: A Community Library for Natural Language Processing.
        arXiv:2109.02846
    """

    path: str = ""
    config: str = ""
    revision: str = ""
    train: str = "train"
    test: str = "test"
    holdout: float = 0.0
    image: str = ""
    label: str = ""
    caption: str = ""
    side: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        check_share(self.holdout)
        if self.side < 0:
            raise InputError(f"side must be at least 0, got {self.side}")

    def load(self, split: Split = "train") -> Data:
        known_split(split)
        if not self.path:
            raise InputError("a data set is needed, as in data.path=ylecun/mnist")
        own_test = split == "test" and not self.holdout
        source = self._split(self.test if own_test else self.train)
        found = find_columns(source.features, self.image, self.label, self.caption)
        # The classes of columns that are not ClassLabel are those of the training split.
        known = self._split(self.train) if own_test and not found.class_names else source
        names = found.names_in(known)
        rows = torch.arange(len(source))
        if not own_test and self.holdout:
            rows = torch.from_numpy(chosen(len(source), self.holdout, split))
        usable, skipped, kind = _survey(source, found.image, rows.tolist(), self.side)
        if self.strict and skipped:
            count, broken = len(usable) + len(skipped), skipped[0]
            raise InputError(
                f"only {len(usable)} of {count} images in {self.path} can be used; {broken.name}: "
                f"{broken.reason}"
            )
        rows = torch.tensor(usable)
        spec = DataSpec(kind.shape, len(names), kind.levels, class_names=names)
        data = Streamed(
            label=found.labels_in(source, rows, names),
            spec=spec,
            caption=found.captions_in(source, rows),
            skipped=tuple(skipped),
            size=len(usable),
            decode=lambda index: kind.pixels(source[usable[index]][found.image]),
            name=lambda index: f"row {usable[index]} of {self.path}",
        )
        return data.settled(MEMORY)

    def _split(self, name: str) -> Any:  # noqa: ANN401  (the library has no types)
        """A split of the data set, as the library has it."""
        try:
            import datasets
            from datasets.exceptions import DatasetsError
        except ImportError as error:
            raise InputError(
                'this data set needs the library datasets: pip install "scorefield[hub]"'
            ) from error
        try:
            with _quiet(datasets):
                return self._opened(datasets, name)
        except (OSError, ValueError, KeyError, DatasetsError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"cannot load the split '{name}' of {self.path}: {reason}") from error

    def _opened(self, datasets: Any, name: str) -> Any:  # noqa: ANN401  (the library has no types)
        path = Path(self.path)
        if path.suffix == ".parquet":
            if name != self.train:
                raise InputError(f"{path} has no test split; hold a share out with data.holdout")
            return datasets.load_dataset("parquet", data_files=self.path, split="train")
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            saved = datasets.load_from_disk(self.path)
            if not isinstance(saved, dict):
                saved = {self.train: saved}
            if name not in saved:
                raise InputError(f"{path} has no split '{name}'; it has {', '.join(saved)}")
            return saved[name]
        if not path.exists() and self.path.startswith((".", "/", "~")):
            raise InputError(f"there is no folder {path}")
        config, revision = self.config or None, self.revision or None
        return datasets.load_dataset(self.path, config, split=name, revision=revision)


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:  # noqa: ANN401  (the library has no types)
    """No progress bars of the library where there is no terminal."""
    loud = sys.stderr.isatty() or not datasets.are_progress_bars_disabled()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if loud:
            datasets.enable_progress_bars()


def _survey(
    source: Any,  # noqa: ANN401  (the library has no types)
    column: str,
    rows: list[int],
    side: int,
) -> tuple[list[int], list[Skipped], Kind]:
    """Decode the images of the rows once: which are usable, and what they and all others are brought to."""
    from PIL.Image import DecompressionBombError

    usable, skipped, seen = [], [], []
    for row in rows:
        try:
            picture = source[row][column]
        except (OSError, ValueError, SyntaxError, DecompressionBombError) as error:
            skipped.append(Skipped(f"row {row}", " ".join(str(error).split())[:100]))
            continue
        if picture is None:
            skipped.append(Skipped(f"row {row}", "no image"))
            continue
        usable.append(row)
        seen.append((picture.mode, picture.size))
    if not usable:
        raise InputError(f"there is no usable image in {len(rows)} rows")
    seen += _headers(source, column, {*range(len(source))} - {*rows})
    return usable, skipped, kind_of(seen, (side, side) if side else None, key="side")


def _headers(source: Any, column: str, rows: Collection[int]) -> Iterator[Header]:  # noqa: ANN401
    """What the images of the other split are, as far as they can be read; nothing is decoded."""
    if not rows:
        return
    from PIL.Image import DecompressionBombError

    stored = source.cast_column(column, replace(source.features[column], decode=False))
    for row in sorted(rows):
        file = stored[row][column]
        with suppress(OSError, ValueError, SyntaxError, TypeError, DecompressionBombError):
            yield read_header(file["bytes"] or Path(file["path"]).read_bytes())
