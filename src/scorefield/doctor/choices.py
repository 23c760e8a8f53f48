"""A choice in a recipe, and its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any, Literal

from scorefield.doctor.diagnosis import Diagnosis
from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Recipe

Basis = Literal["measured", "source", "rule of thumb", "given"]


@dataclass(frozen=True)
class Choice:
    """A choice in a recipe, and why.

    Arguments:
        key: the dotted key of the recipe.
        reason: why it is as it is.
        basis: what the reason rests on: 'measured' on these data or in this project, a published
            'source', a 'rule of thumb', or 'given' by the user.
    """

    key: str
    reason: str
    basis: Basis


def given(choices: Sequence[Choice], key: str) -> tuple[Choice, ...]:
    """Choices with the reasons for a key, and for all below it, replaced by the user's wish.

    Arguments:
        choices: the reasons.
        key: the dotted key that the user gave.
    """
    kept = [c for c in choices if c.key != key and not c.key.startswith(f"{key}.")]
    return (*kept, Choice(key, "as asked for", "given"))


def chosen(recipe: Recipe, key: str) -> str:
    """What a recipe has at a key, in words: a value, or a kind with what differs from its defaults.

    Arguments:
        recipe: the recipe.
        key: a dotted key of it.
    """
    thing: Any = recipe
    for name in key.split("."):
        thing = getattr(thing, name)
    default: Any = type(thing)
    if not is_dataclass(thing):
        return str(thing).lower() if isinstance(thing, bool) else str(thing)
    plain, usual = to_dict(thing), to_dict(default())
    own = [f"{k}={_kind(v)}" for k, v in plain.items() if v != usual.get(k) and k != "kind"]
    return " ".join(([plain["kind"]] if "kind" in plain else []) + own)


def _kind(value: object) -> object:
    """The kind of an object of the catalog, or the value itself."""
    return value["kind"] if isinstance(value, dict) and "kind" in value else value


def batch_for(most: int, count: int) -> int:
    """A batch that is a power of two, not more than ``most`` and than there are samples."""
    return int(min(most, 2 ** int(math.log2(max(1, count)))))


def short(value: float) -> float:
    """A number to 1 digit."""
    return float(f"{value:.1g}")


def rounded_up(value: float) -> float:
    """A number to 2 digits, not below it."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.2g}")


def furthest(diagnosis: Diagnosis, noun: str) -> str:
    """The largest distance between two samples, in words.

    Arguments:
        diagnosis: what was measured.
        noun: what samples are called.
    """
    far = diagnosis.distance
    found = f"the largest distance between two {noun}s is {far.value:.3g}"
    if far.exact:
        return found
    return f"{found} (among the {far.compared:,} furthest from the mean; none can exceed {far.bound:.3g})"
