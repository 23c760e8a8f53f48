"""``scorefield train``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scorefield import InputError, Recipe, Trainer, find_recipe
from scorefield.cli.doctor import examined
from scorefield.cli.options import Json, Out, Track
from scorefield.cli.output import remark
from scorefield.cli.running import finish
from scorefield.doctor import RECIPE
from scorefield.recipes import Budget, data_source
from scorefield.training import decided_once, has_run

DOCTOR = "doctor"  # the folder of a run that holds what was found in its data


def train(
    recipe: str | None = None,
    /,
    *overrides: str,
    out: Out,
    auto: str | None = None,
    budget: str | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: str = "auto",
    track: Track = (),
    strict: Annotated[bool, Parameter(negative=())] = False,
    as_json: Json = False,
) -> int:
    """Train a recipe, or go on with a run.

    Parameters
    ----------
    recipe
        A preset (see: scorefield list recipes), or a .yaml or .json file.
    overrides
        Dotted keys with values, such as schedule=subvp network.width=64 training.seed=1.
    out
        The run folder.
    auto
        Data to examine and fit a recipe to, as `scorefield doctor` does, in place of a recipe.
    budget
        A time (90s, 5m, 2h), images ("600k images") or steps (120steps).
    resume
        Go on with the run in the folder; start it if there is none.
    device
        auto for the best there is, or cpu.
    track
        A tracker that gets all numbers too: tensorboard (where it is installed, without asking), wandb,
        trackio, mlflow or another of Accelerate's; may be given again. none for none.
    strict
        A broken picture in a folder is an error, as by data.strict=true; else it is skipped and named.
    as_json
        Print lines of JSON.
    """
    if strict:
        overrides = (*overrides, "data.strict=true")
    words = [*overrides, *_budget(budget)]
    chosen: Recipe | None
    if auto is None:
        chosen = _named(recipe, words, resume=resume)
    else:
        given = [*([recipe] if recipe else []), *overrides]
        chosen = decided_once(
            lambda: _fitted(
                auto, given, budget, out, resume=resume, device=device, as_json=as_json
            ),
            out,
            device,
        )
    trainer = Trainer(chosen, out, device=device, resume=resume, trackers=track or None)
    return finish(trainer, as_json=as_json)


def _budget(words: str | None) -> list[str]:
    if words is None:
        return []
    Budget.parse(words)  # an empty word would be none
    return [f"training.budget={words}"]


def _named(recipe: str | None, words: Sequence[str], *, resume: bool) -> Recipe | None:
    """The recipe of a name or a file; none for a run that goes on with its own."""
    if recipe is not None:
        return find_recipe(recipe, words)
    if not resume:
        raise InputError(
            "a recipe is needed, such as mnist10k, or --auto with data; see: scorefield list recipes"
        )
    if words:
        raise InputError(f"a resumed run keeps its recipe, got {' '.join(words)}")
    return None


def _fitted(
    source: str,
    given: Sequence[str],
    budget: str | None,
    out: Path,
    *,
    resume: bool,
    device: str,
    as_json: bool,
) -> Recipe:
    """A recipe fitted to data, kept in the run's folder with all that the doctor found."""
    if given and "=" not in given[0]:
        raise InputError(f"give a recipe or --auto {source}, not both, got '{given[0]}'")
    if has_run(out) and resume:
        return _as_before(source, [*given, *_budget(budget)], out)
    if has_run(out):
        raise InputError(
            f"{out} already has a run; resume it with --resume or choose another folder"
        )
    diagnosis, prescription = examined(
        source,
        given,
        "5m" if budget is None else budget,
        out / DOCTOR,
        as_json=as_json,
        device=device,
    )
    for finding in diagnosis.findings:
        if finding.severity != "note":
            words = f"{finding.severity}: {finding.name}: {finding.text}; {finding.advice}"
            remark(words, as_json=as_json, warning=True)
    return prescription.recipe


def _as_before(source: str, words: Sequence[str], out: Path) -> Recipe:
    """The recipe that was fitted when the run began, for these data and with these wishes."""
    recipe = find_recipe(str(out / DOCTOR / RECIPE), words)
    data = data_source(source, [word for word in words if word.startswith("data.")])
    return replace(recipe, data=data)
