"""How both sides of network_samplers.py are scored."""

from __future__ import annotations

import numpy as np
from numpy import ndarray as Array

BUDGETS = (5, 8, 10, 15, 20)
BATCH = 32  # samples at once, of which every count is a multiple


def distances(x: Array, end: Array) -> Array:
    """The RMS difference over the pixels of each sample, shape (B,)."""
    return np.sqrt(np.mean((x - end).reshape(len(x), -1) ** 2, axis=1))


def summary(distance: Array) -> dict[str, float]:
    """RMS, its standard error, mean and median; a few samples that end as another digit rule the first."""
    if not np.isfinite(distance).all():
        return dict.fromkeys(("rms", "rms_error", "mean", "median"), float("inf"))
    squares = distance**2
    rms = float(np.sqrt(squares.mean()))
    return {
        "rms": rms,
        "rms_error": float(squares.std() / np.sqrt(len(squares)) / (2 * rms)),
        "mean": float(distance.mean()),
        "median": float(np.median(distance)),
    }
