"""What data are to the rest: arrays held once in memory, and a description that travels with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorefield.errors import InputError

Split = Literal["train", "test"]


@dataclass(frozen=True)
class DataSpec:
    """The description of a data set that goes from the loader to the saved image.

    Arguments:
        shape: shape of a sample, (C, H, W) for images or (D,) for vectors.
        classes: number of classes, 0 if there are no labels.
        levels: number of levels of a stored value, 256 for 8-bit images; none for real numbers.
        low: what the lowest level is for the model; none for real numbers without bounds.
        high: what the highest level is for the model.
        mean: measured mean of each channel (of each number, for vectors), in the model's units.
        sigma_data: measured standard deviation about that mean, in the model's units.
    """

    shape: tuple[int, ...]
    classes: int = 0
    levels: int | None = 256
    low: float | None = -1.0
    high: float | None = 1.0
    mean: tuple[float, ...] = (0.0,)
    sigma_data: float = 1.0

    @property
    def is_image(self) -> bool:
        """Whether a sample is an image (C, H, W)."""
        return len(self.shape) == 3

    def to_model(self, stored: Tensor) -> Tensor:
        """Stored values (B, ...) in the model's units, float32."""
        if self.levels is None or self.low is None or self.high is None:
            return stored.float()
        return stored.float() * ((self.high - self.low) / (self.levels - 1)) + self.low

    def to_arrays(self, x: Tensor) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Samples as people keep them: images uint8 (N, H, W, C), vectors float32 (N, D)."""
        x = x.detach().cpu().float()
        if not self.is_image:
            return x.numpy()
        low, high = self.low or 0.0, 1.0 if self.high is None else self.high
        scaled = ((x - low) / (high - low) * 255).round().clamp(0, 255)
        return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True)
class Arrays:
    """A data set in memory, stored once; batches are converted as they are asked for.

    Arguments:
        x: samples as stored, shape (N, ...): uint8 levels, or floating point numbers.
        label: class of each sample, shape (N,), int64; none if there are no labels.
        spec: the description.
    """

    x: Tensor
    label: Tensor | None
    spec: DataSpec

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Samples in the model's units, float32 (B, ...), and their labels."""
        label = None if self.label is None else self.label[indices]
        return self.spec.to_model(self.x[indices]), label


@dataclass(frozen=True)
class Dataset(ABC):
    """A light description of a data set; `load` gets the data."""

    @abstractmethod
    def load(self, split: Split = "train") -> Arrays:
        """The arrays of a split.

        Arguments:
            split: 'train' or 'test'.

        Raises:
            InputError: for a split that the data do not have, or files that are missing or damaged.
        """


def described(
    x: Tensor,
    label: Tensor | None = None,
    *,
    classes: int = 0,
    levels: int | None = 256,
    low: float | None = -1.0,
    high: float | None = 1.0,
) -> Arrays:
    """Arrays with their mean and σ_data measured, after checking that all values are in range.

    Arguments:
        x: samples as stored, shape (N, ...); uint8 where ``levels`` is given.
        label: class of each sample, shape (N,), or none.
        classes: number of classes, 0 if there are no labels.
        levels: number of levels of a stored value; none for real numbers.
        low: what the lowest level is for the model; none for no bounds.
        high: what the highest level is for the model.

    Raises:
        InputError: for an empty array, values that are not finite or out of range, or labels that
            are not 0 … classes - 1.
    """
    if len(x) == 0:
        raise InputError("a data set needs at least 1 sample, got 0")
    if levels is None:
        _check_range(x, low, high)
    elif x.dtype != torch.uint8:
        raise InputError(f"samples of {levels} levels must be stored as uint8, got {x.dtype}")
    if label is not None and len(label) != len(x):
        raise InputError(f"{len(x)} samples need as many labels, got {len(label)}")
    if label is not None and not bool(((label >= 0) & (label < classes)).all()):
        raise InputError(
            f"labels must lie in 0 to {classes - 1}, got {int(label.min())} to {int(label.max())}"
        )
    plain = DataSpec(tuple(x.shape[1:]), classes, levels, low, high)
    mean, sigma_data = _moments(plain, x)
    if not sigma_data > 0:
        raise InputError("all samples are equal; there is nothing to learn")
    spec = DataSpec(plain.shape, classes, levels, low, high, mean, sigma_data)
    return Arrays(x, label, spec)


def _check_range(x: Tensor, low: float | None, high: float | None) -> None:
    if not bool(torch.isfinite(x).all()):
        raise InputError("samples must be finite numbers, got NaN or infinity")
    if low is not None and high is not None and not bool(((x >= low) & (x <= high)).all()):
        raise InputError(
            f"samples must lie in {low:g} to {high:g}, got {float(x.min()):g} to {float(x.max()):g}"
        )


def _moments(spec: DataSpec, x: Tensor) -> tuple[tuple[float, ...], float]:
    """Mean of each channel and the standard deviation about it, in blocks of bounded memory."""
    total = torch.zeros(spec.shape[0], dtype=torch.float64)
    square = torch.zeros(spec.shape[0], dtype=torch.float64)
    for block in torch.split(x, 8192):
        values = spec.to_model(block).double().reshape(len(block), spec.shape[0], -1)
        total += values.sum((0, 2))
        square += values.square().sum((0, 2))
    count = x.numel() / spec.shape[0]
    mean = total / count
    variance = (square / count - mean**2).clamp(min=0).mean()
    return tuple(float(f"{m:.7g}") for m in mean), float(f"{variance.sqrt():.7g}")
