"""``scorefield compare``."""

from __future__ import annotations

from pathlib import Path

from scorefield import InputError
from scorefield.cli.options import Json
from scorefield.cli.output import say, table
from scorefield.evaluation import compared, read_result


def compare(
    *results: str,
    as_json: Json = False,
) -> None:
    """Put evaluations side by side; unlike ones are refused.

    Parameters
    ----------
    results
        Files that evaluate wrote, or run folders that have one.
    as_json
        Print one line of JSON.
    """
    if len(set(results)) < len(results):
        raise InputError("each evaluation can be named once")
    plain = {name: read_result(Path(name)) for name in results}
    head, rows = compared(plain)
    if as_json:
        say("", as_json=True, event="done", results=plain)
    else:
        table(head, rows)
