"""Mean and covariance of the data: what is known of them before any training.

With them the probability flow of the Gaussian that has the same moments is known in closed form, and a
sampler need only spend evaluations on how the data differ from it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import torch
from torch import Tensor

from scorefield.errors import InputError

FLOOR = 1e-6  # of the mean variance: eigenvalues below are rounding


class Basis(ABC):
    """An orthonormal basis of the space of samples."""

    @abstractmethod
    def coordinates(self, x: Tensor) -> Tensor:
        """Coordinates (B, D) of samples (B, ...), in their dtype; a new tensor."""

    @abstractmethod
    def samples(self, coordinates: Tensor, like: Tensor) -> Tensor:
        """Samples of the shape of ``like`` from coordinates (B, D)."""

    @abstractmethod
    def like(self, x: Tensor) -> Basis:
        """The same in the dtype and on the device of ``x``, as its samples are to be."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What a file has to hold of it, by name."""


@dataclass(frozen=True, eq=False)
class PrincipalBasis(Basis):
    """A basis given by its vectors, such as the principal directions of the data.

    Arguments:
        vectors: one in each column, shape (D, D).
    """

    vectors: Tensor

    def coordinates(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.vectors.to(x)

    def samples(self, coordinates: Tensor, like: Tensor) -> Tensor:
        return (coordinates @ self.vectors.to(coordinates).T).reshape(like.shape)

    def like(self, x: Tensor) -> Basis:
        return PrincipalBasis(self.vectors.to(x))

    def tensors(self) -> dict[str, Tensor]:
        return {"vectors": self.vectors}


@dataclass(frozen=True, eq=False)
class OwnBasis(Basis):
    """The axes that samples have anyway."""

    def coordinates(self, x: Tensor) -> Tensor:
        return x.flatten(1).clone()

    def samples(self, coordinates: Tensor, like: Tensor) -> Tensor:
        return coordinates.reshape(like.shape)

    def like(self, x: Tensor) -> Basis:
        return self

    def tensors(self) -> dict[str, Tensor]:
        return {}


@dataclass(frozen=True, eq=False)
class CosineBasis(Basis):
    """The discrete cosine transform of images: what natural images' covariance nearly diagonalizes in.

    A signal (C, L) is an image of height 1.

    Arguments:
        channels: an orthonormal basis of the channels, one vector in each column, shape (C, C).
        height: H.
        width: W.

    Reference: Ahmed, Natarajan & Rao 1974, Discrete Cosine Transform, eq. 1.
    """

    channels: Tensor
    height: int
    width: int

    @cached_property
    def unmixed(self) -> bool:
        """Whether the channels' basis is their own axes."""
        return torch.equal(self.channels, torch.eye(len(self.channels)).to(self.channels))

    def coordinates(self, x: Tensor) -> Tensor:
        mixed = x if self.unmixed else self.channels.to(x).T @ x.flatten(2)
        mixed = mixed.reshape(-1, len(self.channels), self.height, self.width)
        return (_cosines(self.height).to(x) @ mixed @ _cosines(self.width).to(x).T).flatten(1)

    def samples(self, coordinates: Tensor, like: Tensor) -> Tensor:
        shaped = coordinates.reshape(-1, len(self.channels), self.height, self.width)
        rows, columns = _cosines(self.height).to(shaped), _cosines(self.width).to(shaped)
        mixed = rows.T @ shaped @ columns
        if not self.unmixed:
            mixed = self.channels.to(shaped) @ mixed.flatten(2)
        return mixed.reshape(like.shape)

    def like(self, x: Tensor) -> Basis:
        return replace(self, channels=self.channels.to(x))

    def tensors(self) -> dict[str, Tensor]:
        return {"channels": self.channels}


@cache
def _cosines(n: int) -> Tensor:
    """The orthonormal DCT-II, a frequency in each row, shape (n, n)."""
    k = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / n * k[:, None] * (k + 0.5)) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and covariance of the data in a basis where the covariance is diagonal, or taken to be.

    Arguments:
        basis: the basis.
        mean: coordinates of the mean, shape (K, D): a row for each class and, last, one for all data.
        variances: variances along the basis, shape (K, D), positive.
        row: the row that holds for each sample, shape (B,), or (1,) for one row for all.
    """

    basis: Basis
    mean: Tensor
    variances: Tensor
    row: Tensor

    @property
    def sigma_data(self) -> float:
        """The standard deviation of all data about their mean, averaged over the axes."""
        return float(self.variances[-1].mean().sqrt())

    def given(self, label: Tensor | None) -> Moments:
        """The same with the row of each sample's class, or that of all data where there is none.

        Arguments:
            label: class of each sample, shape (B,), negative for none; or none at all.
        """
        last = len(self.mean) - 1
        if label is None or last == 0:
            return self
        return replace(self, row=torch.where(label < 0, last, label).cpu())

    def led(self, scale: float) -> Moments:
        """Those of each class under classifier-free guidance: the mean m + w (m_c - m), the class's spread.

        At w = 0 they are those of all data, whatever the class.

        Arguments:
            scale: w.
        """
        if scale == 0:
            return replace(
                self, mean=self.mean[-1:], variances=self.variances[-1:], row=torch.tensor([0])
            )
        return replace(self, mean=self.mean[-1] + scale * (self.mean - self.mean[-1]))

    def tensors(self) -> dict[str, Tensor]:
        """What a file has to hold, float32, for `moments_from`."""
        own = {"mean": self.mean, "variances": self.variances, **self.basis.tensors()}
        return {name: values.float().contiguous() for name, values in own.items()}


def moments_from(tensors: Mapping[str, Tensor], shape: Sequence[int]) -> Moments:
    """Moments as `Moments.tensors` gave them.

    Arguments:
        tensors: by name.
        shape: shape of a sample, (C, H, W), (C, L) or (D,).

    Raises:
        InputError: when they do not describe samples of that shape.
    """
    found = {name: values.double() for name, values in tensors.items()}
    sizes = {name: tuple(values.shape) for name, values in found.items()}
    dim, groups = math.prod(shape), sizes.get("mean", (0,))[0]
    rows = {"mean": (groups, dim), "variances": (groups, dim)}
    if groups > 0 and sizes == rows | {"vectors": (dim, dim)}:
        basis: Basis = PrincipalBasis(found["vectors"])
    elif groups > 0 and len(shape) == 1 and sizes == rows:
        basis = plain_basis(shape)
    elif groups > 0 and len(shape) > 1 and sizes == rows | {"channels": (shape[0], shape[0])}:
        basis = plain_basis(shape, found["channels"])
    else:
        raise InputError(f"moments of samples of shape {tuple(shape)} cannot have shapes {sizes}")
    return Moments(basis, found["mean"], *_rows(found["variances"]))


def moments_of(mean: Tensor, covariance: Tensor) -> Moments:
    """The moments of data of which mean and covariance are known.

    Arguments:
        mean: shape (D,).
        covariance: shape (D, D), positive semi-definite.

    Raises:
        InputError: when there is no variance at all.
    """
    variances, vectors = torch.linalg.eigh(covariance.double())
    basis = PrincipalBasis(vectors)
    return Moments(basis, basis.coordinates(mean.double()[None]), *_rows(variances[None]))


def white_moments(mean: Sequence[float], sigma_data: float, shape: Sequence[int]) -> Moments:
    """The moments of uncorrelated numbers of one variance: what is left when no more is known.

    Arguments:
        mean: the mean of each channel (of each number, for vectors), or one for all.
        sigma_data: their standard deviation.
        shape: shape of a sample, (C, H, W), (C, L) or (D,).
    """
    basis = plain_basis(shape)
    level = torch.tensor(mean, dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
    coordinates = basis.coordinates(level.expand(1, *shape))
    return Moments(basis, coordinates, *_rows(torch.full_like(coordinates, sigma_data**2)))


def plain_basis(shape: Sequence[int], channels: Tensor | None = None) -> Basis:
    """A basis that needs no data: cosines for images and signals, the axes for vectors.

    Arguments:
        shape: shape of a sample, (C, H, W), (C, L) or (D,).
        channels: an orthonormal basis of the channels, shape (C, C); the axes if not given.
    """
    if len(shape) == 1:
        return OwnBasis()
    axes = torch.eye(shape[0], dtype=torch.float64)
    height, width = (1, *shape[1:])[-2:]
    return CosineBasis(axes if channels is None else channels, height, width)


def _rows(variances: Tensor) -> tuple[Tensor, Tensor]:
    """Variances held off 0, and the row to start with: the last."""
    average = float(variances[-1].mean())
    if not average > 0:
        raise InputError(
            f"data need a variance above 0 to sample by their moments, got {average:g}"
        )
    return variances.clamp(min=FLOOR * average), torch.tensor([len(variances) - 1])
