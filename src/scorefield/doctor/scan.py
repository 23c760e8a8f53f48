"""One walk over all samples in blocks: what can be said of each, and of all together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from scorefield.data.base import Data
from scorefield.data.blocks import blocks

SIDE = 16  # of a thumbnail
THUMBNAILS = 65_536  # kept at most


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was seen in a walk over the data.

    Arguments:
        low: the lowest stored value.
        high: the highest stored value.
        std: standard deviation of each channel (of each number, for vectors), in the model's units.
        levels: how many samples' values lie on each level, shape (levels,); none for real numbers.
        constant: numbers of the samples whose values are all equal.
        digests: a hash of the stored values of each sample.
        radius: distance of each sample from the mean, in the model's units, shape (N,).
        thumbs: of images: 16×16 gray, without mean, of norm 1, shape (M, D); none for other data.
        thumb_index: which samples they are of, shape (M,).
        mirror: of images: root mean square of mean image less its mirror image, in units of σ_data.
    """

    low: float
    high: float
    std: tuple[float, ...]
    levels: Tensor | None
    constant: tuple[int, ...]
    digests: tuple[bytes, ...] = field(repr=False)
    radius: Tensor = field(repr=False)
    thumbs: Tensor | None = field(repr=False)
    thumb_index: Tensor = field(repr=False)
    mirror: float | None

    @property
    def levels_used(self) -> int | None:
        """How many levels occur; none for real numbers."""
        return None if self.levels is None else int((self.levels > 0).sum())


class Scanner:
    """A walk over data; iterate over it for the share done, then ask for the `scan`.

    Arguments:
        data: what to walk over.
    """

    def __init__(self, data: Data) -> None:
        self.data, self.count = data, len(data)
        spec = data.spec
        self.total, self.square = torch.zeros(2, *spec.shape, dtype=torch.float64)
        self.low, self.high = math.inf, -math.inf
        self.levels = torch.zeros(spec.levels, dtype=torch.int64) if spec.levels else None
        self.constant: list[int] = []
        self.digests: list[bytes] = []
        self.radius: list[Tensor] = []
        self.thumbs: list[Tensor] = []
        self.every = -(-self.count // THUMBNAILS)

    def __iter__(self) -> Iterator[float]:
        for indices in blocks(torch.arange(self.count), self.data.spec):
            self._see(indices, self.data.stored(indices))
            yield (int(indices[-1]) + 1) / self.count

    def _see(self, indices: Tensor, stored: Tensor) -> None:
        spec = self.data.spec
        x = spec.to_model(stored)
        # torch counts, compares and takes extremes of few kinds of unsigned numbers.
        plain = stored.to(torch.int32) if self.levels is not None else stored
        low, high = plain.flatten(1).amin(1), plain.flatten(1).amax(1)
        self.low, self.high = min(self.low, float(low.min())), max(self.high, float(high.max()))
        if len(spec.shape) > 1:  # a row of a table may well hold one number, or equal ones
            self.constant += indices[low == high].tolist()
        if self.levels is not None:
            self.levels += torch.bincount(plain.flatten(), minlength=len(self.levels))
        rows = stored.contiguous().numpy()
        self.digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        self.total += x.double().sum(0)
        self.square += x.double().square().sum(0)
        mean = torch.tensor(spec.mean).reshape(-1, *[1] * (len(spec.shape) - 1))
        self.radius.append((x - mean).flatten(1).norm(dim=1))
        if spec.is_image:
            self.thumbs.append(thumbnails(x[indices % self.every == 0]))

    @property
    def scan(self) -> Scan:
        """What was seen; of the whole once the walk is over."""
        spec = self.data.spec
        mean, second = (total / self.count for total in (self.total, self.square))
        by_channel = [x.reshape(spec.shape[0], -1).mean(1) for x in (mean, second)]
        variance = (by_channel[1] - by_channel[0] ** 2).clamp(min=0)
        images = spec.is_image
        return Scan(
            low=self.low,
            high=self.high,
            std=tuple(variance.sqrt().tolist()),
            levels=self.levels,
            constant=tuple(self.constant),
            digests=tuple(self.digests),
            radius=torch.cat(self.radius),
            thumbs=torch.cat(self.thumbs) if images else None,
            thumb_index=torch.arange(0, self.count, self.every) if images else torch.arange(0),
            mirror=mirror_gap(mean, spec.sigma_data, self.count) if images else None,
        )


def thumbnails(x: Tensor) -> Tensor:
    """Images (B, C, H, W) as gray ones of at most 16×16, without mean and of norm 1, shape (B, D)."""
    height, width = (min(SIDE, side) for side in x.shape[-2:])
    small = functional.adaptive_avg_pool2d(x.mean(1, keepdim=True), (height, width))
    return standardized(small)


def standardized(x: Tensor) -> Tensor:
    """Samples as rows without mean and of norm 1, so that products are correlations; 0 if constant."""
    rows = x.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    norm = rows.norm(dim=1, keepdim=True)
    # what is left of a constant image is rounding, which must not be blown up to norm 1
    real = norm > 1e-4 * math.sqrt(rows.shape[1])
    return torch.where(real, rows / norm.clamp(min=1e-12), torch.zeros_like(rows))


def mirror_gap(mean_image: Tensor, sigma_data: float, count: int) -> float:
    """How far the mean image is from its mirror image, in units of σ_data, chance taken off.

    The mean of N images that may as well be mirrored differs by √(2/N) σ at most by chance.

    Arguments:
        mean_image: shape (C, H, W).
        sigma_data: standard deviation of the data.
        count: N.
    """
    gap = float((mean_image - mean_image.flip(-1)).square().mean())
    return math.sqrt(max(0.0, gap / sigma_data**2 - 2 / count))
