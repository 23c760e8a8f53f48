"""``scorefield doctor``."""

from __future__ import annotations

from pathlib import Path

from scorefield import InputError
from scorefield.atomic import check_writable
from scorefield.cli.options import Json, Out
from scorefield.cli.output import bar, remark, say
from scorefield.doctor import (
    RECIPE,
    Diagnosis,
    Examination,
    Prescription,
    facts,
    measures,
    prescribe,
    write_documents,
    write_pictures,
)
from scorefield.recipes import Budget, data_source

STYLES = {"problem": "bold red", "warning": "yellow", "note": "dim"}


def doctor(
    data: str,
    /,
    *,
    out: Out | None = None,
    budget: str = "5m",
    as_json: Json = False,
) -> None:
    """Examine data, and fit a recipe to them with a reason beside every choice.

    Parameters
    ----------
    data
        A data set (see: scorefield list datasets), a folder of images, an archive, .npz, .npy or .csv.
    out
        A folder for recipe.yaml, doctor.md, doctor.json, contact.png and histograms.png; none if not
        given.
    budget
        What the recipe is fitted to: a time (90s, 5m, 2h), images ("600k images") or steps (120steps).
    as_json
        Print lines of JSON.
    """
    diagnosis, prescription = examined(data, budget, out, as_json=as_json)
    if not as_json:
        _print(data, diagnosis, prescription)
    where = "" if out is None else f"\nnext: scorefield train {out / RECIPE} -o runs/mine"
    found = len(diagnosis.findings)
    say(
        f"{data}: {found or 'no'} finding{'' if found == 1 else 's'}{where}",
        as_json=as_json,
        event="done",
        **facts(diagnosis, prescription, data),
    )


def examined(
    source: str, budget: str, out: Path | None, *, as_json: bool
) -> tuple[Diagnosis, Prescription]:
    """Examine data, fit a recipe, and write what was found.

    Arguments:
        source: the data.
        budget: what the recipe is fitted to.
        out: the folder to write to, if any.
        as_json: for programs.
    """
    Budget.parse(budget)  # before minutes are spent on the data
    if out is not None:
        check_writable(out / RECIPE)
    dataset = data_source(source)
    examination = Examination(dataset)
    with bar(f"examining {source}", as_json=as_json) as advance:
        for stage in examination:
            advance(0.9 * stage.share, stage.words)
        advance(0.9, "timing the network")
        prescription = prescribe(examination.diagnosis, dataset, budget)
    if out is not None:
        write_documents(out, examination.diagnosis, prescription, source)
        try:
            write_pictures(out, examination.data, examination.diagnosis)
        except InputError as error:  # the rest is worth having without matplotlib
            remark(str(error), as_json=as_json, warning=True)
    return examination.diagnosis, prescription


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
    chosen = Table(title="\nrecipe", title_justify="left", box=None, padding=(0, 2, 0, 0))
    chosen.add_column("key", no_wrap=True)
    chosen.add_column("why", overflow="fold")
    for choice in prescription.choices:
        chosen.add_row(escape(choice.key), escape(f"{choice.reason} [{choice.basis}]"))
    console.print(chosen)
