"""A choice and its reason, and what fitting a recipe means for one kind of data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scorefield.data.base import Dataset
from scorefield.doctor.examination import Diagnosis
from scorefield.nets.base import NetworkConfig
from scorefield.recipes.recipe import Recipe

Basis = Literal["measured", "source", "rule of thumb"]


@dataclass(frozen=True)
class Choice:
    """A choice in a recipe, and why.

    Arguments:
        key: the dotted key of the recipe; empty for advice that no key holds.
        reason: why it is as it is.
        basis: what the reason rests on: 'measured' on these data or in this project, a published
            'source', or a 'rule of thumb'.
    """

    key: str
    reason: str
    basis: Basis


class Fit(ABC):
    """How a recipe is fitted to one kind of data."""

    @abstractmethod
    def start(self, diagnosis: Diagnosis, dataset: Dataset) -> Recipe:
        """The recipe before the network is sized, with the network whose speed is measured."""

    @abstractmethod
    def network(
        self, diagnosis: Diagnosis, base: NetworkConfig, seen: Callable[[NetworkConfig], int]
    ) -> tuple[NetworkConfig, Choice]:
        """The network, and why.

        Arguments:
            diagnosis: what was measured of the data.
            base: the network of the start.
            seen: how many samples the budget shows to a network.
        """

    @abstractmethod
    def finished(
        self, recipe: Recipe, diagnosis: Diagnosis, seen: int
    ) -> tuple[Recipe, tuple[Choice, ...]]:
        """What follows from the network's size, and the reasons for all but the network.

        Arguments:
            recipe: with its network.
            diagnosis: what was measured of the data.
            seen: how many samples the budget shows.
        """


def batch_for(most: int, count: int) -> int:
    """A batch that is a power of two, not more than ``most`` and than there are samples."""
    return int(min(most, 2 ** int(math.log2(max(1, count)))))


def rounded_up(value: float) -> float:
    """A number to 2 digits, not below it."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.2g}")
