"""What a race is worth: its winner, how sure that is, and quality against network evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scorefield.errors import InputError
from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Sampling
from scorefield.tuning.chance import Bootstrap, interval
from scorefield.tuning.judge import Judge
from scorefield.tuning.race import Entry, Standing
from scorefield.tuning.settings import Setting


@dataclass(frozen=True)
class Point:
    """A setting and its quality.

    Arguments:
        sampling: how samples were drawn.
        evaluations: network evaluations a sample.
        samples: how many were drawn before it was dropped, or in all.
        distance: how far they are from the data; of a setting that was dropped, that of the best with
            as many evaluations and the difference on the samples that both have drawn.
        low: lower end of its 95 % interval; none for a setting that was dropped.
        high: upper end.
        on_front: whether none is better with as few evaluations.
    """

    sampling: Sampling
    evaluations: int
    samples: int
    distance: float
    low: float | None = None
    high: float | None = None
    on_front: bool = False


@dataclass(frozen=True)
class Tuned:
    """What a race found.

    Arguments:
        measure: what the distance is.
        winner: the setting to use.
        sure: the share of resamples in which it beats all that need no more evaluations than it may take.
        before: the model's own setting until now; none if it was not tried.
        points: every setting that could be tried, by evaluations.
        refused: settings that the model could not be sampled with, and why.
        asked: network evaluations that were asked for; none for the cheapest within the noise of the best.
    """

    measure: str
    winner: Point
    sure: float
    before: Point | None
    points: tuple[Point, ...]
    refused: tuple[tuple[Sampling, str], ...]
    asked: int | None

    def note(self) -> dict[str, Any]:
        """What a model keeps of it, plain."""
        before = self.before
        return {
            "measure": self.measure,
            "distance": self.winner.distance,
            "low": self.winner.low,
            "high": self.winner.high,
            "samples": self.winner.samples,
            "evaluations": self.winner.evaluations,
            "asked": self.asked,
            "sure": self.sure,
            "tried": len(self.points) + len(self.refused),
            "before": None
            if before is None
            else {
                "sampling": to_dict(before.sampling),
                "evaluations": before.evaluations,
                "distance": before.distance,
            },
            "front": [[p.evaluations, p.distance] for p in self.points if p.on_front],
        }


def verdict(
    standing: Standing, judge: Judge, own: Setting | None = None, asked: int | None = None
) -> Tuned:
    """The winner of a race, by the bootstrap.

    For a number of evaluations that was asked for it is the best that needs no more; if none was, the
    cheapest that chance alone could have put behind the best of all.

    Arguments:
        standing: the end of the race.
        judge: what it was ordered by.
        own: the model's own setting until now, if it took part.
        asked: network evaluations that a sample may take.

    Raises:
        InputError: when no setting could draw samples.
    """
    field = [entry for entry in standing.entries if not entry.refused]
    last = [entry for entry in field if entry.setting in standing.running]
    within = [e for e in last if asked is None or e.setting.evaluations <= asked]
    if not within:
        refusals = {entry.refused for entry in standing.entries if entry.refused}
        raise InputError(f"no setting could draw samples: {'; '.join(sorted(refusals))}")
    winner = best = min(within, key=lambda e: e.distance)
    if asked is None:
        cheaper = sorted(
            (e for e in last if e.setting.evaluations < best.setting.evaluations),
            key=lambda e: (e.setting.evaluations, e.distance),
        )
        against = Bootstrap(best, judge)
        winner = next((e for e in cheaper if against.is_noise(e)), best)
    limit = winner.setting.evaluations if asked is None else asked
    rivals = [e for e in field if e is not winner and e.setting.evaluations <= limit]
    points = {entry.setting: _point(entry, last, judge) for entry in field}
    shown = _with_front(points)
    return Tuned(
        judge.distance_name,
        shown[winner.setting],
        Bootstrap(winner, judge).sureness(rivals),
        None if own is None else shown.get(own),
        tuple(sorted(shown.values(), key=lambda p: (p.evaluations, p.distance))),
        tuple((e.setting.sampling, e.refused) for e in standing.entries if e.refused),
        asked,
    )


def _point(entry: Entry, last: Sequence[Entry], judge: Judge) -> Point:
    setting, count = entry.setting, len(entry.features)
    plain = Point(setting.sampling, setting.evaluations, count, entry.distance)
    if entry in last:
        low, high = interval(entry, judge)
        return replace(plain, low=low, high=high)
    peers = [other for other in last if other.setting.level == setting.level]
    best = min(peers or last, key=lambda e: e.distance)
    behind = entry.distance - judge.distance(best.features[:count])
    return replace(plain, distance=best.distance + behind)


def _with_front(points: dict[Setting, Point]) -> dict[Setting, Point]:
    """The points, those on the Pareto front of the ones that were drawn to the end marked."""
    least, shown = float("inf"), dict(points)
    for setting, point in sorted(points.items(), key=lambda p: (p[1].evaluations, p[1].distance)):
        if point.low is not None and point.distance < least:
            least = point.distance
            shown[setting] = replace(point, on_front=True)
    return shown
