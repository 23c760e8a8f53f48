"""The run folder: what its parts are called, and which recipe it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

from scorefield.atomic import read_json, whole_file
from scorefield.errors import InputError
from scorefield.models.checkpoint import MODEL_FILE, read_card
from scorefield.recipes.config import dotted, from_dict, to_dict
from scorefield.recipes.recipe import Recipe
from scorefield.training.checkpoints import Checkpoints

RECIPE_FILE, LOG_FILE, REPORT_FILE = "recipe.json", "log.jsonl", "report.html"
STATES, SAMPLES, AVERAGES = "state", "samples", "averages"


def write_recipe(out: Path, recipe: Recipe) -> None:
    """Write the recipe of a run into its folder."""
    with whole_file(out / RECIPE_FILE) as path:
        path.write_text(json.dumps(to_dict(recipe), indent=2) + "\n", encoding="utf-8")


def has_run(out: str | Path) -> bool:
    """Whether there is a run in a folder, or what is left of one.

    Arguments:
        out: the folder.
    """
    out = Path(out)
    named = [out / RECIPE_FILE, out / MODEL_FILE]
    return any(path.is_file() for path in named) or bool(Checkpoints(out / STATES).files())


def stored_recipe(out: Path, resume: bool) -> Recipe | None:
    """The recipe of the run in a folder, if there is one; of a state or the model if its file is lost."""
    if not has_run(out):
        return None
    if not resume:
        raise InputError(
            f"{out} already has a run; resume it with --resume or choose another folder"
        )
    file = out / RECIPE_FILE
    if not file.is_file():
        return Checkpoints(out / STATES).newest().recipe or read_card(out).recipe
    return from_dict(Recipe, read_json(file), "recipe")


def difference(out: Path, stored: Recipe, given: Recipe) -> str:
    """Why a run cannot go on with another recipe: the first key in which they differ."""
    old, new = dotted(to_dict(stored)), dotted(to_dict(given))
    key = next(k for k in {**old, **new} if old.get(k) != new.get(k))
    return f"the run in {out} has another recipe: {key} is {old.get(key)} there and {new.get(key)} here"
