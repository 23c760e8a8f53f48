"""What a doctor says: a finding has a weight, plain words, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["problem", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """Something about the data that matters for training.

    Arguments:
        name: what it is about, in a word or two.
        severity: 'problem' if training would go wrong, 'warning' if samples would suffer, else 'note'.
        text: what was found, with its figures.
        advice: what to do; empty if nothing is to be done.
        samples: numbers of samples to look at, a few.
    """

    name: str
    severity: Severity
    text: str
    advice: str = ""
    samples: tuple[int, ...] = ()


def plural(count: int, noun: str) -> str:
    """A count with its noun, as in '1 image' or '1,200 images'."""
    endings = {"copy": "copies", "class": "classes"}
    words = noun if count == 1 else endings.get(noun, f"{noun}s")
    return f"{count:,} {words}"


def some(things: Sequence[object]) -> str:
    """The first few of some numbers or names, and how many more there are."""
    more = f" and {len(things) - 8:,} more" if len(things) > 8 else ""
    return ", ".join(map(str, things[:8])) + more
