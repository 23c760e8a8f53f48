"""The one error that a user can cause, the one way to suggest what was meant, and too little memory."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# In the words of the plain RuntimeErrors by which torch says that memory has run out, or cannot be counted.
MEMORY = (
    "can't allocate memory",
    "DefaultCPUAllocator",
    "out of memory",
    "size calculation overflowed",
    "multiplication overflow",
)


class InputError(ValueError):
    """What was asked for cannot be done as asked: one sentence with the bad value and the good ones."""


def unknown(thing: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list, with the nearest name in the list.

    Arguments:
        thing: what the name should have been, such as "sampler".
        name: what was given.
        known: the names that exist.
    """
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    return InputError(f"unknown {thing} '{name}'{hint} (known: {', '.join(names) or 'none'})")


def check_count(name: str, value: object, least: int = 1) -> None:
    """Refuse what is no whole number, or is too small a one.

    Arguments:
        name: what it is a number of, such as "steps".
        value: what was given.
        least: the smallest that is right.

    Raises:
        InputError: with the value and what would be right.
    """
    if not hasattr(value, "__index__"):
        raise InputError(f"{name} must be a whole number, at least {least}, got {value!r}")
    if value.__index__() < least:
        raise InputError(f"{name} must be at least {least}, got {value}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, or that more was asked for than can be counted.

    Arguments:
        error: what was raised.
    """
    if isinstance(error, RuntimeError):
        return any(word in str(error) for word in MEMORY)
    return isinstance(error, MemoryError)
