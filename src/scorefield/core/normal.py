"""The normal law where differences of its distribution function are lost in rounding."""

from __future__ import annotations

import torch
from torch import Tensor


def log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """log(Φ(upper) - Φ(lower)), right in the tails too; lower < upper.

    Arguments:
        lower: where an interval begins, of any shape, float64; it may be -∞.
        upper: where it ends, of that shape; it may be ∞.
    """
    # The difference is taken on the side where both are small, so that it is not one of two ones.
    flip = lower + upper > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    large, small = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    mass: Tensor = large + torch.log(-torch.expm1((small - large).clamp(max=-1e-300)))
    return mass
