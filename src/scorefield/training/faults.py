"""Steps whose numbers are not finite: left out, then rolled back, then the end, with a record of each.

A step that is left out changes no weights, so its batch comes again only with the next epoch. Order and
noise follow from the seed and the step: after a roll-back the same steps see the same batches, and what
was wrong with one of those is left out again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from scorefield.atomic import read_json_lines, writing
from scorefield.errors import InputError
from scorefield.recipes.training import Training
from scorefield.training.progress import Progress
from scorefield.training.state import Part, Position

FAULTS_FILE = "faults.jsonl"
ROLL_BACKS = 3  # without getting any further, before a run stops
LEFT_OUT, ROLLED_BACK, STOPPED = "left out", "rolled back", "stopped"  # what is done
SLOWER = 0.5  # the factor on the learning rate of each roll-back


@dataclass(frozen=True)
class Fault:
    """A step whose loss or gradient was not finite; what is drawn in it follows from seed and step.

    Arguments:
        step: the number of the step, from 1 as in the log.
        samples: the numbers of the samples in its batch.
        seed: the seed of the run.
        loss: the loss.
        grad_norm: the norm of the gradient.
        lr: the learning rate.
        precision: what the network computed in.
        done: what was done about it.
    """

    step: int
    samples: tuple[int, ...]
    seed: int
    loss: float
    grad_norm: float
    lr: float
    precision: str
    done: str = LEFT_OUT

    def __str__(self) -> str:
        return f"the loss is {self.loss:g} and the gradient's norm {self.grad_norm:g} at step {self.step}"


def advanced(position: Position, *, good: bool) -> Position:
    """The position one step further.

    Arguments:
        position: the position before the step.
        good: whether the step had finite numbers.
    """
    step = position.step + 1
    if not good:
        return replace(position, step=step, left_out=position.left_out + 1)
    further = step > position.furthest
    return replace(
        position, step=step, left_out=0, roll_backs=0 if further else position.roll_backs
    )


def decided(position: Position, patience: int) -> str:
    """What to do after a step that is not good: leave it at that, roll back, or stop.

    Arguments:
        position: the position after the step.
        patience: such steps in a row before a roll-back.
    """
    if position.left_out < patience:
        return LEFT_OUT
    return ROLLED_BACK if position.roll_backs < ROLL_BACKS else STOPPED


def rolled_back(position: Position, saved: Position) -> Position:
    """The position after a roll-back: time spent stays spent, and the learning rate is lowered.

    Arguments:
        position: where too many steps in a row were left out.
        saved: the last good checkpoint's.
    """
    return replace(
        saved,
        seconds=position.seconds,
        split=position.split,
        left_out=0,
        lr_factor=position.lr_factor * SLOWER,
        roll_backs=position.roll_backs + 1,
        furthest=max(position.furthest, position.step),
    )


class Origin:
    """Where a run began, kept in the machine's memory until there is a checkpoint to roll back to.

    Arguments:
        position: where the run stands.
        parts: what it goes on from, by name.
    """

    def __init__(self, position: Position, parts: Mapping[str, Part]) -> None:
        self.position = position
        self.tensors = {
            name: {key: value.detach().cpu().clone() for key, value in part.tensors().items()}
            for name, part in parts.items()
        }

    def restore(self, parts: Mapping[str, Part]) -> Position:
        """Put the run back."""
        for name, part in parts.items():
            part.restore(self.tensors[name])
        return self.position


@dataclass(frozen=True)
class Faults:
    """What a run does about steps that are not good, and its record of them.

    Arguments:
        out: the run folder.
        training: how the recipe is trained.
        order: the numbers of the samples in the batch of a step, counted from 0.
        writes: whether this process writes files.
    """

    out: Path
    training: Training
    order: Callable[[int], Tensor]
    writes: bool

    def seen(self, progress: Progress, position: Position) -> Fault:
        """Record a step, with what is to be done about it.

        Arguments:
            progress: the step.
            position: the position after it.

        Raises:
            InputError: when roll-backs have not helped.
        """
        fault = Fault(
            progress.step,
            tuple(self.order(progress.step - 1).tolist()),
            self.training.seed,
            progress.loss,
            progress.grad_norm,
            progress.lr,
            position.precision,
            decided(position, self.training.patience),
        )
        if self.writes:
            record(self.out, fault)
        if fault.done == STOPPED:
            raise self._hopeless(fault)
        return fault

    def _hopeless(self, fault: Fault) -> InputError:
        tries = [f"a lower training.lr than {self.training.lr:g}"]
        if fault.precision != "fp32":
            tries.append("training.precision=fp32")
        return InputError(
            f"{fault} ({fault.precision}, learning rate {fault.lr:.3g}), and {ROLL_BACKS} roll-backs "
            f"did not help; try {' or '.join(tries)}, or look at the samples named in "
            f"{self.out / FAULTS_FILE}; the last checkpoint is as it was"
        )


def record(out: Path, fault: Fault) -> None:
    """Add a line to ``faults.jsonl`` of a run folder; numbers that JSON does not know are words."""
    plain = asdict(fault)
    for name in ("loss", "grad_norm"):
        if not math.isfinite(plain[name]):
            plain[name] = str(plain[name])
    path = out / FAULTS_FILE
    with writing(path), path.open("a+b") as file:
        if file.tell() and _last(file) != b"\n":  # a process was killed while it wrote
            file.write(b"\n")
        file.write(json.dumps(plain, allow_nan=False).encode() + b"\n")


def _last(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def read_faults(out: str | Path) -> list[Fault]:
    """The faults of a run, in the order in which they happened; none for most runs.

    Arguments:
        out: the run folder.
    """
    path = Path(out) / FAULTS_FILE
    if not path.is_file():
        return []
    found = []
    for plain in read_json_lines(path):
        numbers = {name: float(plain[name]) for name in ("loss", "grad_norm")}
        found.append(Fault(**{**plain, **numbers, "samples": tuple(plain["samples"])}))
    return found
