"""``scorefield doctor``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from scorefield import InputError
from scorefield.atomic import check_folder
from scorefield.cli.options import Json, Out
from scorefield.cli.output import bar, remark, say
from scorefield.doctor import (
    RECIPE,
    Diagnosis,
    Examination,
    Prescription,
    chosen,
    facts,
    measures,
    prescribe,
    training_rate,
    write_documents,
    write_pictures,
)
from scorefield.recipes import Budget, data_source, to_dict

STYLES = {"problem": "bold red", "warning": "yellow", "note": "dim"}


def doctor(
    data: str,
    /,
    *overrides: str,
    out: Out | None = None,
    budget: str = "5m",
    as_json: Json = False,
) -> None:
    """Examine data, and fit a recipe to them with a reason beside every choice.

    Parameters
    ----------
    data
        A data set (see: scorefield list datasets), a folder of images, an archive, .npz, .npy or .csv.
    overrides
        Dotted keys with values that the recipe is to have, such as data.holdout=0.1.
    out
        A folder for recipe.yaml, doctor.md, doctor.json, contact.png and histograms.png; none if not
        given.
    budget
        What the recipe is fitted to: a time (90s, 5m, 2h), images ("600k images") or steps (120steps).
    as_json
        Print lines of JSON.
    """
    diagnosis, prescription = examined(data, overrides, budget, out, as_json=as_json)
    if not as_json:
        _print(data, diagnosis, prescription)
    where = (
        ""
        if out is None
        else f"\nnext: scorefield train {shlex.quote(str(out / RECIPE))} -o runs/mine"
    )
    found = len(diagnosis.findings)
    say(
        f"{data}: {found or 'no'} finding{'' if found == 1 else 's'}{where}",
        as_json=as_json,
        event="done",
        **facts(diagnosis, prescription, data),
    )


def examined(
    source: str,
    overrides: Sequence[str],
    budget: str,
    out: Path | None,
    *,
    as_json: bool,
    device: str = "auto",
) -> tuple[Diagnosis, Prescription]:
    """Examine data, fit a recipe, and write what was found.

    Arguments:
        source: the data.
        overrides: what the recipe is to have otherwise.
        budget: what the recipe is fitted to.
        out: the folder to write to, if any.
        as_json: for programs.
        device: where the network is timed.
    """
    Budget.parse(budget)  # before minutes are spent on the data
    dataset = data_source(source, [word for word in overrides if word.startswith("data.")])
    if out is not None:
        _check_apart(out, to_dict(dataset).get("path"))
    examination = Examination(dataset)
    with bar(f"examining {source}", as_json=as_json) as advance:
        for stage in examination:
            advance(0.9 * stage.share, stage.words)
        advance(0.9, "timing the network")
        measure = partial(training_rate, device=device)
        prescription = prescribe(examination.diagnosis, dataset, budget, overrides, measure=measure)
    if out is not None:
        write_documents(out, examination.diagnosis, prescription, source)
        try:
            write_pictures(out, examination.data, examination.diagnosis)
        except InputError as error:  # the rest is worth having without matplotlib
            remark(str(error), as_json=as_json, warning=True)
    return examination.diagnosis, prescription


def _check_apart(out: Path, data: str | None) -> None:
    """Refuse a folder that cannot be written, or that would become part of the data."""
    check_folder(out)
    place = Path(data).expanduser() if data else None
    if place and place.is_dir() and out.resolve().is_relative_to(place.resolve()):
        raise InputError(f"{out} lies inside the data, {place}, and would become part of them")


def _print(source: str, diagnosis: Diagnosis, prescription: Prescription) -> None:
    """The tables: measures, findings, choices."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=escape(source), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("measure", "value"):
        table.add_column(head, overflow="fold")
    for row in measures(diagnosis):
        table.add_row(*map(escape, row))
    console.print(table)
    for finding in diagnosis.findings:
        style = STYLES[finding.severity]
        console.print(
            f"\n[{style}]{finding.severity}[/]: {escape(finding.name)}: {escape(finding.text)}"
        )
        if finding.advice:
            console.print(f"    {escape(finding.advice)}")
    console.print("")
    reasons = Table(title="recipe", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for head in ("key", "value", "why"):
        reasons.add_column(head, overflow="fold")
    for choice in prescription.choices:
        value = chosen(prescription.recipe, choice.key)
        why = f"{choice.reason} [{choice.basis}]"
        reasons.add_row(*map(escape, (choice.key, value, why)))
    console.print(reasons)
