"""What commands say: progress bars for people, lines of JSON for programs, silence for neither."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

WIDTH = 132  # of tables where there is no terminal


def is_silent() -> bool:
    """Whether this is one of several processes and another of them speaks, the first."""
    return os.environ.get("RANK", "0") != "0"


def say(text: str, *, as_json: bool, **facts: Any) -> None:  # noqa: ANN401
    """Print the result of a command on standard output.

    Arguments:
        text: for people.
        as_json: print one line of JSON in its place.
        facts: what the line holds.
    """
    if not is_silent():
        print(json.dumps(facts) if as_json else text, flush=True)


def remark(text: str, *, as_json: bool, warning: bool = False) -> None:
    """Say something worth knowing: to people on a terminal, or as a line of JSON to programs.

    Arguments:
        text: what to say.
        as_json: for programs.
        warning: say it to people even where there is no terminal.
    """
    if is_silent():
        return
    if as_json:
        print(json.dumps({"event": "note", "text": text, "warning": warning}), flush=True)
    elif warning or sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


@contextmanager
def bar(what: str, *, as_json: bool) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on a terminal; gives a function of the share done and a few words beside it.

    With ``as_json`` it writes at most one line a second, ``{"event": "progress", ...}``, to standard
    output; without a terminal it is silent.

    Arguments:
        what: what is being done.
        as_json: for programs.
    """
    if as_json and not is_silent():
        yield _json_lines(what)
    elif is_silent() or not sys.stderr.isatty():
        yield lambda share, words: None
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=1.0, words="")
            yield lambda share, words: progress.update(task, completed=min(share, 1), words=words)


def _json_lines(what: str) -> Callable[[float, str], None]:
    last = 0.0

    def line(share: float, words: str) -> None:
        nonlocal last
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            event = {"event": "progress", "doing": what, "share": round(share, 4), "words": words}
            print(json.dumps(event), flush=True)

    return line


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table for people: the first column to the left, numbers to the right.

    Arguments:
        head: what the columns are called.
        rows: as many words each.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    made = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(head):
        made.add_column(escape(name), justify="right" if place else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(escape, row))
    console.print(made)
