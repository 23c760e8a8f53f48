"""Which columns of a Hugging Face data set hold images, classes and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.errors import InputError, unknown

CAPTIONS = ("caption", "captions", "text", "prompt")


@dataclass(frozen=True)
class Found:
    """The columns that are used.

    Arguments:
        image: the column of the images.
        label: the column of the classes; '' for none.
        caption: the column of the sentences; '' for none.
        class_names: what the classes are called, if the column says it.
    """

    image: str
    label: str
    caption: str
    class_names: tuple[str, ...]

    def names_in(self, source: Any) -> tuple[str, ...]:  # noqa: ANN401  (the library has no types)
        """What the classes are called: as the column says, else all its values in order.

        Arguments:
            source: the library's data set.

        Raises:
            InputError: for values that are neither text nor whole numbers.
        """
        if not self.label or self.class_names:
            return self.class_names
        values = list(source[self.label])
        if not all(isinstance(value, (str, int)) for value in values):
            raise InputError(f"column '{self.label}' has values that are no classes")
        # whole numbers in their own order, not in that of their digits
        return tuple(str(v) for v in sorted(set(values), key=lambda v: (isinstance(v, str), v)))

    def labels_in(
        self,
        source: Any,  # noqa: ANN401  (the library has no types)
        rows: Tensor,
        names: Sequence[str],
    ) -> Tensor | None:
        """The class of each of some rows.

        Arguments:
            source: the library's data set.
            rows: which, shape (N,).
            names: what the classes are called.

        Raises:
            InputError: for a row without a class, or with one that is not known.
        """
        if not self.label:
            return None
        column = list(source[self.label])
        if self.class_names:
            labels = [column[row] for row in rows.tolist()]
        else:
            place = {name: i for i, name in enumerate(names)}
            labels = [place.get(str(column[row]), -1) for row in rows.tolist()]
        for row, label in zip(rows.tolist(), labels, strict=True):
            if label is None or not 0 <= label < len(names):
                raise InputError(
                    f"row {row} has the class {column[row]!r}, which is not one of the "
                    f"{len(names)} of column '{self.label}'"
                )
        return torch.tensor(labels)

    def captions_in(
        self,
        source: Any,  # noqa: ANN401  (the library has no types)
        rows: Tensor,
    ) -> tuple[str, ...] | None:
        """A sentence about each of some rows; of several the first.

        Arguments:
            source: the library's data set.
            rows: which, shape (N,).
        """
        if not self.caption:
            return None
        column = list(source[self.caption])
        every = (column[row] for row in rows.tolist())
        return tuple(str((c[0] if c else "") if isinstance(c, list) else c or "") for c in every)


def find_columns(features: Mapping[str, Any], image: str, label: str, caption: str) -> Found:
    """The columns to use: those that were named, else those whose type or name tells.

    Arguments:
        features: the library's types of the columns.
        image: the column of the images; '' to find it.
        label: the column of the classes; '' to find it; 'none' for none.
        caption: the column of the sentences; '' to find it.

    Raises:
        InputError: for a name that is no column, and when there is no image column, or a choice.
    """
    for name in (image, label, caption):
        if name and name not in features and not (name == label == "none"):
            raise unknown("column", name, features)
    kinds = {name: type(feature).__name__ for name, feature in features.items()}
    if not image:
        image = _only([n for n, kind in kinds.items() if kind == "Image"], "image", kinds)
    elif kinds[image] != "Image":
        raise InputError(f"column '{image}' has no images but {kinds[image]}")
    if label == "none" and label not in features:
        label = ""
    elif not label and "ClassLabel" in kinds.values():
        label = _only([n for n, kind in kinds.items() if kind == "ClassLabel"], "label", kinds)
    if not caption:
        caption = next((name for name in CAPTIONS if name in features), "")
    names = tuple(getattr(features[label], "names", None) or ()) if label else ()
    return Found(image, label, caption, names)


def _only(names: Sequence[str], what: str, kinds: Mapping[str, str]) -> str:
    if not names:
        raise InputError(f"there is no {what} column; the columns are {', '.join(kinds)}")
    if len(names) > 1:
        none = ", or none" if what == "label" else ""
        raise InputError(
            f"there are {len(names)} {what} columns; say which, as in data.{what}={names[0]} "
            f"({', '.join(names)}{none})"
        )
    return names[0]
