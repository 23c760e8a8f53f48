"""The one error that a user can cause, and the one way to suggest what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
