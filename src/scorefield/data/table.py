"""Tables of numbers, one sample a row."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorefield.data.base import Arrays, Dataset, DataSpec, Split, measured
from scorefield.data.holdout import check_share, chosen
from scorefield.data.published import known_split
from scorefield.data.table_files import MISSING, Header, Text, number, read_text
from scorefield.data.units import units
from scorefield.errors import InputError, unknown


@dataclass(frozen=True)
class Table(Dataset):
    """A table of numbers in a text file, one sample a row.

        x = (cells - center) / scale,   center and scale of each column's training rows

    The model sees columns of mean 0 and standard deviation 1; samples come out in the table's own units.
    Columns without a header are called 1, 2, 3 …

    Arguments:
        path: the file: values separated by commas, semicolons, tabs, bars or spaces.
        label: the column that holds the class, by name; none if there are no classes.
        columns: the columns to use, by name; all but the label if not given.
        delimiter: what stands between values; found out if not given.
        header: whether the first row names the columns: 'yes', 'no', or 'auto' if it has no number.
        holdout: share of the rows for the test split, by a hash of their number; 0 for none.

    Reference: Shafranovich 2005, RFC 4180, Common Format and MIME Type for CSV Files.
    """

    path: str = ""
    label: str = ""
    columns: tuple[str, ...] = ()
    delimiter: str = ""
    header: Header = "auto"
    holdout: float = 0.0

    def __post_init__(self) -> None:
        check_share(self.holdout)
        if len(self.delimiter) > 1:
            raise InputError(f"delimiter must be one character, got '{self.delimiter}'")

    def load(self, split: Split = "train") -> Arrays:
        known_split(split)
        if not self.path:
            raise InputError("the path of a table is needed, as in data.path=table.csv")
        text = read_text(Path(self.path), self.delimiter, self.header)
        columns = self._used(text)
        x = torch.tensor(
            [text.numbers(name) for name in columns], dtype=torch.float64
        ).T.contiguous()
        label, names = _classes(text, self.label) if self.label else (None, ())
        train = x[torch.from_numpy(chosen(len(x), self.holdout, "train"))]
        for name, values in zip(columns, train.T, strict=True):
            if bool((values == values[0]).all()):
                raise InputError(
                    f"column '{name}' of {self.path} is {float(values[0]):g} in every row; leave it out "
                    f"with data.columns"
                )
        center, scale = units([train], each=True)
        rows = torch.from_numpy(chosen(len(x), self.holdout, split))
        plain = DataSpec(
            (len(columns),), len(names), None, None, None, center=center, scale=scale,
            class_names=names, columns=columns,
        )  # fmt: skip
        spec = measured(plain, [x[rows]])
        return Arrays(x=x[rows], label=None if label is None else label[rows], spec=spec)

    def _used(self, text: Text) -> tuple[str, ...]:
        """The columns that are samples."""
        for name in (*self.columns, *([self.label] if self.label else [])):
            if name not in text.columns:
                raise unknown("column", name, text.columns)
        used = self.columns or tuple(name for name in text.columns if name != self.label)
        if self.label in used:
            raise InputError(f"column '{self.label}' cannot be both the label and a number")
        if not used:
            raise InputError(f"{self.path} has no column besides the label")
        if len(set(used)) < len(used):
            raise InputError(f"columns must differ, got {', '.join(used)}")
        return used


def _classes(text: Text, column: str) -> tuple[Tensor, tuple[str, ...]]:
    """The class of each row, and what the classes are called: by number if they are, else by alphabet."""
    at = text.columns.index(column)
    cells = [cells[at] for cells in text.rows]
    if "" in cells:
        raise InputError(f"a value is missing in {text.place(cells.index(''), column)}")
    numbers = {cell: number(cell) for cell in dict.fromkeys(cells)}
    words = [cell for cell, n in numbers.items() if n is None or not math.isfinite(n)]
    # Among numbers "NaN" and the like are none; where no class is a number they may be words.
    if len(words) < len(numbers):
        for cell in words:
            if cell.lower() in MISSING:
                raise InputError(f"a value is missing in {text.place(cells.index(cell), column)}")
    if not words:
        names = tuple(sorted(dict.fromkeys(cells), key=float))
    else:
        names = tuple(sorted(dict.fromkeys(cells)))
    place = {name: i for i, name in enumerate(names)}
    return torch.tensor([place[cell] for cell in cells]), names
