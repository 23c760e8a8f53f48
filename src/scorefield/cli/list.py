"""``scorefield list``."""

from __future__ import annotations

import json
from typing import Any

from scorefield import RECIPES
from scorefield.cli.options import Json
from scorefield.errors import unknown
from scorefield.recipes import CATALOG, describe

MANY = {"times": "times", "betas": "betas", "loss": "losses"}
PLURALS = {MANY.get(noun, f"{noun}s"): kinds for noun, kinds in CATALOG.values()}


def list_names(
    what: str | None = None,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List what there is to choose from.

    Parameters
    ----------
    what
        recipes, schedules, samplers, networks, datasets, grids, …; everything if not given.
    as_json
        Print one line of JSON.
    """
    sections = {"recipes", *PLURALS}
    if what is not None and what not in sections:
        raise unknown("list", what, ["recipes", *PLURALS])
    chosen = ["recipes", *PLURALS] if what is None else [what]
    found = {name: _rows(name) for name in chosen}
    if as_json:
        print(json.dumps(found))
        return
    from rich.console import Console

    console = Console()
    for name in chosen:
        _print(console, name, found[name], details=what is not None)


def _rows(section: str) -> list[dict[str, Any]]:
    """The entries of a section as plain facts."""
    if section == "recipes":
        return [{"name": name, "summary": _recipe_summary(name)} for name in RECIPES]
    rows = []
    for name, cls in PLURALS[section].items():
        words = describe(cls)
        row: dict[str, Any] = {"name": name, "python": cls.__name__, "summary": words.summary}
        if section == "samplers":
            made = cls()
            row |= {
                "order": made.order,
                "stochastic": made.stochastic,
                "evaluations": made.evaluations_per_step,
                "needs": made.needs,
            }
        row["settings"] = {key: _setting(value) for key, (value, _) in words.arguments.items()}
        row["meaning"] = {key: text for key, (_, text) in words.arguments.items()}
        row["reference"] = words.reference
        rows.append(row)
    return rows


def _setting(value: object) -> Any:  # noqa: ANN401
    """A default as JSON can say it: a number, a word, a list, or the name of a kind."""
    for _, kinds in CATALOG.values():
        for name, cls in kinds.items():
            if type(value) is cls:
                return name
    return list(value) if isinstance(value, tuple) else value


def _recipe_summary(name: str) -> str:
    from scorefield.recipes import to_dict

    plain = to_dict(RECIPES[name])
    parts = [plain[key]["kind"] for key in ("data", "network", "schedule", "parameterization")]
    return f"{', '.join(parts)}; {plain['training']['budget']}"


def _print(console: Any, name: str, rows: list[dict[str, Any]], *, details: bool) -> None:  # noqa: ANN401
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(title=name, title_justify="left", box=None, padding=(0, 2, 0, 0))
    extra = [key for key in ("order", "stochastic", "evaluations", "needs") if key in rows[0]]
    for head in ("name", *extra, "what it is"):
        table.add_column(head, no_wrap=head == "name", overflow="fold")
    for row in rows:
        table.add_row(row["name"], *(_word(row[key]) for key in extra), row["summary"])
    console.print(table)
    for row in rows if details else []:
        if "settings" not in row:
            continue
        console.print(Text(f"\n{row['name']}, in Python {row['python']}", style="bold"))
        lines = [
            f"{key} = {value}: {row['meaning'][key]}" for key, value in row["settings"].items()
        ]
        for line in [*lines, row["reference"]]:
            console.print(Padding(Text(line), (0, 0, 0, 4)))


def _word(fact: bool | int | str) -> str:
    """A fact as the table has it; no evaluations a step are as many as a tolerance asks for."""
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return "adaptive" if fact == 0 else str(fact)
