"""What the catalog says of a class, read from its docstring: help texts and tables have one source."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from dataclasses import dataclass
from typing import Any

_SECTION = re.compile(r"^(Arguments|Reference|Raises|Returns|Examples):", re.MULTILINE)


@dataclass(frozen=True)
class Description:
    """A class in words.

    Arguments:
        summary: the first line of its docstring.
        arguments: each field with its default and its sentence.
        reference: where it comes from, with equation numbers.
    """

    summary: str
    arguments: dict[str, tuple[object, str]]
    reference: str


def describe(cls: type) -> Description:
    """The description of a dataclass.

    Arguments:
        cls: the class; its docstring has ``Arguments:`` and may have ``Reference:`` sections.
    """
    doc = inspect.cleandoc(cls.__doc__ or "")
    summary = doc.split("\n", 1)[0]
    sections = {}
    marks = list(_SECTION.finditer(doc))
    ends = [mark.start() for mark in marks][1:] + [len(doc)][: len(marks)]
    for mark, end in zip(marks, ends, strict=True):
        sections[mark[1]] = doc[mark.end() : end]
    entries = re.findall(
        r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", sections.get("Arguments", ""), re.MULTILINE
    )
    sentences = {name: " ".join(text.split()) for name, text in entries}
    arguments = {
        f.name: (_default(f), sentences.get(f.name, ""))
        for f in dataclasses.fields(typing.cast(Any, cls))
    }
    return Description(summary, arguments, " ".join(sections.get("Reference", "").split()))


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default is not dataclasses.MISSING:
        return field.default
    return "required"
