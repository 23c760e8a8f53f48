"""``scorefield report``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scorefield.cli.options import Json
from scorefield.cli.output import say
from scorefield.training import verdict_of, write_report


def report(
    run: Path,
    /,
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
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
    path = write_report(run, out)
    found = verdict_of(run)
    say(f"{path}\n{found}", as_json=as_json, report=str(path), verdict=asdict(found))
