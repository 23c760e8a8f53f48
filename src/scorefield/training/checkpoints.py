"""The state files of a run: one safetensors file a checkpoint, of which the last and the best are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scorefield.errors import InputError
from scorefield.recipes.config import from_dict, to_dict
from scorefield.recipes.recipe import Recipe
from scorefield.training.state import Part, Position
from scorefield.training.statefile import DamagedError, Header, read_state, write_state
from scorefield.training.stepfiles import step_file, step_files, step_of

RECIPE, POSITION, SCORE = "recipe", "position", "score"  # keys of a header
ENDING = ".safetensors"


@dataclass(frozen=True)
class Found:
    """What there is to go on from.

    Arguments:
        path: the newest good state file; none when there are no files.
        header: what it says.
        tensors: what is in it.
        damaged: newer files, which are not good, and why.
    """

    path: Path | None = None
    header: Header = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    damaged: Mapping[Path, str] = field(default_factory=dict)

    @property
    def recipe(self) -> Recipe | None:
        """The recipe of the run, if the file says it."""
        known = self.header.get(RECIPE)
        return None if known is None else from_dict(Recipe, json.loads(known), "recipe")

    def remarks(self) -> list[tuple[str, bool]]:
        """What to say of it, and whether it is a warning."""
        said = [
            (f"{path} cannot be used ({reason}); going on from {self.path}", True)
            for path, reason in self.damaged.items()
        ]
        then, now = {k: self.header.get(k) for k in versions()}, versions()
        if self.path and any(then.values()) and then != now:
            words = [" ".join(f"{k} {v}" for k, v in which.items()) for which in (then, now)]
            said.append((f"the state is of {words[0]}, this is {words[1]}: bits may differ", False))
        return said

    def restore(self, parts: Mapping[str, Part]) -> Position:
        """Put a run back where the file left it, or at the start if there is none.

        Arguments:
            parts: get their tensors.

        Raises:
            InputError: when the file is of another recipe.
        """
        if self.path is None:
            return Position()
        try:
            for name, part in parts.items():
                part.restore(_below(self.tensors, f"{name}."))
            return Position(**json.loads(self.header[POSITION]))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{self.path} is of another recipe: {reason}") from None
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{self.path} makes no sense here: {error!r}") from None


@dataclass(frozen=True)
class Checkpoints:
    """The state files of a run.

    Arguments:
        folder: the run's folder of states.
        keep: how many of the last are kept, beside the one with the best score.
    """

    folder: Path
    keep: int = 2

    def files(self) -> list[Path]:
        """The files there are, oldest first."""
        return step_files(self.folder, ENDING)

    def path(self, position: Position) -> Path:
        """The file of a position."""
        return step_file(self.folder, position.step, ENDING)

    def write(
        self,
        position: Position,
        parts: Mapping[str, Part],
        recipe: Recipe,
        score: float | None = None,
    ) -> Path:
        """Write ``step-N.safetensors`` and drop the oldest.

        Files of later steps, which were passed over as they are not good, are renamed to ``*.bad``.

        Arguments:
            position: where the run stands.
            parts: what it goes on from, by name.
            recipe: what is trained.
            score: how good the model is there, lower is better, such as its held-out loss; none if unknown.

        Raises:
            InputError: when the file cannot be written.
        """
        tensors = {
            f"{name}.{key}": value
            for name, part in parts.items()
            for key, value in part.tensors().items()
        }
        header = versions() | {
            POSITION: json.dumps(asdict(position)),
            RECIPE: json.dumps(to_dict(recipe)),
        }
        if score is not None and math.isfinite(score):
            header[SCORE] = repr(score)
        path = self.path(position)
        write_state(path, header, tensors)
        for later in [file for file in self.files() if step_of(file) > position.step]:
            later.rename(later.with_name(f"{later.name}.bad"))
        self._drop()
        return path

    def forget_after(self, step: int) -> None:
        """Delete the files of later steps, unless there are no others.

        Arguments:
            step: the last step that counts.
        """
        later = [f for f in self.files() if step_of(f) > step]
        if len(later) < len(self.files()):
            for file in later:
                file.unlink(missing_ok=True)

    def best(self) -> Path | None:
        """The file with the best score, if any has one."""
        scores = {file: score for file in self.files() if (score := _score(file)) is not None}
        return min(scores, key=lambda file: scores[file], default=None)

    def newest(self) -> Found:
        """The newest good file, read.

        Raises:
            InputError: when there are files and none is good, or a newer version wrote one.
        """
        damaged: dict[Path, str] = {}
        for path in reversed(self.files()):
            try:
                header, tensors = read_state(path)
            except DamagedError as error:
                damaged[path] = str(error)
            else:
                return Found(path, header, tensors, damaged)
        if damaged:
            words = "; ".join(f"{path.name}: {reason}" for path, reason in damaged.items())
            raise InputError(f"no state in {self.folder} can be used: {words}")
        return Found()

    def restore(self, parts: Mapping[str, Part]) -> Position:
        """Put a run back where its newest good state file left it, or at the start if there is none.

        Arguments:
            parts: get their tensors.

        Raises:
            InputError: when there are files and none is good, or it is of another recipe.
        """
        return self.newest().restore(parts)

    def _drop(self) -> None:
        """Delete what is neither among the last nor the best."""
        best = self.best()
        for old in self.files()[: -self.keep]:
            if old != best:
                old.unlink()


def versions() -> dict[str, str]:
    """The versions of what computes."""
    from scorefield import __version__

    return {"scorefield": __version__, "torch": torch.__version__}


def _score(path: Path) -> float | None:
    try:
        with safe_open(path, framework="pt") as content:
            return float((content.metadata() or {})[SCORE])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
