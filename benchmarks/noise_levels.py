"""Between which noise levels a peer samples, and the chain of β that diffusers is told them by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

STAGES = 1000  # of a chain


@dataclass(frozen=True)
class Levels:
    """The noise levels that a network knows, and the chain of β that diffusers is told them by.

    Arguments:
        lowest: the least σ.
        highest: the largest, where x_T is.
        first: β of the chain's first stage.
        last: β of the last; they grow or fall linearly.
    """

    lowest: float
    highest: float
    first: float
    last: float

    @property
    def chain(self) -> dict[str, float]:
        return {"beta_start": self.first, "beta_end": self.last}


DDPM = Levels(0.010000500037503125, 157.40728081040737, 1e-4, 0.02)


def reached(first: float, last: float) -> float:
    """The noise level σ/α at the end of a chain whose β are linear."""
    betas = torch.linspace(first, last, STAGES, dtype=torch.float64)
    lost = -float(torch.log1p(-betas).sum())
    return math.expm1(min(lost, 700.0)) ** 0.5  # beyond, it is no number


def levels_between(lowest: float, highest: float) -> Levels:
    """A chain that begins and ends at the noise levels of a network.

    Raises:
        ValueError: when no chain of that many stages does.
    """
    first = lowest**2 / (1 + lowest**2)
    low, high = 0.0, 0.5
    for _ in range(60):
        last = (low + high) / 2
        low, high = (last, high) if reached(first, last) < highest else (low, last)
    if abs(reached(first, last) / highest - 1) > 1e-6:
        raise ValueError(f"no chain of {STAGES} stages leads from {lowest:g} to {highest:g}")
    return Levels(lowest, highest, first, last)
