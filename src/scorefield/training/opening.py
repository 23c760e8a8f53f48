"""What is to be settled when a run is opened: that it is ours alone, and what there is to say of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scorefield.atomic import clear_partial
from scorefield.errors import InputError
from scorefield.models.checkpoint import read_card
from scorefield.recipes.recipe import Recipe
from scorefield.training.checkpoints import Checkpoints, Found
from scorefield.training.folder import RECIPE_FILE
from scorefield.training.lock import locked
from scorefield.training.state import Position
from scorefield.training.stepfiles import step_of


@contextmanager
def alone(out: Path, checkpoints: Checkpoints, found: Found, position: Position) -> Iterator[None]:
    """Have a run folder alone, as it was when it was opened, cleared of what a killed process left.

    Arguments:
        out: the run folder.
        checkpoints: its state files.
        found: what was found among them when the run was opened.
        position: where the run stands here.

    Raises:
        InputError: when another process has the folder, or has gone on with the run since.
    """
    with locked(out) as last:
        if last is not None:
            clear_partial(out, last.pid)
        later = [
            f for f in checkpoints.files() if step_of(f) > position.step and f not in found.damaged
        ]
        if later:
            raise InputError(f"the run in {out} has gone on to {later[-1].name}; open it again")
        yield


def remarks(out: Path, found: Found, stored: Recipe, recipe: Recipe) -> list[tuple[str, bool]]:
    """What there is to say of a run that goes on, and whether it is a warning.

    Arguments:
        out: the run folder.
        found: where it goes on from.
        stored: its recipe so far.
        recipe: its recipe from now on.
    """
    if found.path is None:
        return []
    said = found.remarks()
    if not (out / RECIPE_FILE).is_file():
        said.append((f"{RECIPE_FILE} was lost; the recipe is that of {found.path}", True))
    then, now = stored.training.budget, recipe.training.budget
    if then != now:
        said.append((f"the budget of the run was {then}, and is {now} from here", False))
    return said


def is_whole(out: Path, step: int) -> bool:
    """Whether a run folder has a recipe, and a model of a step.

    Arguments:
        out: the run folder.
        step: where the run stands.
    """
    try:
        return (out / RECIPE_FILE).is_file() and read_card(out).step == step
    except InputError:
        return False
