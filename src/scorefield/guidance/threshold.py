"""Thresholding: the estimate of the clean data is held to the range that data have."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import Denoiser
from scorefield.errors import InputError


def _check_range(low: float, high: float) -> None:
    if not -math.inf < low < high < math.inf:
        raise InputError(f"low must be below high, got low={low} and high={high}")


class StaticThreshold(Denoiser):
    """A denoiser whose estimate is clipped to the range of the data.

        x̂₀ ← min(max(x̂₀, low), high)

    Arguments:
        denoiser: the denoiser within.
        low: the lowest value of the data.
        high: the highest.

    Reference: Saharia et al. 2022, Photorealistic Text-to-Image Diffusion Models, section 2.3, static
        thresholding. arXiv:2205.11487
    """

    def __init__(self, denoiser: Denoiser, low: float = -1.0, high: float = 1.0) -> None:
        _check_range(low, high)
        super().__init__(denoiser.schedule, denoiser.moments)
        self.denoiser, self.low, self.high = denoiser, low, high

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        x0: Tensor = self.denoiser(x, t, **cond)
        return x0.clamp(self.low, self.high)


class DynamicThreshold(Denoiser):
    """A denoiser whose estimate is drawn in to the range of the data, sample by sample.

        x̂₀ ← m + r clip(z, -s, s)/s,   z = (x̂₀ - m)/r,   s = max(1, p-quantile of |z|)

    with m the middle of the range and r half its width. Each sample has an s of its own, so that it does
    not depend on its batch.

    Arguments:
        denoiser: the denoiser within.
        percentile: p, the share of values that are not clipped; above 0 and up to 1.
        low: the lowest value of the data.
        high: the highest.

    Reference: Saharia et al. 2022, Photorealistic Text-to-Image Diffusion Models, section 2.3, dynamic
        thresholding. arXiv:2205.11487
    """

    def __init__(
        self, denoiser: Denoiser, percentile: float = 0.995, low: float = -1.0, high: float = 1.0
    ) -> None:
        _check_range(low, high)
        if not 0 < percentile <= 1:
            raise InputError(f"percentile must lie above 0 and up to 1, got {percentile}")
        super().__init__(denoiser.schedule, denoiser.moments)
        self.denoiser, self.percentile = denoiser, percentile
        self.low, self.high = low, high

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        x0: Tensor = self.denoiser(x, t, **cond)
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        z = (x0 - middle) / half
        size = _quantile(z.abs().flatten(1), self.percentile).clamp(min=1)
        size = expand(size, x0)
        return middle + half * (torch.maximum(torch.minimum(z, size), -size) / size)


def _quantile(values: Tensor, share: float) -> Tensor:
    """The quantile of each row, linear between values; torch's own takes no more than 2²⁴ numbers."""
    place = share * (values.shape[1] - 1)
    below = math.floor(place)
    lower = values.kthvalue(below + 1, dim=1).values
    upper = values.kthvalue(min(below + 2, values.shape[1]), dim=1).values
    return lower + (place - below) * (upper - lower)
