"""What chance leaves open: paired bootstraps of settings that drew from the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scorefield.tuning.judge import Judge
from scorefield.tuning.race import Entry

RESAMPLES = 100
CLEAR = 4.0  # standard errors of a difference beyond which resamples cannot say otherwise
PILOT = 20  # resamples that tell whether a difference is that clear
NOISE = 0.05  # share of resamples below which a difference is not noise


def resampled(entry: Entry, judge: Judge, rows: Tensor) -> Tensor:
    """The distance of resamples of a setting's samples, shape (R,).

    Arguments:
        entry: the setting.
        judge: what measures.
        rows: the samples in each resample, shape (R, n).
    """
    return torch.tensor([judge.distance(entry.features[some]) for some in rows]).double()


def rows_of(count: int, seed: int = 0, resamples: int = RESAMPLES) -> Tensor:
    """Which samples are in each resample, the same for all settings, shape (R, n).

    Arguments:
        count: n.
        seed: of the draws.
        resamples: R.
    """
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(count, (resamples, count), generator=chance)


class Bootstrap:
    """A setting against others, on the samples that both have drawn, which were made from the same noise.

    Arguments:
        best: the setting.
        judge: what measures.
    """

    def __init__(self, best: Entry, judge: Judge) -> None:
        self.best, self.judge = best, judge
        self.known: dict[int, Tensor] = {}

    def beats(self, other: Entry) -> Tensor:
        """In which resamples it is no farther from the data than another setting, shape (R,).

        Arguments:
            other: one with as many samples or fewer.
        """
        count = min(len(self.best.features), len(other.features))
        rows = rows_of(count)
        if count not in self.known:
            self.known[count] = resampled(self.best, self.judge, rows)
        own = self.known[count]
        pilot = resampled(other, self.judge, rows[:PILOT])
        margin = pilot - own[:PILOT]
        if float(margin.mean()) > CLEAR * float(margin.std()):
            return torch.ones(len(rows), dtype=torch.bool)
        return torch.cat([pilot, resampled(other, self.judge, rows[PILOT:])]) >= own

    def sureness(self, others: Sequence[Entry]) -> float:
        """The share of resamples in which it beats every other.

        Arguments:
            others: those it competes with.
        """
        won = torch.ones(RESAMPLES, dtype=torch.bool)
        for other in others:
            won &= self.beats(other)
        return float(won.double().mean())

    def is_noise(self, other: Entry) -> bool:
        """Whether chance alone could have put another setting behind it.

        Arguments:
            other: one with as many samples.
        """
        return float((~self.beats(other)).double().mean()) >= NOISE


def interval(entry: Entry, judge: Judge) -> tuple[float, float]:
    """A 95 % interval of a setting's distance, by its spread over resamples.

    A resample has fewer different samples than the set, which makes distances such as Fréchet's larger; so
    only the spread is taken.

    Arguments:
        entry: the setting.
        judge: what measures.
    """
    spread = float(resampled(entry, judge, rows_of(len(entry.features))).std())
    return entry.distance - 1.96 * spread, entry.distance + 1.96 * spread
