"""What a race is worth: its winner, how sure that is, and quality against network evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scorefield.errors import InputError
from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Sampling
from scorefield.tuning.chance import Bootstrap
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
        apart: half the width of a 95 % interval of its difference to the winner, 0 for the winner itself;
            none for a setting that was dropped.
        on_front: whether none is better with as few evaluations.
    """

    sampling: Sampling
    evaluations: int
    samples: int
    distance: float
    apart: float | None = None
    on_front: bool = False


@dataclass(frozen=True)
class Tuned:
    """What a race found.

    Arguments:
        measure: what the distance is.
        winner: the setting to use.
        spread: half the width of a 95 % interval of its distance.
        sure: the share of resamples in which it beats all that need no more evaluations than it may take.
        before: the model's own setting until now; none if it was not tried.
        points: every setting that could be tried, by evaluations.
        refused: settings that the model could not be sampled with, and why.
        asked: network evaluations that were asked for; none for the cheapest within the noise of the best.
    """

    measure: str
    winner: Point
    spread: float
    sure: float
    before: Point | None
    points: tuple[Point, ...]
    refused: tuple[tuple[Sampling, str], ...]
    asked: int | None

    @property
    def words(self) -> str:
        """The result in a sentence."""
        winner, before = self.winner, self.before
        until = "" if before is None else f"; until then {before.distance:.4g}"
        return (
            f"{self.measure} {winner.distance:.4g} ± {self.spread:.2g} on {winner.samples:,} samples, best "
            f"of all that take at most {self.asked or winner.evaluations} evaluations in "
            f"{self.sure:.0%} of resamples, {len(self.points) + len(self.refused)} settings tried{until}"
        )

    def note(self) -> dict[str, Any]:
        """What a model keeps of it, plain."""
        before = None
        if self.before is not None:
            before = {
                "sampling": to_dict(self.before.sampling),
                "evaluations": self.before.evaluations,
                "distance": self.before.distance,
            }
        return {
            "words": self.words,
            "measure": self.measure,
            "distance": self.winner.distance,
            "spread": self.spread,
            "samples": self.winner.samples,
            "evaluations": self.winner.evaluations,
            "asked": self.asked,
            "sure": self.sure,
            "tried": [to_dict(p.sampling) for p in self.points]
            + [to_dict(s) for s, _ in self.refused],
            "before": before,
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
    chance = Bootstrap(judge)
    winner = min(within, key=lambda e: e.distance)
    if asked is None:
        winner = _cheapest(winner, last, chance)
    limit = winner.setting.evaluations if asked is None else asked
    rivals = [e for e in field if e is not winner and e.setting.evaluations <= limit]
    shown = _with_front({e.setting: _point(e, winner, last, chance) for e in field})
    return Tuned(
        measure=judge.distance_name,
        winner=shown[winner.setting],
        spread=chance.spread(winner),
        sure=chance.sureness(winner, rivals),
        before=None if own is None else shown.get(own),
        points=tuple(sorted(shown.values(), key=lambda p: (p.evaluations, p.distance))),
        refused=tuple((e.setting.sampling, e.refused) for e in standing.entries if e.refused),
        asked=asked,
    )


def _cheapest(best: Entry, last: Sequence[Entry], chance: Bootstrap) -> Entry:
    """The setting of fewest evaluations that only chance may have put behind the best."""
    cheaper = sorted(
        (e for e in last if e.setting.evaluations < best.setting.evaluations),
        key=lambda e: (e.setting.evaluations, e.distance),
    )
    return next((e for e in cheaper if chance.is_noise(best, e)), best)


def _point(entry: Entry, winner: Entry, last: Sequence[Entry], chance: Bootstrap) -> Point:
    setting, count = entry.setting, len(entry.features)
    plain = Point(setting.sampling, setting.evaluations, count, entry.distance)
    if entry in last:
        return replace(plain, apart=chance.apart(winner, entry))
    peers = [other for other in last if other.setting.level == setting.level]
    best = min(peers or last, key=lambda e: e.distance)
    behind = entry.distance - chance.judge.distance(best.features[:count])
    return replace(plain, distance=best.distance + behind)


def _with_front(points: dict[Setting, Point]) -> dict[Setting, Point]:
    """The points, those on the Pareto front of the ones that were drawn to the end marked."""
    least, shown = float("inf"), dict(points)
    for setting, point in sorted(points.items(), key=lambda p: (p[1].evaluations, p[1].distance)):
        if point.apart is not None and point.distance < least:
            least = point.distance
            shown[setting] = replace(point, on_front=True)
    return shown
