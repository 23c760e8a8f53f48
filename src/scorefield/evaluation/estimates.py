"""What a metric gives: a figure and how far chance may have moved it."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

NORMAL = 1.959963984540054  # standard errors on each side of 95 %


class Estimate(NamedTuple):
    """A figure with its standard error.

    Arguments:
        value: the figure.
        error: one standard error.
        degrees: of freedom that the standard error has: how many numbers it was found from, less 1.
    """

    value: float
    error: float
    degrees: float = math.inf

    @property
    def reach(self) -> float:
        """What to either side holds the true figure 95 times of 100, by Student's t."""
        if math.isinf(self.degrees):
            return NORMAL * self.error
        from scipy.special import stdtrit

        return float(stdtrit(self.degrees, 0.975)) * self.error


class Interval(NamedTuple):
    """Between which figures a figure lies, at a stated level.

    Arguments:
        low: the lower end.
        high: the upper end.
    """

    low: float
    high: float


def mean_of(values: Tensor) -> Estimate:
    """The mean of independent numbers, with its standard error s/√n.

    Arguments:
        values: at least 2 numbers, shape (n,).
    """
    values = values.double()
    error = float(values.std()) / math.sqrt(len(values))
    return Estimate(float(values.mean()), error, len(values) - 1)
