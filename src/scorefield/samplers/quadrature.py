"""Gauss and Legendre's rule, with which multistep methods integrate their polynomials to rounding."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1], exact for polynomials of degree 2n - 1, float64.

    Arguments:
        n: how many.

    Reference: Golub & Welsch 1969, Calculation of Gauss Quadrature Rules, section 2.
    """
    k = torch.arange(1, n, dtype=torch.float64)
    beside = k / torch.sqrt(4 * k**2 - 1)
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return (nodes + 1) / 2, vectors[0] ** 2
