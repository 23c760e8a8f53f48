"""What a metric gives: a figure and how far chance may have moved it."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A figure with its standard error.

    Arguments:
        value: the figure.
        error: one standard error; twice this to either side holds the true figure about 95 times of 100.
    """

    value: float
    error: float


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
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))
