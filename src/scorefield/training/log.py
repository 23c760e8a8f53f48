"""The log of a run: plain lines of JSON, and what goes to trackers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorefield.atomic import read_json_lines, whole_file, writing
from scorefield.errors import InputError
from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Recipe
from scorefield.training.folder import LOG_FILE, SAMPLES
from scorefield.training.preview import preview_file
from scorefield.training.progress import Progress
from scorefield.training.trackers import Trackers, flat, numbers

if TYPE_CHECKING:
    from accelerate import Accelerator

EVERY = 20  # steps in a line


class RunLog:
    """Writes a line to ``log.jsonl`` every 20 steps and at checkpoints, with the mean loss since the last.

    Arguments:
        out: the run folder.
        accelerator: whose main process writes.
        after: the step to go on from; later lines, of a run that was cut off, are dropped.
        recipe: what is trained, for trackers.
        trackers: names of trackers.
    """

    def __init__(
        self,
        out: Path,
        accelerator: Accelerator,
        after: int,
        recipe: Recipe,
        trackers: Sequence[str] = (),
    ) -> None:
        self.accelerator = accelerator
        self.path = out / LOG_FILE
        self.after = after
        self.losses: list[float] = []
        self.last: Progress | None = None
        self.checks: list[dict[str, Any]] = []
        if not accelerator.is_main_process:
            return
        known = _lines(self.path) if after and self.path.is_file() else ()
        self._keep([line for line in known if line["step"] <= after])
        self.trackers = Trackers(trackers, out, flat(to_dict(recipe)))

    def add(self, progress: Progress) -> None:
        """Take in a step, and write when it is time."""
        self.losses.append(progress.loss)
        self.last = progress
        if progress.step % EVERY == 0 or progress.step == 1:
            self.flush()

    def flush(self) -> None:
        """Write what has been taken in."""
        losses, self.losses = self.losses, []
        if self.last is None or not losses or not self.accelerator.is_main_process:
            return
        last, loss = self.last, sum(losses) / len(losses)
        line = {
            "step": last.step,
            "images": last.images,
            "seconds": round(last.seconds, 3),
            "loss": loss,
            "lr": last.lr,
            "grad_norm": last.grad_norm,
            "rate": round(last.rate, 1),
        }
        self._write(line)
        self.trackers.log({k: line[k] for k in ("loss", "lr", "grad_norm", "rate")}, last.step)

    def rewind(self, step: int) -> None:
        """Drop what came after a step, as the run goes back to it."""
        self.losses = []
        self.last = self.last and replace(self.last, step=step)
        if self.accelerator.is_main_process:
            self._keep([line for line in read_log(self.path.parent) if line["step"] <= step])

    def note(self, text: str) -> None:
        """Write a remark."""
        if self.accelerator.is_main_process:
            self._write({"step": self.last.step if self.last else self.after, "note": text})

    def check(self, progress: Progress) -> None:
        """Write what a check found."""
        if progress.health is not None and self.accelerator.is_main_process:
            line = {"step": progress.step, "images": progress.images}
            found = {"seconds": round(progress.seconds, 3), "health": progress.health.plain()}
            self._write(line | found)
            self.trackers.log(numbers(progress.health), progress.step)

    def picture(self, step: int) -> None:
        """Show the picture of a checkpoint."""
        if self.accelerator.is_main_process:
            self.trackers.picture(preview_file(self.path.parent / SAMPLES, step), step)

    def troubles(self) -> list[str]:
        """What has gone wrong with trackers since this was asked last."""
        if not self.accelerator.is_main_process:
            return []
        told, self.trackers.troubles = self.trackers.troubles, []
        return told

    def close(self) -> None:
        """Write the rest and close the trackers."""
        self.flush()
        if self.accelerator.is_main_process:
            self.trackers.close()
        self.accelerator.end_training()

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        self.checks = [line for line in lines if "health" in line]
        with whole_file(self.path) as path:
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def _write(self, line: dict[str, Any]) -> None:
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(out: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log; what is no line of it, such as a last one that was cut off, is left out.

    Arguments:
        out: the run folder.

    Raises:
        InputError: when there is no log.
    """
    path = Path(out) / LOG_FILE
    if not path.is_file():
        raise InputError(f"no {LOG_FILE} in {out}")
    try:
        return list(_lines(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    return (line for line in read_json_lines(path) if isinstance(line.get("step"), int))
