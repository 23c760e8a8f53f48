"""What chance leaves open: a paired bootstrap of settings that drew from the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scorefield.tuning.judge import Judge
from scorefield.tuning.race import Entry
from scorefield.tuning.settings import Setting

RESAMPLES = 100
PILOT, CLEAR = (
    20,
    4.0,
)  # of so many resamples, a lead of so many standard deviations is not looked into
NOISE = 0.05  # share of resamples from which on a difference is noise
NORMAL = 1.96  # standard errors on each side of 95 %


class Bootstrap:
    """Resamples of samples, the same for all settings, and what settings are worth in them.

    Two settings are compared on the samples that both have drawn. A resample has fewer different samples
    than the set, which makes a distance such as Fréchet's larger; so only differences and spreads are read.

    Arguments:
        judge: what measures.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.known: dict[tuple[Setting, int], list[float]] = {}

    def distances(self, entry: Entry, count: int, resamples: int) -> Tensor:
        """The distance of resamples of a setting's first samples, shape (R,).

        Arguments:
            entry: the setting.
            count: how many samples.
            resamples: R.
        """
        chance = torch.Generator().manual_seed(count)
        rows = torch.randint(count, (RESAMPLES, count), generator=chance)
        found = self.known.setdefault((entry.setting, count), [])
        found += [
            self.judge.distance(entry.features[some]) for some in rows[len(found) : resamples]
        ]
        return torch.tensor(found[:resamples], dtype=torch.float64)

    def lead(self, best: Entry, other: Entry) -> Tensor:
        """How much nearer to the data one setting is than another, by resample, shape (R,).

        A lead that a few resamples show to be clear is not looked into further: R is 20 then, and else 100.

        Arguments:
            best: the one.
            other: the other.
        """
        count = min(len(best.features), len(other.features))
        for resamples in (PILOT, RESAMPLES):
            theirs, own = (self.distances(entry, count, resamples) for entry in (other, best))
            if float((theirs - own).mean()) > CLEAR * float((theirs - own).std()):
                break
        return theirs - own

    def beats(self, best: Entry, other: Entry) -> Tensor:
        """In which resamples one setting is as near to the data as another or nearer, shape (R,).

        Arguments:
            best: the one.
            other: the other.
        """
        lead = self.lead(best, other)
        return torch.ones(RESAMPLES, dtype=torch.bool) if len(lead) == PILOT else lead >= 0

    def sureness(self, best: Entry, others: Sequence[Entry]) -> float:
        """The share of resamples in which a setting beats every other.

        Arguments:
            best: the setting.
            others: those it competes with.
        """
        won = torch.ones(RESAMPLES, dtype=torch.bool)
        for other in others:
            won &= self.beats(best, other)
        return float(won.double().mean())

    def is_noise(self, best: Entry, other: Entry) -> bool:
        """Whether chance alone could have put a setting behind the best.

        Arguments:
            best: the best.
            other: the setting.
        """
        return float((~self.beats(best, other)).double().mean()) >= NOISE

    def apart(self, best: Entry, other: Entry) -> float:
        """Half the width of a 95 % interval of the difference of two settings.

        Arguments:
            best: the one.
            other: the other.
        """
        return NORMAL * float(self.lead(best, other).std())

    def spread(self, entry: Entry) -> float:
        """Half the width of a 95 % interval of a setting's distance.

        Arguments:
            entry: the setting.
        """
        return NORMAL * float(self.distances(entry, len(entry.features), RESAMPLES).std())
