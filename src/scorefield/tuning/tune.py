"""The sampler, steps, grid, noise and guidance that suit a model, found on a budget.

Settings of a fixed list race by successive halving (`race`). optuna's TPE, by ask and tell over
samplers, grids and their numbers, was tried against it on four exact problems (Gaussian mixtures in 2
and 8 dimensions on VP, VE and flow paths, two with a smooth error in the denoiser) at 6, 12 and 20
evaluations, from the same number of network evaluations. What the winner's energy distance has beyond
the floor, and 5·10⁻⁴, geometric mean over the problems and four seeds, halving = 1:

    samples in all                          2000   8000
    TPE                                     1.89   1.38
    TPE, pruned by successive halving       2.01   1.42
    half on the list, half on TPE from it   1.05   0.99

So the list is kept, and nothing depends on optuna. It knows what the project's benchmarks know of
samplers; a search that starts from nothing pays for learning it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from torch import Tensor

from scorefield.errors import InputError
from scorefield.models.model import Model
from scorefield.recipes.budget import Budget
from scorefield.recipes.recipe import Sampling
from scorefield.tuning.judge import Judge
from scorefield.tuning.race import Purse, Standing, race
from scorefield.tuning.settings import GUIDANCES, Setting, settings_at, ways

LEVELS = (5, 10, 20, 40)  # network evaluations that are tried if none are asked for
FEWEST = 3  # that can be asked for
DEAR = 2  # times the highest level: beyond it the model's own setting is not drawn along
COMPILE_PAYS, LARGE = 120.0, 10**9  # seconds above which it does, as any large number of samples
RACE = 0.8  # share of a time that is for the race; the rest is for its verdict


def tune(
    model: Model, judge: Judge, purse: Purse, *, asked: int | None = None, seed: int = 0
) -> Iterator[Standing]:
    """Let ways of sampling a model race; `verdict` tells what the last `Standing` is worth.

    All of them start from the same noise: differences between settings are not those between seeds.

    Arguments:
        model: a trained model.
        judge: what orders them.
        purse: what may be spent.
        asked: network evaluations that a sample may take; 5, 10, 20 and 40 are tried if not given.
        seed: of the noise.

    Raises:
        InputError: for fewer evaluations than 3, or a purse that does not buy a first round.
    """
    if asked is not None and asked < FEWEST:
        raise InputError(f"evaluations must be at least {FEWEST}, got {asked}")
    levels = LEVELS if asked is None else _levels(asked)
    known, guidances = ways(model.spec.is_image), guidances_of(model)
    moments = model.denoiser.moments is not None
    offered = {n: settings_at(n, known, moments=moments, guidances=guidances) for n in levels}
    own = own_setting(model)
    stays = [own] if 0 < own.evaluations <= DEAR * max(levels) else []

    begin = time.monotonic()
    plain = _settled(model, purse, max(levels))
    if purse.seconds is not None:
        purse = Purse(seconds=RACE * purse.seconds).after(time.monotonic() - begin)

    def draw(sampling: Sampling, first: int, count: int) -> Tensor:
        return plain.drawn_by(sampling).sample(count, first=first, seed=seed)

    return race(offered, stays, draw, judge, purse)


def _settled(model: Model, purse: Purse, most: int) -> Model:
    """The model without a guidance of its own, sure of how it computes for so much."""
    plain = model.drawn_by(Sampling(steps=most))
    if purse.seconds is None:
        return plain.settled(purse.samples or 0)
    return plain.settled(LARGE if purse.seconds > COMPILE_PAYS else 0)


def own_setting(model: Model) -> Setting:
    """How a model is sampled until now.

    Arguments:
        model: a trained model.
    """
    sampling = model.sampling
    return Setting(sampling, sampling.evaluations)


def guidances_of(model: Model) -> Sequence[float | None]:
    """What guidance is tried: none for a model that was not trained for it.

    Arguments:
        model: a trained model.
    """
    try:
        model.recipe.check_guidance(model.spec)
    except InputError:
        return (None,)
    return GUIDANCES


def parse_purse(text: str) -> Purse:
    """What may be spent, in words: '90s', '5m', '2h', '20000 samples', '20k'.

    Arguments:
        text: the words.

    Raises:
        InputError: when they are not of these forms or not above 0.
    """
    wrong = InputError(
        f"'{text}' is not a budget; give a time (90s, 5m, 2h) or samples (20k samples)"
    )
    number = re.fullmatch(
        r"\s*([\d.]+\s*(?:k|m(?=\s*s))?)\s*(?:samples?)?\s*", text, flags=re.IGNORECASE
    )
    try:
        budget = Budget.parse(f"{number[1]} images" if number else text)
    except InputError:
        raise wrong from None
    if number:
        return Purse(samples=int(budget.amount))
    if budget.unit != "seconds":
        raise wrong
    return Purse(seconds=budget.amount)


def _levels(asked: int) -> tuple[int, ...]:
    """The number asked for, a half and a quarter of it, to see what fewer would do."""
    return tuple(sorted({n for n in (asked // 4, asked // 2, asked) if n >= FEWEST}))
