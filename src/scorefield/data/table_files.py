"""Tables of text: where the numbers begin, what the columns are called, which cell is not a number."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from scorefield.errors import InputError

Header = Literal["auto", "yes", "no"]

MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
DELIMITERS = ",;\t| "
SNIFFED = 20  # lines that the delimiter is guessed from


@dataclass(frozen=True)
class Text:
    """The cells of a table.

    Arguments:
        path: its file.
        columns: what the columns are called; numbered from 1 if the file does not say.
        rows: the cells of each row.
        lines: the line of the file that each row ends on.
    """

    path: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def place(self, row: int, column: str) -> str:
        """Where a cell is, for an error."""
        return f"line {self.lines[row]}, column '{column}' of {self.path}"

    def numbers(self, column: str) -> list[float]:
        """A column as numbers.

        Arguments:
            column: its name.

        Raises:
            InputError: for a cell that is empty or no finite number, with its place.
        """
        at = self.columns.index(column)
        return [self._number(row, column, cells[at]) for row, cells in enumerate(self.rows)]

    def _number(self, row: int, column: str, cell: str) -> float:
        if cell.lower() in MISSING:
            raise InputError(f"a value is missing in {self.place(row, column)}")
        value = number(cell)
        if value is None or not math.isfinite(value):
            raise InputError(f"'{cell}' in {self.place(row, column)} is not a finite number")
        return value


def number(cell: str) -> float | None:
    """A cell as a number, or none if it is not one."""
    try:
        return float(cell)
    except ValueError:
        return None


def read_text(path: Path, delimiter: str, header: Header) -> Text:
    """The cells of a file of comma-separated values or the like.

    Arguments:
        path: the file, UTF-8.
        delimiter: what stands between cells; '' to find out.
        header: whether the first row names the columns; 'auto' if none of its cells is a number.

    Raises:
        InputError: when the file cannot be read, is empty, or has rows of different lengths.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = "".join(islice(file, SNIFFED))
            file.seek(0)
            known = delimiter or _delimiter(head)
            # a run of spaces is one delimiter
            reader = csv.reader(file, delimiter=known, skipinitialspace=True)
            found = list(_stripped(reader, known))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not found:
        raise InputError(f"{path} is empty")
    width = len(found[0][1])
    for line, cells in found:
        if len(cells) != width:
            raise InputError(f"line {line} of {path} has {len(cells)} cells, the first row {width}")
    named = header == "yes" or (header == "auto" and all(number(c) is None for c in found[0][1]))
    columns = found[0][1] if named else tuple(str(i) for i in range(1, width + 1))
    if len(set(columns)) < width:
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InputError(f"two columns of {path} are called '{twice}'")
    body = found[1:] if named else found
    if not body:
        raise InputError(f"{path} has a header and no rows")
    lines, rows = zip(*body, strict=True)
    return Text(str(path), columns, rows, lines)


def _stripped(
    reader: Iterator[Sequence[str]], delimiter: str
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Rows that are not empty, each with its line."""
    for cells in reader:
        row = tuple(cell.strip() for cell in cells)
        if delimiter == " ":
            row = tuple(cell for cell in row if cell)
        if any(row):
            yield getattr(reader, "line_num", 0), row


def _delimiter(head: str) -> str:
    """The delimiter that cuts every line into the same number of cells, the most of them."""
    lines = [line for line in head.splitlines() if line.strip()]

    def cells(delimiter: str) -> int:
        rows = _stripped(csv.reader(lines, delimiter=delimiter, skipinitialspace=True), delimiter)
        counts = {len(row) for _, row in rows}
        return counts.pop() if len(counts) == 1 else 1

    return max(DELIMITERS, key=cells)
