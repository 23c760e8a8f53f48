"""Files of a run that are named by a step, such as ``step-00000120.png``."""

from __future__ import annotations

from pathlib import Path


def step_file(folder: Path, step: int, ending: str, kind: str = "step") -> Path:
    """Where the file of a step is.

    Arguments:
        folder: the folder of such files.
        step: optimizer steps made.
        ending: of the name, with the dot.
        kind: the word before the step.
    """
    return folder / f"{kind}-{step:08d}{ending}"


def step_files(folder: Path, ending: str, kind: str = "step") -> list[Path]:
    """The files there are, oldest first; others, which somebody put there, are passed over.

    Arguments:
        folder: the folder of such files; none if it is not there.
        ending: of the name, with the dot.
        kind: the word before the step.
    """
    found = folder.glob(f"{kind}-*{ending}")
    return sorted((f for f in found if f.stem.removeprefix(f"{kind}-").isdecimal()), key=step_of)


def step_of(file: Path) -> int:
    """The step that a file is named by.

    Arguments:
        file: as `step_files` gives it.
    """
    return int(file.stem.rpartition("-")[2])
