"""Mean and covariance of the training data, measured once before training; samplers make use of them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from scorefield.core.moments import Basis, Moments, PrincipalBasis, moments_from, plain_basis
from scorefield.data.base import Data
from scorefield.data.blocks import blocks, representatives

PRINCIPAL = 1024  # numbers in a sample up to which principal directions are worth their D² numbers


def measured_moments(data: Data) -> Moments:
    """The moments of all data and of each class.

    Small samples are described along their principal directions, exactly; large images along cosines,
    in which the covariance of natural images is nearly diagonal; long vectors number by number. A class
    has a mean of its own, and variances along the same basis. Of very many samples, evenly spread
    representatives are measured: all up to 2²⁸ numbers (342,000 digits of MNIST) or 20,000 samples,
    see `scorefield.data.blocks`.

    Arguments:
        data: the data.
    """
    basis = _basis(data)
    groups = max(data.spec.classes, 0) + 1
    dim = math.prod(data.spec.shape)
    count = torch.zeros(groups, 1, dtype=torch.float64)
    total, square = torch.zeros(2, groups, dim, dtype=torch.float64)
    for x, label in measured_blocks(data):
        coordinates = basis.coordinates(x).double()
        for group, rows in _members(coordinates, label, groups):
            count[group] += len(rows)
            total[group] += rows.sum(0)
            square[group] += rows.square().sum(0)
    # A class of which there is no sample is taken for all data.
    empty = (count == 0).expand_as(total)
    mean = torch.where(empty, total[-1] / count[-1], total / count.clamp(min=1))
    second = torch.where(empty, square[-1] / count[-1], square / count.clamp(min=1))
    found = {"mean": mean, "variances": (second - mean**2).clamp(min=0), **basis.tensors()}
    return moments_from(found, data.spec.shape)


def measured_blocks(data: Data) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The samples that data are measured on, and their labels, a block at a time.

    Arguments:
        data: the data.
    """
    for indices in blocks(representatives(len(data), data.spec), data.spec):
        yield data.batch(indices)


def _members(
    coordinates: Tensor, label: Tensor | None, groups: int
) -> Iterator[tuple[int, Tensor]]:
    """The rows of each class that is there, and all rows as the last group."""
    if label is not None:
        for group in range(groups - 1):
            yield group, coordinates[label == group]
    yield groups - 1, coordinates


def _basis(data: Data) -> Basis:
    shape = data.spec.shape
    small = math.prod(shape) <= PRINCIPAL
    if len(shape) == 1 and not small:
        return plain_basis(shape)
    width = math.prod(shape) if small else shape[0]
    total, product, count = torch.zeros(width), torch.zeros(width, width), 0
    total, product = total.double(), product.double()
    for x, _ in measured_blocks(data):
        rows = x.flatten(1) if small else x.movedim(1, -1).flatten(0, -2)
        total += rows.sum(0).double()
        product += (rows.T @ rows).double()
        count += len(rows)
    mean = total / count
    _, vectors = torch.linalg.eigh(product / count - torch.outer(mean, mean))
    return PrincipalBasis(vectors) if small else plain_basis(shape, vectors)
