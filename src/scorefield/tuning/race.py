"""Successive halving: all settings draw a few samples, the better half draws more, and so on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scorefield.errors import InputError
from scorefield.recipes.recipe import Sampling
from scorefield.tuning.judge import Judge
from scorefield.tuning.settings import Setting

FIRST, FEWEST, MOST = (
    64,
    16,
    10_000,
)  # samples of a setting: in the first round at best and at worst; in all
SIZES = (32, 24, 16, 12, 8, 6, 4, 3, 2)  # settings of a level in the first round
KEPT = 2  # of a level, to the end

Draw = Callable[[Sampling, int, int], Tensor]


@dataclass(frozen=True)
class Entry:
    """A setting in a race.

    Arguments:
        setting: what it is.
        features: what has been seen of its samples, shape (n, D); row i is of sample i of the seed.
        distance: how far they are from the data; infinite where it refused to draw.
        refused: why it refused, if it did.
    """

    setting: Setting
    features: Tensor
    distance: float = math.inf
    refused: str = ""


@dataclass(frozen=True)
class Purse:
    """What may be spent on a race: seconds, or else samples.

    Arguments:
        seconds: of drawing and looking.
        samples: of all settings together.
    """

    seconds: float | None = None
    samples: int | None = None

    def after(self, seconds: float) -> Purse:
        """What is left when some time has passed.

        Arguments:
            seconds: how much.
        """
        return self if self.seconds is None else Purse(seconds=max(self.seconds - seconds, 0.0))


@dataclass(frozen=True)
class Standing:
    """A stop of a race.

    Arguments:
        share: of the purse that is spent.
        words: what was drawn last.
        entries: every setting that took part so far.
        running: those still in the race.
    """

    share: float
    words: str
    entries: tuple[Entry, ...]
    running: tuple[Setting, ...]


def race(
    levels: Mapping[int, Sequence[Setting]],
    stays: Sequence[Setting],
    draw: Draw,
    judge: Judge,
    purse: Purse,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Standing]:
    """Let settings race on the same noise; each round spends as much as the last on half as many.

    Those of one level race each other; the two best of it stay to the end.

    Arguments:
        levels: by network evaluations, the settings that may take them, the most promising first. As many
            of them take part as the purse allows.
        stays: settings that are drawn to the end whatever they are worth.
        draw: ``draw(sampling, first, count)`` gives samples ``first`` to ``first + count`` of one seed.
        judge: what they are ordered by.
        purse: what may be spent.
        clock: seconds.

    Raises:
        InputError: when the purse does not buy a first round, or nothing can be drawn in any way.
    """
    meter = _Meter(purse, clock)
    meter.spend(_probe([*stays, *(s for some in levels.values() for s in some)], draw), FEWEST)
    meter.lap()
    size = _size(levels, stays, meter)
    alive = {level: [s for s in some[:size] if s not in stays] for level, some in levels.items()}
    field: dict[Setting, Entry] = {}
    count, rounds = 0, _rounds(size)
    for turn in range(rounds):
        racing = [*stays, *(s for some in alive.values() for s in some)]
        more = min(int(meter.affords(racing) / (rounds - turn)), MOST - count)
        if more < 1:
            break
        for setting in racing:
            before = field.get(setting, Entry(setting, torch.empty(0)))
            field[setting] = _further(before, draw, judge, more)
            meter.spend(setting, more)
            words = f"{type(setting.sampling.sampler).__name__}, {setting.evaluations} evaluations"
            yield Standing(min(meter.share, 1.0), words, tuple(field.values()), tuple(racing))
        count += more
        meter.lap()
        if turn + 1 < rounds:
            alive = {level: _better(some, field) for level, some in alive.items()}


def _probe(settings: Sequence[Setting], draw: Draw) -> Setting:
    """The first setting that draws, to see how long an evaluation takes; some may not suit the model."""
    *others, last = settings
    for setting in others:
        try:
            draw(setting.sampling, 0, FEWEST)
        except InputError:
            continue
        return setting
    draw(last.sampling, 0, FEWEST)
    return last


def _further(entry: Entry, draw: Draw, judge: Judge, more: int) -> Entry:
    """The entry with more samples, or with the reason why there are none."""
    if entry.refused:
        return entry
    try:
        x = draw(entry.setting.sampling, len(entry.features), more)
    except InputError as error:
        return replace(entry, distance=math.inf, refused=str(error))
    new = judge.look(x)
    features = torch.cat([entry.features, new]) if len(entry.features) else new
    distance = judge.distance(features)
    if not math.isfinite(distance):
        return replace(entry, distance=math.inf, refused=f"its distance is {distance}")
    return replace(entry, features=features, distance=distance)


def _better(some: list[Setting], field: dict[Setting, Entry]) -> list[Setting]:
    well = [s for s in some if not field[s].refused]
    return sorted(well, key=lambda s: field[s].distance)[: max(KEPT, math.ceil(len(some) / 2))]


def _rounds(size: int) -> int:
    return 1 + max(0, math.ceil(math.log2(size / KEPT)))


def _size(levels: Mapping[int, Sequence[Setting]], stays: Sequence[Setting], meter: _Meter) -> int:
    """How many settings of each level the purse has enough for."""
    longest = max(len(some) for some in levels.values())
    for size in (min(size, longest) for size in SIZES):
        first = meter.affords([*stays, *(s for some in levels.values() for s in some[:size])])
        if first / _rounds(size) >= (FIRST if size > SIZES[-1] else FEWEST):
            return size
    bought = max(0, int(first))
    raise InputError(
        f"the budget is too small: it buys {bought} samples of each setting, and {FEWEST} are needed"
    )


class _Meter:
    """What is spent, and what is left."""

    def __init__(self, purse: Purse, clock: Callable[[], float]) -> None:
        self.purse, self.clock = purse, clock
        self.begin, self.samples, self.evaluations = clock(), 0, 0
        self.last, self.pace = (self.begin, 0), 0.0  # since when, and seconds an evaluation before

    def spend(self, setting: Setting, samples: int) -> None:
        self.samples += samples
        self.evaluations += samples * setting.evaluations

    def lap(self) -> None:
        """Measure the pace anew: larger batches are faster, and a machine may be busy for a while."""
        (since, before), now = self.last, self.clock()
        self.pace = (now - since) / (self.evaluations - before)
        self.last = now, self.evaluations

    @property
    def share(self) -> float:
        if self.purse.samples is not None:
            return self.samples / self.purse.samples
        return (self.clock() - self.begin) / (self.purse.seconds or math.inf)

    def affords(self, settings: Sequence[Setting]) -> float:
        """Samples of each of these that what is left buys."""
        if self.purse.samples is not None:
            return (self.purse.samples - self.samples) / len(settings)
        left = (self.purse.seconds or 0.0) - (self.clock() - self.begin)
        return max(left, 0.0) / (self.pace * sum(s.evaluations for s in settings))
