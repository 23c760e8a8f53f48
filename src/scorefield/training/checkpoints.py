"""The state files of a run: one safetensors file a checkpoint, of which the last few are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scorefield.atomic import whole_file
from scorefield.errors import InputError
from scorefield.training.state import Part, Position

FORMAT = 1
KEPT = 2  # state files; the one before the newest is there if the newest is lost


@dataclass(frozen=True)
class Checkpoints:
    """The state files of a run.

    Arguments:
        folder: the run's folder of states.
    """

    folder: Path

    def files(self) -> list[Path]:
        """The files there are, oldest first."""
        return sorted(self.folder.glob("step-*.safetensors"))

    def write(self, position: Position, parts: Mapping[str, Part]) -> Path:
        """Write ``step-N.safetensors`` and drop the oldest.

        Arguments:
            position: where the run stands.
            parts: what it goes on from, by name.

        Raises:
            InputError: when the file cannot be written.
        """
        tensors = {
            f"{name}.{key}": value.contiguous()
            for name, part in parts.items()
            for key, value in part.tensors().items()
        }
        header = {"format": str(FORMAT), "position": json.dumps(asdict(position))}
        path = self.folder / f"step-{position.step:08d}.safetensors"
        with whole_file(path) as temporary:
            save_file(tensors, temporary, metadata=header)
        for old in self.files()[:-KEPT]:
            old.unlink()
        return path

    def forget_after(self, step: int) -> None:
        """Delete the files of later steps, unless there are no others.

        Arguments:
            step: the last step that counts.
        """
        later = [f for f in self.files() if f.name > f"step-{step:08d}.safetensors"]
        if len(later) < len(self.files()):
            for file in later:
                file.unlink(missing_ok=True)

    def restore(self, parts: Mapping[str, Part]) -> Position:
        """Put a run back where its newest good state file left it, or at the start if there is none.

        Arguments:
            parts: get their tensors.

        Raises:
            InputError: when there are files and none is good, with what is wrong with the newest.
        """
        errors = []
        for path in reversed(self.files()):
            try:
                return read_state(path, parts)
            except InputError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return Position()


def read_state(path: Path, parts: Mapping[str, Part]) -> Position:
    """Put a run back where a state file left it.

    Arguments:
        path: the state file.
        parts: get their tensors.

    Raises:
        InputError: when the file is damaged, of a newer format, or of another recipe.
    """
    try:
        with safe_open(path, framework="pt") as content:
            header = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}") from error
    if header.get("format") != str(FORMAT):
        raise InputError(
            f"{path} has state format {header.get('format')}; this version reads {FORMAT}"
        )
    try:
        for name, part in parts.items():
            part.restore(_below(tensors, f"{name}."))
        return Position(**json.loads(header["position"]))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is of another recipe: {reason}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
