"""``scorefield train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from scorefield import InputError, Trainer, find_recipe
from scorefield.cli.doctor import examined
from scorefield.cli.options import Json, Out
from scorefield.cli.output import bar, remark, say
from scorefield.doctor import RECIPE
from scorefield.training import has_run


def train(
    recipe: str | None = None,
    /,
    *overrides: str,
    out: Out,
    auto: str | None = None,
    budget: str | None = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
    device: str = "auto",
    strict: Annotated[bool, Parameter(negative=())] = False,
    as_json: Json = False,
) -> None:
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
    strict
        A broken picture in a folder is an error, as by data.strict=true; else it is skipped and named.
    as_json
        Print lines of JSON.
    """
    if strict:
        overrides = (*overrides, "data.strict=true")
    if auto is not None and not (resume and has_run(out)):
        given = [*([recipe] if recipe else []), *overrides]
        recipe, overrides, budget = _fitted(auto, given, out, budget, as_json=as_json)
    words = [*overrides, *([f"training.budget={budget}"] if budget else [])]
    if recipe is None and not resume:
        raise InputError(
            "a recipe is needed, such as mnist10k, or --auto with data; see: scorefield list recipes"
        )
    if recipe is None and words:
        raise InputError(f"a resumed run keeps its recipe, got {' '.join(words)}")
    chosen = find_recipe(recipe, words) if recipe else None
    trainer = Trainer(chosen, out, device=device, resume=resume)
    with bar(f"training {out}", as_json=as_json) as advance:
        for progress in trainer:
            if progress.note:
                remark(progress.note, as_json=as_json, warning=progress.warning)
            else:
                words_beside = f"loss {progress.loss:.4f}, {progress.rate:,.0f} images/s"
                advance(progress.spent, words_beside)
    position, path = trainer.position, str(out)
    images = position.step * trainer.training.batch
    say(
        f"{path}: trained for {position.step:,} steps, {images:,} images, "
        f"{position.seconds:.0f} s ({trainer.engine})\n"
        f"next: scorefield sample {path} -n 100 -o {path}/samples/grid.png",
        as_json=as_json,
        event="done",
        run=path,
        step=position.step,
        images=images,
        seconds=round(position.seconds, 3),
        engine=str(trainer.engine),
    )


def _fitted(
    source: str, given: list[str], out: Path, budget: str | None, *, as_json: bool
) -> tuple[str, tuple[str, ...], str | None]:
    """A recipe fitted to data, kept in the run's folder, with the overrides for it.

    The budget is in the recipe already.
    """
    for word in given:
        if "=" not in word:
            raise InputError(f"give a recipe or --auto {source}, not both, got '{word}'")
    if has_run(out):
        raise InputError(
            f"{out} already has a run; resume it with --resume or choose another folder"
        )
    folder = out / "doctor"
    diagnosis, _ = examined(source, budget or "5m", folder, as_json=as_json)
    for finding in diagnosis.findings:
        if finding.severity != "note":
            words = f"{finding.severity}: {finding.name}: {finding.text}; {finding.advice}"
            remark(words, as_json=as_json, warning=True)
    return str(folder / RECIPE), tuple(given), None
