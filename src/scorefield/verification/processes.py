"""Training as a user starts it: by the command, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scorefield.errors import InputError


def train_command(words: Sequence[str], device: str) -> list[str]:
    """The command that trains, but for its last word, the folder of the run.

    Arguments:
        words: the recipe, its settings and options.
        device: as for claims; a run takes the best device there is, or the processor.
    """
    where = "cpu" if device == "cpu" else "auto"
    return [sys.executable, "-m", "scorefield", "train", *words, "--device", where, "-o"]


def finish(command: Sequence[str], run: Path, patience: float | None = None) -> None:
    """Let a run come to its end.

    Arguments:
        command: of `train_command`.
        run: the folder.
        patience: seconds that it may take before it is called hung; no limit if not given.

    Raises:
        InputError: when it fails, or hangs.
    """
    try:
        done = subprocess.run(
            [*command, str(run)], capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"a run did not end within {patience:.0f} s") from None
    if done.returncode:
        raise InputError(f"a run ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
