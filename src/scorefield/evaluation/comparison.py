"""Evaluations side by side, if they are alike enough to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorefield.errors import InputError
from scorefield.evaluation.table import ranged, setting

# What two evaluations must have in common: where it is in their facts, and what it is called.
ALIKE = {
    ("count",): "count of samples",
    ("data", "hash"): "hash of the data",
    ("data", "splits"): "split of the data",
    ("data", "reference"): "count of real samples",
    ("data", "floor"): "count of the floor's samples",
    ("features", "name"): "features",
    ("features", "hash"): "hash of the features",
    ("label",): "label asked for",
}
SETTINGS = ("sampler", "steps", "guidance", "guidance_least", "seed")  # shown where they differ


def compared(results: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Evaluations as a table: the head, and the rows. The floor is the first one's.

    Arguments:
        results: the plain facts of each, by its name; at least 2.

    Raises:
        InputError: for fewer than 2, or for unlike ones, with all that differs.
    """
    if len(results) < 2:
        raise InputError(f"at least 2 evaluations are needed to compare, got {len(results)}")
    check_alike(results)
    first = next(iter(results.values()))
    rows = [
        [key, *(setting(plain.get(key)) for plain in results.values()), "", ""]
        for key in SETTINGS
        if len({setting(plain.get(key)) for plain in results.values()}) > 1
    ]
    for name, figure in first["figures"].items():
        found = [plain["figures"].get(name) for plain in results.values()]
        floor = figure["floor"]
        cells = ["-" if one is None else ranged(one) for one in (*found, floor)]
        rows.append([name, *cells, figure["better"]])
    return ["figure", *results, "floor", "better"], rows


def check_alike(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse evaluations whose figures mean different things.

    Arguments:
        results: the plain facts of each, by its name.

    Raises:
        InputError: with all that differs between the first and another.
    """
    (first, plain), *others = results.items()
    for name, other in others:
        found = [
            f"{word} ({_at(plain, path)} and {_at(other, path)})"
            for path, word in ALIKE.items()
            if _at(plain, path) != _at(other, path)
        ]
        if found:
            raise InputError(
                f"{first} and {name} cannot be compared; they differ in: {', '.join(found)}"
            )


def _at(plain: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: Any = plain
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
