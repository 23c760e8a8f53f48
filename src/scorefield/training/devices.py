"""Devices and processes, which are Accelerate's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from scorefield.errors import InputError
from scorefield.training.processes import Processes, launched, peers_answering

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

# Compiling and pictures of samples take a minute or more in one process, while others wait for it.
TIMEOUT = timedelta(minutes=10)


def accelerator(out: Path, device: str) -> Accelerator:
    """What computes.

    Arguments:
        out: the run folder.
        device: 'auto' for the best there is, or 'cpu'.

    Raises:
        InputError: for another device, and when other processes of the run cannot be reached.
    """
    if device not in ("auto", "cpu"):
        raise InputError(f"device must be 'auto' or 'cpu', got '{device}'")
    from accelerate import Accelerator
    from accelerate.utils import (
        DistributedDataParallelKwargs,
        GradientAccumulationPlugin,
        InitProcessGroupKwargs,
        ProjectConfiguration,
    )

    handlers = [
        InitProcessGroupKwargs(timeout=TIMEOUT),
        DistributedDataParallelKwargs(gradient_as_bucket_view=True),
    ]
    with peers_answering(launched(), "start as many as WORLD_SIZE says, with one MASTER_PORT"):
        return Accelerator(
            cpu=device == "cpu" or (launched() > 1 and not _has_devices()),
            # Precision and accumulation are the run's own, whatever `accelerate config` has said.
            mixed_precision="no",
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            project_config=ProjectConfiguration(project_dir=str(out), logging_dir=str(out)),
            kwargs_handlers=handlers,
        )


def decided_once(make: Callable[[], T], out: Path, device: str) -> T:
    """Let the main process decide on something before there is a trainer, and give it to all.

    Arguments:
        make: what is decided; it can be pickled.
        out: the run folder.
        device: 'auto' for the best there is, or 'cpu'.

    Raises:
        InputError: the one that it met.
    """
    if launched() == 1:
        return make()
    with peers_answering(launched(), "start again"):
        return Processes(accelerator(out, device)).by_main(make)


def _has_devices() -> bool:
    """Whether there are devices for many processes; where not, Accelerate must be told so."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return found is not None and found.type != "mps"
