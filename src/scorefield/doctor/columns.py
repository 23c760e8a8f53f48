"""What matters in tables of numbers: columns that say nothing, say the same, or have wild values."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from scorefield.data.base import Data
from scorefield.doctor.findings import Finding, plural

ROWS = 100_000  # looked at, evenly spaced, at most
COLUMNS = 512  # whose correlations are computed, at most
SAME = 0.999  # correlation above which two columns say the same
FAR = 10.0  # standard deviations beyond which a value is wild
UNEVEN = 10.0  # ratio of standard deviations


def column_findings(data: Data) -> Iterator[Finding]:
    """What matters in the columns of vectors.

    Arguments:
        data: vectors.
    """
    count = len(data)
    index = torch.arange(0, count, -(-count // ROWS))
    x = data.batch(index)[0].double()
    std = x.std(0, correction=0)
    dead = torch.nonzero(std <= 1e-12 + 1e-7 * x.abs().amax(0)).flatten().tolist()
    if dead:
        yield Finding(
            "constant columns",
            "warning",
            f"{plural(len(dead), 'column')} of {x.shape[1]} never change: {_some(dead)}",
            "leave them out; they carry nothing, and noise is added to them all the same",
        )
    live = [c for c in range(x.shape[1]) if c not in set(dead)]
    if not live:
        return
    scores = (x[:, live] - x[:, live].mean(0)) / std[live]
    yield from _correlated(scores[:, :COLUMNS], live)
    yield from _wild(scores, live, index)
    ratio = float(std[live].max() / std[live].min())
    if ratio > UNEVEN:
        yield Finding(
            "uneven columns",
            "warning",
            f"the widest column varies {ratio:,.0f} times as much as the narrowest",
            "bring all columns to standard deviation 1; what is narrow is drowned in the loss",
        )


def _correlated(scores: Tensor, live: list[int]) -> Iterator[Finding]:
    rho = (scores.T @ scores / len(scores)).abs().triu(diagonal=1)
    pairs = [(live[a], live[b]) for a, b in torch.nonzero(rho > SAME).tolist()]
    if pairs:
        named = ", ".join(f"{a} and {b}" for a, b in pairs[:5])
        yield Finding(
            "same columns",
            "note",
            f"{plural(len(pairs), 'pair')} of columns correlate by more than {SAME:g}: {named}",
            "keep one of each pair if they are the same measurement",
        )


def _wild(scores: Tensor, live: list[int], index: Tensor) -> Iterator[Finding]:
    far = scores.abs() > FAR
    if bool(far.any()):
        columns = [live[c] for c in torch.nonzero(far.any(0)).flatten().tolist()]
        rows = index[far.any(1)]
        yield Finding(
            "outliers",
            "warning",
            f"{plural(len(rows), 'row')} lie more than {FAR:g} standard deviations out, in "
            f"column {_some(columns)}",
            "check them; if they are right, take logarithms or ranks of such columns",
            tuple(rows[:10].tolist()),
        )


def _some(numbers: list[int]) -> str:
    more = f" and {len(numbers) - 8} more" if len(numbers) > 8 else ""
    return ", ".join(map(str, numbers[:8])) + more
