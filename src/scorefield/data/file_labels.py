"""What is known of picture files before they are opened: their split, class and caption."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

from scorefield.data.base import Split
from scorefield.data.file_tables import TABLE_NAMES, LabelTable, Row, read_tables
from scorefield.data.holdout import held_out
from scorefield.data.places import PICTURES, Place
from scorefield.errors import InputError

SPLITS: tuple[Split, ...] = ("train", "test")
# No names of classes, where all folders have one of them.
SPLIT_WORDS = {*SPLITS, "val", "valid", "validation", "dev"}
Labels = Literal["auto", "folders", "file", "none"]


class Sample(NamedTuple):
    """A picture file.

    Arguments:
        name: its path inside the place.
        split: which split it belongs to.
        label: the name of its class; '' if it has none.
        caption: a sentence about it; '' if there is none.
        problem: why it cannot be used, in a few words; '' if it can.
    """

    name: str
    split: Split
    label: str = ""
    caption: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Named:
    """The picture files of a place, of both splits.

    Arguments:
        samples: in the order of their names.
        classes: names of the classes, in order; none if there are no classes.
        captioned: whether there are captions.
    """

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    captioned: bool


def named_files(place: Place, labels: Labels, holdout: float) -> Named:
    """Split, class and caption of every picture.

    Arguments:
        place: where they are.
        labels: where their classes are from.
        holdout: share of the test split, if there are no folders train and test.

    Raises:
        InputError: for tables that cannot be read, and for classes that are not clear.
    """
    pair = all(any(name.startswith(f"{split}/") for name in place.files) for split in SPLITS)
    tables = read_tables(place, ("", *(f"{split}/" for split in SPLITS if pair)))
    rows = {name: row for table in tables for name, row in table.rows.items()}
    by_file = labels in ("auto", "file") and any(table.labelled for table in tables)
    if labels == "file" and not by_file:
        raise InputError(f"{place.path} has no {', '.join(TABLE_NAMES)} with a column label")
    found = [
        Sample(name, split, problem=problem)
        for name, problem in _pictures(place, rows)
        if (split := _split(name, holdout, pair=pair))
    ]
    by_folder = False
    if labels in ("auto", "folders") and not by_file:
        by_folder = _check_folders(place, found, pair=pair, asked=labels == "folders")
    samples = []
    for sample in found:
        label, caption = rows.get(sample.name, Row("", ""))
        if not by_file:
            label = _folder(sample.name, pair=pair) if by_folder else ""
        problem = sample.problem or _missing(sample.name, tables, rows)
        if by_file and not problem and not label:
            problem = "no label"
        samples.append(sample._replace(label=label, caption=caption, problem=problem))
    classes = _in_order({s.label for s in samples if s.label and not s.problem})
    captioned = any(table.captioned for table in tables)
    return Named(tuple(samples), classes, captioned)


def _pictures(place: Place, rows: Collection[str]) -> list[tuple[str, str]]:
    """Names of pictures that are there, or ought to be, in order; with what is wrong with them."""
    found = {name: "" for name in place.files if _ending(name) in PICTURES}
    found |= {name: why for name, why in place.skipped if _ending(name) in PICTURES}
    absent = {name: "named in a table, but not there" for name in rows if name not in found}
    return sorted((found | absent).items())


def _missing(name: str, tables: Collection[LabelTable], rows: Collection[str]) -> str:
    """What is wrong with a file of which no row speaks though there is a table."""
    over = [table.name for table in tables if name.startswith(table.folder)]
    return f"not in {over[0]}" if over and name not in rows else ""


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _split(name: str, holdout: float, *, pair: bool) -> Split | None:
    """The split of a file; none if it lies beside the folders train and test."""
    if not pair:
        return "test" if held_out(name, holdout) else "train"
    return next((split for split in SPLITS if name.startswith(f"{split}/")), None)


def _folder(name: str, *, pair: bool) -> str:
    """The first folder of a path, below that of its split; '' if it lies in none."""
    parts = name.split("/")[1 if pair else 0 : -1]
    return parts[0] if parts else ""


def _check_folders(place: Place, found: list[Sample], *, pair: bool, asked: bool) -> bool:
    """Whether sub-folders are classes: each has a picture, and none lies beside them."""
    used = {_folder(sample.name, pair=pair) for sample in found} - {""}
    inside = (f"{name}/" for name in place.folders if _split(f"{name}/", 0, pair=pair))
    there = {_folder(name, pair=pair) for name in inside} - {""}
    if not (pair or asked) and used and {name.lower() for name in used} <= SPLIT_WORDS:
        classes = any(sample.name.count("/") > 1 for sample in found)
        if classes or len(used) > 1:
            raise InputError(
                f"the sub-folders {' and '.join(sorted(used))} of {place.path} look like splits, not like "
                f"classes; call two of them train and test, or give one as the data, or say "
                f"data.labels=none, or data.labels=folders if they are classes"
            )
    if len(used | there) < 2 and not asked:
        return False
    if empty := sorted(there - used):
        raise InputError(
            f"the sub-folder '{empty[0]}' of {place.path} has no pictures; remove it, or say "
            f"data.labels=none"
        )
    beside = [s.name for s in found if not _folder(s.name, pair=pair)]
    if beside:
        raise InputError(
            f"{len(beside)} pictures of {place.path}, such as {beside[0]}, lie beside its "
            f"sub-folders and so have no class; move them, or say data.labels=none"
        )
    return True


def _in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names of classes: by number if all are whole numbers, else by alphabet."""
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))
