"""What it says of an estimate that each value of the data lies within a bound."""

from __future__ import annotations

from torch import Tensor


def bounded_terms(x0: Tensor, noise: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """By what an estimate may yet move, where values within ±b leave it room.

        Var[x₀ | x] ≤ (b - x̂₀)(b + x̂₀),   ∂x̂₀/∂(x/α) = Cov[x₀ | x]/u²,   v = 1 - (x̂₀/b)²

    A value that is sure lies at an end of its range and stays there; one between them will go on, with the
    noise that is left to it or away from the middle. How far, a calibration finds.

    Arguments:
        x0: x̂₀, shape (B, ...).
        noise: x/α - x̂₀, the same shape.
        bound: b.

    Returns:
        v (x/α - x̂₀) and v x̂₀, with v 0 beyond the bound.

    Reference: Bhatia & Davis 2000, A Better Bound on the Variance, for the variance; Efron 2011, Tweedie's
        Formula and Selection Bias, section 2, for the derivative.
    """
    room = (1 - (x0 / bound).square()).clamp(min=0)
    return room * noise, room * x0
