"""Devices and processes, which are Accelerate's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scorefield.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator(out: Path, device: str) -> Accelerator:
    """What computes, and writes to the trackers.

    Arguments:
        out: the run folder.
        device: 'auto' for the best there is, or 'cpu'.

    Raises:
        InputError: for another device.
    """
    if device not in ("auto", "cpu"):
        raise InputError(f"device must be 'auto' or 'cpu', got '{device}'")
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration, is_tensorboard_available

    return Accelerator(
        cpu=device == "cpu",
        log_with="tensorboard" if is_tensorboard_available() else None,
        project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out)),
    )


def greatest(accelerator: Accelerator, number: int) -> int:
    """The greatest of the numbers that processes have.

    Arguments:
        accelerator: the processes.
        number: this process's.
    """
    own = torch.tensor([number], device=accelerator.device)
    return int(accelerator.gather(own).max())
