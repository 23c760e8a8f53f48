"""What a trainer says at each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scorefield.data.base import Skipped
from scorefield.training.health.record import Health

Remark = tuple[str, bool]  # what there is to say, and whether everybody should see it

NAMED = 3  # of the files that were left out


@dataclass(frozen=True)
class Progress:
    """Where a training run stands.

    Arguments:
        step: optimizer steps made.
        images: images seen.
        seconds: time spent in steps.
        spent: share of the budget used; 1 or a little more at the end.
        loss: loss of the step; NaN before the first.
        lr: learning rate of the step.
        grad_norm: norm of the gradient before clipping.
        rate: images per second of late.
        note: what else there is to say, such as how the network computes; empty most of the time.
        warning: whether the note is one that everybody should see.
        health: what the check found that was made after the step; none after most.
    """

    step: int
    images: int
    seconds: float
    spent: float
    loss: float = math.nan
    lr: float = 0.0
    grad_norm: float = math.nan
    rate: float = 0.0
    note: str = ""
    warning: bool = False
    health: Health | None = None


def left_out(skipped: Sequence[Skipped]) -> str:
    """A sentence about files that could not be used: how many, and the first by name.

    Arguments:
        skipped: the files; at least one.
    """
    first = [f"{name} ({reason})" for name, reason in skipped[:NAMED]]
    if more := len(skipped) - len(first):
        first.append(f"{more:,} more")
    files = "1 file" if len(skipped) == 1 else f"{len(skipped):,} files"
    return f"{files} could not be used: {', '.join(first)}"
