"""What data are to the rest: samples by their number, and a description that travels with them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

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
        center: what is subtracted from each number of real vectors to get the model's units; none for 0.
        scale: what it is then divided by; none for 1.
        class_names: what the classes are called, in order; none if they have numbers only.
        columns: what the numbers of a vector are called, in order; none if they have no names.

    Raises:
        InputError: when one of them is out of range.
    """

    shape: tuple[int, ...]
    classes: int = 0
    levels: int | None = 256
    low: float | None = -1.0
    high: float | None = 1.0
    mean: tuple[float, ...] = (0.0,)
    sigma_data: float = 1.0
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1:
            raise InputError(f"shape must be of numbers of at least 1, got {self.shape}")
        if self.classes < 0:
            raise InputError(f"classes must be at least 0, got {self.classes}")
        if self.levels is not None and self.levels < 2:
            raise InputError(f"levels must be at least 2, got {self.levels}")
        if not 0 < self.sigma_data < math.inf:
            raise InputError(f"sigma_data must be above 0 and finite, got {self.sigma_data}")
        low, high = self.low, self.high
        if low is not None and high is not None and not -math.inf < low < high < math.inf:
            raise InputError(f"low must be below high, and both finite, got {low} and {high}")

    @property
    def is_image(self) -> bool:
        """Whether a sample is an image (C, H, W)."""
        return len(self.shape) == 3

    @property
    def class_words(self) -> tuple[str, ...]:
        """What the classes are called; their numbers if they have no names."""
        return self.class_names or tuple(map(str, range(self.classes)))

    def check_like(self, data: DataSpec) -> None:
        """Refuse data of another shape or in other units.

        Arguments:
            data: the description of the data at hand, where this one is a model's.

        Raises:
            InputError: with what differs.
        """
        for name in ("shape", "levels", "low", "high", "center", "scale"):
            ours, theirs = getattr(self, name), getattr(data, name)
            if ours != theirs:
                raise InputError(
                    f"the data are not like those the model was trained on: {name} is {theirs}, not "
                    f"{ours}"
                )

    def _units(self) -> tuple[Tensor, Tensor]:
        """Center and scale in float64, shapes that broadcast against (B, D) or (B, C, L)."""
        axes = [1] * (len(self.shape) - 1)
        center = torch.tensor(self.center or (0.0,), dtype=torch.float64)
        scale = torch.tensor(self.scale or (1.0,), dtype=torch.float64)
        return center.reshape(-1, *axes), scale.reshape(-1, *axes)

    def to_model(self, stored: Tensor) -> Tensor:
        """Stored values (B, ...) in the model's units, float32."""
        if self.levels is None or self.low is None or self.high is None:
            center, scale = self._units()
            return ((stored - center) / scale).float()
        return stored.float() * ((self.high - self.low) / (self.levels - 1)) + self.low

    def to_arrays(self, x: Tensor) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Samples as people keep them: images uint8 (N, H, W, C), vectors float32 (N, D)."""
        x = x.detach().cpu().float()
        if not self.is_image:
            center, scale = self._units()
            return (x.double() * scale + center).float().numpy()
        low, high = self.low or 0.0, 1.0 if self.high is None else self.high
        scaled = ((x - low) / (high - low) * 255).round().clamp(0, 255)
        return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


class Skipped(NamedTuple):
    """A file that could not be used.

    Arguments:
        name: its path inside the data.
        reason: what is wrong with it, in a few words.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Data(ABC):
    """Samples that are asked for by their number, from memory or from a disk.

    Arguments:
        label: class of each sample, shape (N,), int64; none if there are no labels.
        spec: the description.
        caption: a sentence about each sample; none if there are no sentences.
        skipped: files that could not be used.
    """

    label: Tensor | None
    spec: DataSpec
    caption: tuple[str, ...] | None = None
    skipped: tuple[Skipped, ...] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def stored(self, indices: Tensor) -> Tensor:
        """Samples as stored, shape (B, ...): levels, or floating point numbers.

        Arguments:
            indices: which, shape (B,), int64.
        """

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Samples in the model's units, float32 (B, ...), and their labels."""
        label = None if self.label is None else self.label[indices]
        return self.spec.to_model(self.stored(indices)), label


@dataclass(frozen=True, kw_only=True)
class Arrays(Data):
    """A data set in memory, stored once; batches are converted as they are asked for.

    Arguments:
        x: samples as stored, shape (N, ...): uint8 or uint16 levels, or floating point numbers.
        label: class of each sample, shape (N,), int64; none if there are no labels.
        spec: the description.
        caption: a sentence about each sample; none if there are no sentences.
        skipped: files that could not be used.
    """

    x: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def stored(self, indices: Tensor) -> Tensor:
        return self.x[indices]


@dataclass(frozen=True)
class Dataset(ABC):
    """A light description of a data set; `load` gets the data."""

    @abstractmethod
    def load(self, split: Split = "train") -> Data:
        """The samples of a split.

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
    class_names: Sequence[str] = (),
    caption: Sequence[str] | None = None,
    skipped: Sequence[Skipped] = (),
) -> Arrays:
    """Arrays with their mean and σ_data measured, after checking that all values are in range.

    Arguments:
        x: samples as stored, shape (N, ...); uint8 for up to 256 levels, uint16 for more.
        label: class of each sample, shape (N,), or none.
        classes: number of classes, 0 if there are no labels.
        levels: number of levels of a stored value; none for real numbers.
        low: what the lowest level is for the model; none for no bounds.
        high: what the highest level is for the model.
        class_names: what the classes are called, in order.
        caption: a sentence about each sample.
        skipped: files that could not be used.

    Raises:
        InputError: for an empty array, values that are not finite or out of range, or labels that
            are not 0 … classes - 1.
    """
    if len(x) == 0:
        raise InputError("a data set needs at least 1 sample, got 0")
    if levels is None:
        check_range(x, low, high)
    elif x.dtype != (whole := torch.uint8 if levels <= 256 else torch.uint16):
        raise InputError(
            f"samples of {levels} levels must be stored as {_word(whole)}, got {_word(x.dtype)}"
        )
    if label is not None and len(label) != len(x):
        raise InputError(f"{len(x)} samples need as many labels, got {len(label)}")
    if label is not None and not bool(((label >= 0) & (label < classes)).all()):
        raise InputError(
            f"labels must lie in 0 to {classes - 1}, got {int(label.min())} to {int(label.max())}"
        )
    plain = DataSpec(tuple(x.shape[1:]), classes, levels, low, high, class_names=tuple(class_names))
    spec = measured(plain, torch.split(x, 8192))
    known = None if caption is None else tuple(caption)
    return Arrays(x=x, label=label, spec=spec, caption=known, skipped=tuple(skipped))


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def check_range(x: Tensor, low: float | None, high: float | None) -> None:
    """Refuse real numbers that are not finite or out of range.

    Arguments:
        x: samples as stored.
        low: the least value; none for no bounds.
        high: the greatest.

    Raises:
        InputError: when there is such a number.
    """
    if not bool(torch.isfinite(x).all()):
        raise InputError("samples must be finite numbers, got NaN or infinity")
    if low is not None and high is not None and not bool(((x >= low) & (x <= high)).all()):
        raise InputError(
            f"samples must lie in {low:g} to {high:g}, got {float(x.min()):g} to {float(x.max()):g}"
        )


def measured(plain: DataSpec, blocks: Iterable[Tensor]) -> DataSpec:
    """A description with the mean and σ_data of its data.

    Arguments:
        plain: the description without them.
        blocks: all samples as stored, each block of shape (B, ...).

    Raises:
        InputError: when all samples are equal.
    """
    mean, sigma_data = moments(plain, blocks)
    if not sigma_data > 0:
        raise InputError("all samples are equal; there is nothing to learn")
    return replace(plain, mean=mean, sigma_data=sigma_data)


def moments(spec: DataSpec, blocks: Iterable[Tensor]) -> tuple[tuple[float, ...], float]:
    """Mean of each channel and the standard deviation about it, in blocks of bounded memory.

    Arguments:
        spec: how stored values become the model's.
        blocks: samples as stored, each of shape (B, ...).
    """
    total = torch.zeros(spec.shape[0], dtype=torch.float64)
    square = torch.zeros(spec.shape[0], dtype=torch.float64)
    count = 0
    for block in blocks:
        values = spec.to_model(block).double().reshape(len(block), spec.shape[0], -1)
        total += values.sum((0, 2))
        square += values.square().sum((0, 2))
        count += len(block) * values.shape[2]
    mean = total / count
    variance = (square / count - mean**2).clamp(min=0).mean()
    return tuple(float(f"{m:.7g}") for m in mean), float(f"{variance.sqrt():.7g}")
