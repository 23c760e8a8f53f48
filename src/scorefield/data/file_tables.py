"""Tables beside picture files that name their classes and captions: labels.csv and metadata.jsonl."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from scorefield.data.places import Place, unreadable
from scorefield.errors import InputError

TABLE_NAMES = ("metadata.jsonl", "metadata.csv", "labels.csv")
FILE, LABEL = ("file_name", "filename", "file", "path", "image"), ("label", "class")
CAPTION = ("text", "caption")


class Row(NamedTuple):
    """What a table says of a file.

    Arguments:
        label: the name of the class; '' if it says none.
        caption: a sentence; '' if it says none.
    """

    label: str
    caption: str


@dataclass(frozen=True)
class LabelTable:
    """A file that names pictures with their classes and captions.

    Arguments:
        name: its path inside the place.
        rows: by the path of the picture inside the place.
        labelled: whether it has a column of classes.
        captioned: whether it has a column of captions.
    """

    name: str
    rows: dict[str, Row]
    labelled: bool
    captioned: bool

    @property
    def folder(self) -> str:
        """The folder it speaks of, with a slash at its end if it has a name."""
        return self.name[: self.name.rfind("/") + 1]


def read_tables(place: Place, folders: tuple[str, ...]) -> tuple[LabelTable, ...]:
    """The tables of some folders of a place; not more than one of each.

    Arguments:
        place: where they are.
        folders: which folders, each with a slash at its end, or '' for the place itself.

    Raises:
        InputError: for two tables in a folder, or one that cannot be read.
    """
    tables = []
    for folder in folders:
        found = [folder + name for name in TABLE_NAMES if folder + name in place.files]
        if len(found) > 1:
            raise InputError(f"{place.path} has {' and '.join(found)}; one must go")
        tables += [_read(place, name) for name in found]
    return tuple(tables)


def _read(place: Place, name: str) -> LabelTable:
    where = f"{name} of {place.path}"
    try:
        content = place.read(name)
    except Exception as error:  # what others' files hold makes readers fail in any way
        raise unreadable(where, error) from error
    columns, lines = _lines(content, where, commas=name.endswith(".csv"))
    file, label, caption = (
        next((column for column in known if column in columns), "")
        for known in (FILE, LABEL, CAPTION)
    )
    if not file:
        raise InputError(f"{where} needs a column file_name; it has {', '.join(columns) or 'none'}")
    folder = name[: name.rfind("/") + 1]
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, 1):
        path = unicodedata.normalize("NFC", _word(line.get(file), where, number))
        inside = folder + posixpath.normpath(path.replace("\\", "/"))
        if inside in rows:
            raise InputError(f"row {number} of {where} names {inside} again")
        rows[inside] = Row(*(_word(line.get(key), where, number) for key in (label, caption)))
    return LabelTable(name, rows, bool(label), bool(caption))


def _lines(
    content: bytes, where: str, *, commas: bool
) -> tuple[Sequence[str], list[Mapping[str, Any]]]:
    """Names of the columns, and the rows."""
    try:
        text = content.decode("utf-8-sig")
        if commas:
            reader = csv.DictReader(io.StringIO(text, newline=""))
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            return reader.fieldnames, list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise unreadable(where, error) from error
    lines = list(_json_lines(text, where))
    return list(dict.fromkeys(column for line in lines for column in line)), lines


def _json_lines(text: str, where: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):  # other ends of lines may be in a caption
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise InputError(f"line {number} of {where} is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise InputError(f"line {number} of {where} must be a mapping, got {line[:40]}")
        yield found


def _word(value: object, where: str, number: int) -> str:
    """A cell as text; of several sentences the first."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return ""
    if not isinstance(value, (str, int, float)):
        raise InputError(f"row {number} of {where} has {value!r} where text or a number is needed")
    return str(value).strip()
