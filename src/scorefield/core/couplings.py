"""Which noise goes with which data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Coupling(ABC):
    """Which noise goes with which data point of a batch."""

    @abstractmethod
    def __call__(self, x0: Tensor, eps: Tensor) -> Tensor:
        """The noise for each data point, shape (B, ...): ``eps`` or a rearrangement of its rows."""


@dataclass(frozen=True)
class Independent(Coupling):
    """Noise and data are independent, as every path here defines.

        (x₀, ε) ~ p(x₀) N(ε; 0, I)

    Reference: Ho et al. 2020, Algorithm 1. arXiv:2006.11239
    """

    def __call__(self, x0: Tensor, eps: Tensor) -> Tensor:
        return eps
