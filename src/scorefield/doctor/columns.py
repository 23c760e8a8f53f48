"""What matters in tables of numbers: columns that say nothing, say the same, or have wild values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scorefield.data.base import Data
from scorefield.doctor.findings import Finding, plural, some

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
    index = torch.arange(0, len(data), -(-len(data) // ROWS))
    x = data.batch(index)[0].double()
    names = data.spec.columns or tuple(map(str, range(x.shape[1])))
    std = x.std(0, correction=0)
    alive = std > 1e-12 + 1e-7 * x.abs().amax(0)
    dead = [name for name, moves in zip(names, alive.tolist(), strict=True) if not moves]
    if dead:
        yield Finding(
            "constant columns",
            "warning",
            f"{plural(len(dead), 'column')} of {len(names)} without change: {some(dead)}",
            "leave them out; they carry nothing, and noise is added to them all the same",
        )
    live = torch.nonzero(alive).flatten()
    if len(live) == 0:
        return
    scores = (x[:, live] - x[:, live].mean(0)) / std[live]
    called = [names[c] for c in live.tolist()]
    yield from _correlated(scores[:, :COLUMNS], called)
    yield from _wild(scores, called, index)
    ratio = float(std[live].max() / std[live].min())
    if ratio > UNEVEN:
        yield Finding(
            "uneven columns",
            "warning",
            f"the widest column varies {ratio:,.0f} times as much as the narrowest",
            "what is narrow is drowned in the loss; of files, data.scaling=each brings all to one width",
        )


def _correlated(scores: Tensor, names: Sequence[str]) -> Iterator[Finding]:
    rho = (scores.T @ scores / len(scores)).abs().triu(diagonal=1)
    pairs = [f"{names[a]} and {names[b]}" for a, b in torch.nonzero(rho > SAME).tolist()]
    if pairs:
        yield Finding(
            "same columns",
            "note",
            f"{plural(len(pairs), 'pair')} of columns with a correlation beyond ±{SAME:g}: {some(pairs)}",
            "keep one of each pair if they are the same measurement",
        )


def _wild(scores: Tensor, names: Sequence[str], index: Tensor) -> Iterator[Finding]:
    far = scores.abs() > FAR
    if bool(far.any()):
        columns = [names[c] for c in torch.nonzero(far.any(0)).flatten().tolist()]
        rows = index[far.any(1)].tolist()
        yield Finding(
            "outliers",
            "warning",
            f"{plural(len(rows), 'row')} more than {FAR:g} standard deviations out ({some(rows)}), in "
            f"column {some(columns)}",
            "check them; if they are right, take logarithms or ranks of such columns",
            tuple(rows[:10]),
        )
