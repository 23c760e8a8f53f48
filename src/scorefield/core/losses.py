"""What an error of the network costs: one number of a sample's residual.

The squared error is least at the conditional mean, which is what a denoiser is. The others are not: they
trade that for robustness, and what is trained on them is a denoiser only nearly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.errors import InputError


@dataclass(frozen=True)
class Loss(ABC):
    """The cost of the errors of a sample, alike for any number of axes."""

    @abstractmethod
    def __call__(self, residual: Tensor) -> Tensor:
        """The cost of each sample, shape (B,), from F_θ - F of shape (B, ...)."""


@dataclass(frozen=True)
class L2(Loss):
    """The squared error, which the conditional mean minimizes.

        ℓ(r) = ‖r‖² / D

    Reference: Ho et al. 2020, eq. 14. arXiv:2006.11239
    """

    def __call__(self, residual: Tensor) -> Tensor:
        return residual.square().flatten(1).mean(1)


@dataclass(frozen=True)
class L1(Loss):
    """The absolute error, which the median of each axis minimizes: less diverse samples.

        ℓ(r) = Σ |r_d| / D

    Reference: Saharia et al. 2022, Palette, which compares it with the squared error. arXiv:2111.05826
    """

    def __call__(self, residual: Tensor) -> Tensor:
        return residual.abs().flatten(1).mean(1)


@dataclass(frozen=True)
class Huber(Loss):
    """Pseudo-Huber: squared for small errors of a sample, linear for large ones.

        ℓ(r) = √(‖r‖²/D + c²) - c

    As published but for a factor √D: the published c is c √D here.

    Arguments:
        c: the root mean square error where one goes over into the other, in units of the target; above 0.
            For consistency training 0.00054 is published; at 1, ordinary errors are nearly squared.

    Reference: Song & Dhariwal 2023, Improved Techniques for Training Consistency Models, eq. 7.
        arXiv:2310.14189
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise InputError(f"c must be above 0, got {self.c}")

    def __call__(self, residual: Tensor) -> Tensor:
        square = residual.square().flatten(1).mean(1)
        # √(s + c²) - c without the difference, which would lose small errors beside a large c
        return square / (torch.sqrt(square + self.c**2) + self.c)
