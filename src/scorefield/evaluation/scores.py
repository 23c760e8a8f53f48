"""What a set of samples gets: figures with what chance leaves open."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from scorefield.errors import unknown

FRECHET, ENERGY = "Fréchet distance", "energy distance"
NORMAL = 1.959963984540054  # standard errors on each side of 95 %

Better = Literal["lower", "higher", ""]


@dataclass(frozen=True)
class Figure:
    """One figure of a set of samples.

    Arguments:
        name: what it is.
        value: the figure.
        low: lower end of its 95 % interval; none if that is not known.
        high: upper end.
        better: 'lower' or 'higher'; '' when neither is.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    better: Better = ""


@dataclass(frozen=True)
class Scores:
    """The figures of a set of samples.

    Arguments:
        count: samples in the set.
        figures: what was measured, in the order to show.
    """

    count: int
    figures: tuple[Figure, ...]

    def __getitem__(self, name: str) -> Figure:
        known = {figure.name: figure for figure in self.figures}
        if name not in known:
            raise unknown("figure", name, known)
        return known[name]

    def __contains__(self, name: str) -> bool:
        return any(figure.name == name for figure in self.figures)


def estimated(
    name: str, estimate: Iterable[float], better: Better, *, most: float = math.inf
) -> Figure:
    """A figure of an estimate and its standard error.

    Arguments:
        name: what it is.
        estimate: value and standard error.
        better: 'lower' or 'higher'; '' when neither is.
        most: the greatest that it can be.
    """
    value, error = estimate
    return Figure(name, value, value - NORMAL * error, min(most, value + NORMAL * error), better)
