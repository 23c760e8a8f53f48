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

BLOCK = 2**22  # numbers in a block
SIDE = 16  # of a thumbnail
THUMBNAILS = 65_536  # kept at most
BINS = 256


@dataclass(frozen=True)
class Scan:
    """What was seen in a walk over the data.

    Arguments:
        count: samples seen.
        low: the lowest stored value.
        high: the highest stored value.
        mean: of each channel (of each number, for vectors), in the model's units.
        std: standard deviation of each channel, in the model's units.
        sigma_data: root of the mean of the variances.
        levels: how many samples' values lie on each level, shape (levels,); none for real numbers.
        constant: numbers of the samples whose values are all equal.
        digests: a hash of the stored values of each sample.
        radius: distance of each sample from the mean, in the model's units, shape (N,).
        thumbs: of images: 16×16 gray, without mean, of norm 1, shape (M, D); none for other data.
        thumb_index: which samples they are of, shape (M,).
        mirror: of images: root mean square of mean image less its mirror image, in units of σ_data.
    """

    count: int
    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sigma_data: float
    levels: Tensor | None
    constant: tuple[int, ...]
    digests: tuple[bytes, ...] = field(repr=False)
    radius: Tensor = field(repr=False)
    thumbs: Tensor | None = field(repr=False)
    thumb_index: Tensor = field(repr=False)
    mirror: float | None


def blocks(indices: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Indices in parts whose samples hold a bounded number of values."""
    return torch.split(indices, max(1, BLOCK // math.prod(shape)))


class Scanner:
    """A walk over data; iterate over it for the share done, then ask for the `scan`.

    Arguments:
        data: what to walk over.
    """

    def __init__(self, data: Data) -> None:
        self.data, self.count = data, len(data)
        spec = data.spec
        size = torch.zeros(spec.shape, dtype=torch.float64)
        self.total, self.square = size, size.clone()
        self.low, self.high = math.inf, -math.inf
        self.levels = torch.zeros(spec.levels, dtype=torch.int64) if spec.levels else None
        self.constant: list[int] = []
        self.digests: list[bytes] = []
        self.radius: list[Tensor] = []
        self.thumbs: list[Tensor] = []
        every = -(-self.count // THUMBNAILS)
        self.thumb_index = torch.arange(0, self.count, every)

    def __iter__(self) -> Iterator[float]:
        for indices in blocks(torch.arange(self.count), self.data.spec.shape):
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
            # bounded: every so many samples of the whole, whatever the block
            chosen = x[torch.isin(indices, self.thumb_index)]
            self.thumbs.append(thumbnails(chosen))

    @property
    def scan(self) -> Scan:
        """What was seen; of the whole once the walk is over."""
        channels = self.data.spec.shape[0]
        mean = (self.total / self.count).reshape(channels, -1).mean(1)
        second = (self.square / self.count).reshape(channels, -1).mean(1)
        variance = (second - mean**2).clamp(min=0)
        sigma_data = float(variance.mean().sqrt())
        images = self.data.spec.is_image
        return Scan(
            self.count,
            self.low,
            self.high,
            tuple(mean.tolist()),
            tuple(variance.sqrt().tolist()),
            sigma_data,
            self.levels,
            tuple(self.constant),
            tuple(self.digests),
            torch.cat(self.radius),
            torch.cat(self.thumbs) if images else None,
            self.thumb_index if images else self.thumb_index[:0],
            mirror_gap(self.total / self.count, sigma_data, self.count) if images else None,
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
    return math.sqrt(max(0.0, gap / max(sigma_data, 1e-12) ** 2 - 2 / count))
