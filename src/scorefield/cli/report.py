"""``scorefield report``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from scorefield.atomic import check_file
from scorefield.cli.options import Json, Out
from scorefield.cli.output import say
from scorefield.training import verdict_of, write_report


def report(
    run: Path,
    /,
    *,
    out: Out | None = None,
    as_json: Json = False,
) -> None:
    """Write a run's report: the verdict, curves, samples, recipe and notes on one page.

    Parameters
    ----------
    run
        The run folder.
    out
        The page; report.html in the run folder if not given.
    as_json
        Print one line of JSON.
    """
    if out is not None:
        check_file(out, ".html")
    path = write_report(run, out)
    found = verdict_of(run)
    say(f"{path}\n{found}", as_json=as_json, report=str(path), verdict=asdict(found))
