"""Fit the Gaussian-residual sampler to a model, once, for a number of evaluations."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.errors import InputError, check_count
from scorefield.samplers.base import Conditioned, sample
from scorefield.samplers.calibration_walks import DAMPING, Equations, Walks, distances
from scorefield.samplers.residual import GaussianResidual
from scorefield.samplers.residual_grid import ResidualGrid

TEACHER = 80  # evaluations of the walk that is taken for the truth
ROUNDS = 8
PARTS = 2  # of the samples that lead, which are asked in turns, a part in each round
ENOUGH = 20  # values in a part for each number that is sought; with fewer there is one part
JUDGES = 4  # one in so many samples judges and does not lead


@dataclass(frozen=True)
class Calibration:
    """A stop of a calibration.

    Arguments:
        sampler: the best so far.
        error: its mean distance to the teacher's ends, on samples that only chose between the rounds.
        before: that of the sampler as it came.
        share: the share of the work done.
    """

    sampler: GaussianResidual
    error: float
    before: float
    share: float


def calibrate(
    denoiser: Denoiser,
    x: Tensor,
    steps: int,
    sampler: GaussianResidual | None = None,
    *,
    batch: int | None = None,
    teacher: Denoiser | None = None,
    **cond: Tensor | None,
) -> Iterator[Calibration]:
    """Search for the noise levels and the weights of the estimates that a model is best sampled with.

        minimize Σ √(d² + δ²),   d² = |x₀(θ) - x₀|²/D,   δ = σ_data/5
        θ ← θ - (JᵀJ + λ diag JᵀJ)⁻¹ Jᵀr,   r = (x₀(θ) - x₀)/(d² + δ²)^¼,   J = ∂r/∂θ with that weight held

    θ are log u_i, the sampler's ``weights`` and, if it has a ``bound``, its ``spreads``; they begin at the
    rule's levels or near, and at no weights. x₀ are the ends of a long walk. Distances beyond δ count
    singly, not by their squares, lest the few samples that end in another mode rule. J is found by
    differences, each walk taken up where its parameter comes in: the denoiser must be right to 1e-4 of its
    values, as in float32 and neither in bfloat16 nor in TF32. The first three quarters of the samples lead;
    by the others the best round is kept, or else the sampler as it came. Of those that lead, a round asks
    one half for J, if their values are many; what the other half said in the last round counts half.

    Arguments:
        denoiser: the model, with the moments of its data.
        x: states at t = 1, shape (B, ...), 2 or more; 500 for a trained network.
        steps: evaluations of the denoiser to calibrate for; at least 2.
        sampler: what else to keep, such as its order; the default if not given. With a bound of the data
            and final='denoise' it comes closer: `GaussianResidual.for_networks(bound=1.0)` for images.
        batch: how many states the denoiser is asked for at once; all if not given.
        teacher: the model whose long walks are to be met, where it is not the same: with `CFG` of a least
            noise level as the model and of none as the teacher, the weights make good what guidance would
            have added below it, and steps there take one evaluation of the network in place of two.
        cond: conditions by name, such as ``label`` of shape (B,).

    Raises:
        InputError: at the call, for fewer than two samples or steps, another sampler, or a model without
            moments.

    Reference: our own; Marquardt 1963, An Algorithm for Least-Squares Estimation of Nonlinear Parameters,
        for the step; Zheng et al. 2023, DPM-Solver-v3, for a solver fitted to its model. arXiv:2310.13268
    """
    if len(x) < 2:
        raise InputError(f"a calibration needs at least 2 samples, got {len(x)}")
    check_count("steps", steps, 2)
    if batch is not None:
        check_count("batch", batch)
    sampler = GaussianResidual() if sampler is None else sampler
    if not isinstance(sampler, GaussianResidual):
        raise InputError(f"only GaussianResidual() can be calibrated, got {sampler!r}")
    if denoiser.moments is None:
        raise InputError("a calibration needs the mean and covariance of the data")
    asked, taught = (
        each if batch is None else _InParts(each, batch) for each in (denoiser, teacher or denoiser)
    )
    return _search(asked, taught, x, steps, sampler, cond)


class _InParts(Denoiser):
    """A denoiser that is asked for so many states at once."""

    def __init__(self, denoiser: Denoiser, batch: int) -> None:
        super().__init__(denoiser.schedule, denoiser.moments)
        self.denoiser, self.batch = denoiser, batch

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        begins = range(0, len(x), self.batch)
        parts = (slice(i, i + self.batch) for i in begins)
        return torch.cat([self.denoiser(x[p], t, **_chosen(cond, p)) for p in parts])


def _search(
    denoiser: Denoiser,
    teacher: Denoiser,
    x: Tensor,
    steps: int,
    sampler: GaussianResidual,
    cond: dict[str, Any],
) -> Iterator[Calibration]:
    grid = ResidualGrid(rule=sampler.rule)
    long = replace(sampler, grid=grid, offset=None, weights=(), spreads=())
    ends = sample(teacher, x, long, TEACHER, **cond)

    def walks(part: slice) -> Walks:
        asked = Conditioned(denoiser, _chosen(cond, part))
        return Walks(asked, x[part], ends[part], sampler, steps)

    # The last ones, not every fourth: where classes take turns those would be of some classes only.
    judging = slice(len(x) - max(len(x) // JUDGES, 1), len(x))
    leading = walks(slice(0, judging.start))
    parts = [walks(part) for part in _parts(leading)]
    unseen = _chosen(cond, judging)

    def error(tried: GaussianResidual) -> float:
        got = sample(denoiser, x[judging], tried, steps, **unseen)
        # The mean of distances, not of their squares: a few that end in another mode would rule.
        return float(distances(got, ends[judging]).mean())

    yield from _rounds(leading, parts, error, sampler)


def _rounds(
    leading: Walks,
    parts: Sequence[Walks],
    error: Callable[[GaussianResidual], float],
    sampler: GaussianResidual,
) -> Iterator[Calibration]:
    """Steps to what those that lead end nearer with, and the best of them by the error."""
    before = error(sampler)
    best, least, here, damping = sampler, before, leading.walk(leading.first), DAMPING
    known: deque[Equations] = deque(maxlen=len(parts))
    for turn in range(ROUNDS):
        part, columns = parts[turn % len(parts)], []
        walk = part.walk(here.theta)
        for column in part.columns(walk):
            columns.append(column)
            share = (turn + len(columns) / (len(part.free) + 1)) / ROUNDS
            yield Calibration(best, least, before, share)
        known.append(part.equations(walk, torch.stack(columns)))
        moved, damping = leading.better(here, known, damping)
        if moved is here:
            continue  # another part, or a smaller step, may know better
        here, tried = moved, leading.sampler(moved.theta)
        found = error(tried)
        best, least = (tried, found) if found < least else (best, least)
    yield Calibration(best, least, before, 1.0)


def _parts(walks: Walks) -> list[slice]:
    """Their samples in parts, each of which says enough of every number."""
    count, wanted = len(walks.x), ENOUGH * len(walks.free)
    number = min(PARTS, count) if walks.x.numel() >= PARTS * wanted else 1
    size = math.ceil(count / number)
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]


def _chosen(cond: dict[str, Any], part: slice) -> dict[str, Any]:
    return {name: None if value is None else value[part] for name, value in cond.items()}
