"""``scorefield train``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from scorefield import InputError, Trainer, find_recipe
from scorefield.cli.options import Json, Out
from scorefield.cli.output import bar, remark, say


def train(
    recipe: str | None = None,
    /,
    *overrides: str,
    out: Out,
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
    words = [*overrides, *([f"training.budget={budget}"] if budget else [])]
    if recipe is None and not resume:
        raise InputError("a recipe is needed, such as mnist10k; see: scorefield list recipes")
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
