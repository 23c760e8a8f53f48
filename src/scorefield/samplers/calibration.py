"""Fit the Gaussian-residual sampler's four numbers to a model, once, for a number of evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.errors import InputError
from scorefield.samplers.base import sample
from scorefield.samplers.residual import RULES, GaussianResidual, Numbers, ResidualGrid

TEACHER = 80  # evaluations of the walk that is taken for the truth
FACTOR = 1.6  # by which a number is changed at first
ROUNDS = 6


@dataclass(frozen=True)
class Calibration:
    """A stop of a calibration.

    Arguments:
        sampler: the best so far.
        error: its distance to the teacher's ends, on samples that the search has not seen.
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
    **cond: Tensor | None,
) -> Iterator[Calibration]:
    """Search for the levels and the offset that a model is best sampled with: the four `Numbers` of a rule.

    Each number in turn is raised and lowered by a factor, which shrinks when nothing helps. Half of the
    samples lead the search; by the other half its result is kept, or else the sampler as it came.

    Arguments:
        denoiser: the model, with the moments of its data.
        x: states at t = 1, shape (B, ...), an even number of 2 or more.
        steps: evaluations of the denoiser to calibrate for; at least 2.
        sampler: what else to keep, such as its order; the default if not given.
        cond: conditions by name, such as ``label`` of shape (B,).

    Raises:
        InputError: at the call, for fewer than two samples or steps, or a model without moments.
    """
    if len(x) < 2:
        raise InputError(f"a calibration needs at least 2 samples, got {len(x)}")
    if steps < 2:
        raise InputError(f"steps must be at least 2, got {steps}")
    if denoiser.moments is None:
        raise InputError("a calibration needs the mean and covariance of the data")
    return _search(denoiser, x, steps, sampler or GaussianResidual(), cond)


def _search(
    denoiser: Denoiser,
    x: Tensor,
    steps: int,
    sampler: GaussianResidual,
    cond: dict[str, Any],
) -> Iterator[Calibration]:
    ends = sample(denoiser, x, sampler, TEACHER, **cond)
    seen = torch.arange(len(x)) % 2 == 0

    def error(tried: GaussianResidual, part: Tensor) -> float:
        chosen: dict[str, Any] = {
            name: None if value is None else value[part] for name, value in cond.items()
        }
        got = sample(denoiser, x[part], tried, steps, **chosen)
        # The mean of distances, not of their squares: a few that end in another mode would rule.
        return float((got - ends[part]).flatten(1).square().mean(1).sqrt().mean())

    best = _factors(RULES[sampler.rule].numbers(steps))
    least, before, factor = error(_with(sampler, best), seen), error(sampler, ~seen), FACTOR
    for turn in range(ROUNDS):
        improved = False
        for place in range(len(best)):
            for change in (factor, 1 / factor):
                tried = (*best[:place], best[place] * change, *best[place + 1 :])
                found = error(_with(sampler, tried), seen)
                if found < least:
                    best, least, improved = tried, found, True
                    break
        factor = factor if improved else factor**0.5
        after = error(_with(sampler, best), ~seen)
        kept = _with(sampler, best) if after < before else sampler
        yield Calibration(kept, min(after, before), before, (turn + 1) / ROUNDS)


def _factors(numbers: Numbers) -> tuple[float, ...]:
    """What a search multiplies: of the crowding A, 1 + A, the density in the middle."""
    return (numbers.first, numbers.last, numbers.offset, 1 + numbers.crowding)


def _with(sampler: GaussianResidual, factors: tuple[float, ...]) -> GaussianResidual:
    first, last, offset, density = factors
    return replace(sampler, grid=ResidualGrid(first, last, density - 1), offset=offset)
