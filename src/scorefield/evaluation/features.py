"""What sets of samples are compared in: light descriptions, and what they become on seeing some data."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.evaluation.digits import SHA256, digit_features

DIGIT_SHAPE = (1, 28, 28)


class Seen(NamedTuple):
    """What features make of samples.

    Arguments:
        features: a row for each sample, shape (N, D), float64.
        logits: of the classes that a classifier knows, shape (N, K), float64; none without one.
    """

    features: Tensor
    logits: Tensor | None


@dataclass(frozen=True)
class Fitted:
    """Features that are ready to look at samples.

    Arguments:
        name: what they are called in every result.
        hash: of the weights and of the version of the code; figures of another hash are not comparable.
        look: samples as `shown` gives them, to what is made of them.
        batch: samples looked at at once.
        published: figures are published in these features' own unit, which is kept.
    """

    name: str
    hash: str
    look: Callable[[Tensor], Seen]
    batch: int
    published: bool = False


@dataclass(frozen=True)
class Features(ABC):
    """A light description of features; `fitted` gets what looks."""

    @abstractmethod
    def check(self, spec: DataSpec) -> None:
        """Refuse data that these features cannot look at.

        Arguments:
            spec: the description of the data.

        Raises:
            InputError: when they do not fit.
        """

    @abstractmethod
    def fitted(self, some: Tensor) -> Fitted:
        """The features, ready to look.

        Arguments:
            some: reference samples as `shown` gives them; features that come ready do not use them.

        Raises:
            InputError: when a package or the weights are missing.
        """


@dataclass(frozen=True)
class Digits(Features):
    """The 128 features of the digit classifier that comes with this package.

    Reference: LeCun et al. 1998, Gradient-based learning applied to document recognition, for the images.
    """

    def check(self, spec: DataSpec) -> None:
        if spec.shape != DIGIT_SHAPE:
            raise InputError(
                f"features 'digits' look at gray images of 28×28 pixels, the data are {spec.shape}"
            )

    def fitted(self, some: Tensor) -> Fitted:
        def look(images: Tensor) -> Seen:
            return Seen(*digit_features(images))

        return Fitted("digits", fingerprint("digits 1", SHA256), look, batch=100)


@dataclass(frozen=True)
class Pixels(Features):
    """The numbers of a sample themselves, or their leading principal directions on the reference.

        f = Vᵀ (x - m)   where x has more than `size` numbers, else f = x

    Arguments:
        size: the most features; at least 1.

    Reference: Pearson 1901, On lines and planes of closest fit to systems of points in space.
    """

    size: int = 128

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size must be at least 1, got {self.size}")

    def check(self, spec: DataSpec) -> None:
        """Fit all data."""

    def fitted(self, some: Tensor) -> Fitted:
        rows = _flat(some)
        mean, directions = rows.mean(0), None
        if rows.shape[1] > self.size:
            directions = principal_directions(rows - mean, self.size)

        def look(samples: Tensor) -> Seen:
            flat = _flat(samples)
            return Seen(flat if directions is None else (flat - mean) @ directions, None)

        return Fitted("pixels", fingerprint("pixels 1", str(self.size)), look, batch=1000)


def principal_directions(rows: Tensor, size: int) -> Tensor:
    """The directions of greatest variance, as columns of length 1, shape (D, at most ``size``).

    Arguments:
        rows: centred samples, shape (N, D); for N < D there are at most N directions.
        size: how many.
    """
    if len(rows) >= rows.shape[1]:
        directions: Tensor = torch.linalg.eigh(rows.T @ rows).eigenvectors[:, -size:]
    else:
        values, vectors = torch.linalg.eigh(rows @ rows.T)
        values, vectors = values[-size:], vectors[:, -size:]
        kept = values > values[-1] * len(rows) * torch.finfo(rows.dtype).eps
        directions = rows.T @ (vectors[:, kept] / values[kept].sqrt())
    return directions.flip(1)


def shown(x: Tensor, spec: DataSpec) -> Tensor:
    """Samples as features look at them.

    Images as people keep them, uint8 (B, H, W, C), since those are judged; vectors and signals float32 in
    the model's units.

    Arguments:
        x: samples in the model's units, shape (B, ...).
        spec: the description of the data.
    """
    if spec.is_image:
        return torch.from_numpy(spec.to_arrays(x))
    return x.detach().cpu().float()


def fingerprint(*parts: str | Tensor | nn.Module) -> str:
    """A short hash of words, numbers and weights.

    Arguments:
        parts: what to hash, in order.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, nn.Module):
            for name, values in part.state_dict().items():
                digest.update(fingerprint(name, values).encode())
        elif isinstance(part, Tensor):
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            flat = part.detach().cpu().contiguous().reshape(-1)
            digest.update(
                flat.view(torch.uint8).numpy().tobytes() if math.prod(part.shape) else b""
            )
        else:
            digest.update(part.encode())
    return digest.hexdigest()[:16]


def _flat(samples: Tensor) -> Tensor:
    flat = samples.flatten(1).double()
    return flat / 255 if samples.dtype == torch.uint8 else flat
