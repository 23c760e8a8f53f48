"""What a set of samples gets: figures with what chance leaves open."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scorefield.errors import unknown
from scorefield.evaluation.estimates import Estimate

FRECHET, ENERGY = "Fréchet distance", "energy distance"

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
    name: str,
    estimate: Estimate,
    better: Better,
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> Figure:
    """A figure of an estimate, with its interval.

    Arguments:
        name: what it is.
        estimate: value and standard error.
        better: 'lower' or 'higher'; '' when neither is.
        least: the least that it can be.
        most: the greatest that it can be.
    """
    low, high = estimate.value - estimate.reach, estimate.value + estimate.reach
    return Figure(name, estimate.value, max(least, low), min(most, high), better)
