"""What settings are ordered by: how far samples are from the data."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Judge(Protocol):
    """How far samples are from the data, by features of them."""

    @property
    def distance_name(self) -> str:
        """What is measured."""

    def look(self, x: Tensor) -> Tensor:
        """Features of samples in the model's units, a row for each."""

    def distance(self, features: Tensor) -> float:
        """How far samples of these features are from the data; lower is better."""
