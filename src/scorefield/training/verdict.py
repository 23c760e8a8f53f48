"""Is a run healthy? A verdict from the lines of its log, by rules that are tried in turn.

========================  ==========================================================================
diverging                 steps left out or rolled back of late, or loss well above what it had been
too early to tell         fewer than 8 lines of loss
over-fitting              held-out loss up from its least while training loss falls, or far above it
starved                   a third of the time of steps goes by waiting for data
still learning            the loss falls, budget is left, or the loss is not below the Gaussian's
good                      none of these
========================  ==========================================================================

Losses of checks are measured on the same samples and noise each time: their differences are what was
learnt. What scatter they have is estimated from their second differences, which a trend leaves alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from scorefield.recipes.budget import Budget
from scorefield.recipes.training import Training
from scorefield.training.faults import LEFT_OUT
from scorefield.training.health.record import Health, mean

Kind = Literal[
    "still learning", "good", "over-fitting", "diverging", "starved", "too early to tell"
]

LINES = 8  # of loss, at least: with fewer there is no last quarter to speak of
SCATTERS = 3.0  # standard deviations that are not chance
FALL = 0.01  # of the loss over the last quarter: less is level
RISE = 0.02  # of held-out loss above its least
GAP = 0.15  # of held-out above training loss: 96 samples each differ by 4 % or so by chance alone
CEILING = 1.05  # times the Gaussian's loss, of which 96 samples miss the mean by as much
JUMP = 1.5  # times the best loss: diverging
LEARNT = 0.95  # times the first loss: above it a run that has shot up has learnt nothing
SURGE = 10.0  # times the gradient's norm before
SKIPPED = 0.01  # of steps: a scaler of fp16 leaves out one in 2000
WAITING = 1 / 3  # of the time: with data at hand, training would be 1.5 times as fast


@dataclass(frozen=True)
class Verdict:
    """How a run is doing.

    Arguments:
        kind: in a word or two.
        reason: why, with the figures.
        advice: what to do about it.
    """

    kind: Kind
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}. {self.advice}."


def judge(lines: Sequence[Mapping[str, Any]], training: Training) -> Verdict:
    """How a run is doing, by its log.

    Arguments:
        lines: the lines of its log, oldest first.
        training: how it is trained, which says how much of the budget is left.
    """
    course = Course.of(lines, training)
    for rule in (_diverging, _early, _over_fitting, _starved, _learning):
        if found := rule(course):
            return found
    return _good(course)


@dataclass(frozen=True)
class Course:
    """What the rules look at.

    Arguments:
        steps: of the lines of loss.
        losses: the mean training loss up to each of them.
        norms: the gradient's norm at each.
        held_out: mean over levels of the held-out loss of the averaged weights, for each check that has it.
        train: the same of training samples, at the same checks.
        gaussian: mean over levels of what an affine denoiser gets; none if not known.
        waiting: share of time spent waiting for data, of the last checks; none if not known.
        left_out: steps left out in the last quarter of the run.
        rolled_back: roll-backs in the last quarter of the run.
        spent: share of the budget used.
        lr: the peak learning rate.
    """

    steps: list[int]
    losses: list[float]
    norms: list[float]
    held_out: list[float]
    train: list[float]
    gaussian: float | None
    waiting: float | None
    left_out: int
    rolled_back: int
    spent: float
    lr: float

    @classmethod
    def of(cls, lines: Sequence[Mapping[str, Any]], training: Training) -> Course:
        """From the lines of a log."""
        points = [line for line in lines if line.get("loss") is not None]
        checks = [Health.of(line["health"]) for line in lines if "health" in line]
        pairs = [(mean(check.ema), mean(check.train)) for check in checks]
        both = [(h, t) for h, t in pairs if h is not None and t is not None]
        shares = [check.data_share for check in checks[-3:] if check.data_share is not None]
        last: Mapping[str, Any] = points[-1] if points else {"step": 0, "seconds": 0, "images": 0}
        notes = [line for line in lines if "note" in line]
        late = [str(line["note"]) for line in notes if line["step"] >= 0.75 * last["step"]]
        spent = Budget.parse(training.budget).spent(
            seconds=last["seconds"], images=last["images"], steps=last["step"]
        )
        return cls(
            [line["step"] for line in points],
            [line["loss"] for line in points],
            [line["grad_norm"] for line in points if line.get("grad_norm") is not None],
            [h for h, _ in both],
            [t for _, t in both],
            mean(checks[-1].gaussian) if checks else None,
            statistics.fmean(shares) if shares else None,
            sum(note.endswith(f"; {LEFT_OUT}") for note in late),
            sum(note.startswith("back to the checkpoint") for note in late),
            min(1.0, spent),
            training.lr,
        )


def scatter(values: Sequence[float]) -> float:
    """The standard deviation of what is not trend, from second differences; 0 of fewer than three.

    Of independent scatter s, x₋ - 2x + x₊ has the standard deviation √6 s. The median stands for the mean,
    so that a bend or a jump counts little.

    Arguments:
        values: one after the other.
    """
    bends = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return statistics.median(bends) / 0.6745 / math.sqrt(6) if bends else 0.0


def trend(values: Sequence[float]) -> tuple[float, float]:
    """How far the mean of the last quarter is from that of the quarter before, and how sure that is.

    Both relative to the size of the latter.

    Arguments:
        values: one after the other; at least one.
    """
    quarter = max(1, len(values) // 4)
    late = values[-quarter:]
    before = values[-2 * quarter : -quarter] or values[:1]
    base = statistics.fmean(before)
    error = scatter(values[-2 * quarter :]) * math.sqrt(2 / quarter)
    unit = abs(base) or 1.0
    return (statistics.fmean(late) - base) / unit, error / unit


def _diverging(course: Course) -> Verdict | None:
    steps = course.steps[-1] if course.steps else 0
    reason = ""
    if course.rolled_back or course.left_out > max(1, SKIPPED * steps / 4):
        reason = (
            f"{course.left_out} steps without finite numbers and {course.rolled_back} roll-backs "
            f"in the last quarter of {steps:,} steps"
        )
    elif not all(map(math.isfinite, course.losses[-3:])):
        reason = "the loss is not a finite number"
    elif len(course.losses) >= LINES:
        reason = _growth(course)
    calmer = f"Try a training.lr below {course.lr:g}, half of it first, or a longer training.warmup"
    return Verdict("diverging", reason, calmer) if reason else None


def _growth(course: Course) -> str:
    """What has grown that ought not to; empty if nothing has."""
    window = max(2, len(course.losses) // 8)
    sums = list(accumulate(course.losses, initial=0.0))
    means = [(b - a) / window for a, b in zip(sums, sums[window:], strict=False)]
    late, best = means[-1], min(means)
    noise = scatter(course.losses) / math.sqrt(window)
    ratios = min(course.losses) > 0  # not so with a learned weight
    if ratios and late > JUMP * best and late > best + SCATTERS * noise:
        return f"the loss is {late:.4g}, {late / best:.1f} times the {best:.4g} it had come down to"
    first, peak = course.losses[0], max(course.losses)
    if ratios and late > LEARNT * first and peak > JUMP * first:
        return f"the loss went up to {peak:.4g} and is {late:.4g}; it was {first:.4g} at first"
    now, before = statistics.median(course.norms[-window:]), statistics.median(course.norms)
    if now > SURGE * before and trend(course.losses)[0] > 0:
        times = f"{now / before:.0f} times what it was"
        return f"the gradient's norm is {now:.3g}, {times}, and the loss rises"
    return ""


def _early(course: Course) -> Verdict | None:
    if len(course.losses) >= LINES:
        return None
    steps = course.steps[-1] if course.steps else 0
    reason = f"{steps:,} steps, and a loss in {len(course.losses)} lines of the log"
    more = "Let it train on" if course.spent < 1 else "Give it a larger training.budget"
    return Verdict("too early to tell", reason, more)


def _over_fitting(course: Course) -> Verdict | None:
    if len(course.held_out) < 3:
        return None
    held, train = course.held_out[-1], course.train[-1]
    least = min(course.held_out)
    at = course.held_out.index(least)
    gap = held / train - 1
    advice = (
        "The network begins to know its training samples by heart: take more data or augmentation, "
        "a smaller network or dropout, or stop earlier"
    )
    beyond = max(RISE * least, SCATTERS * scatter(course.held_out))
    if held > least + beyond and train < course.train[at] and gap > GAP:
        reason = (
            f"held-out loss has risen from {least:.4g} to {held:.4g} while that of training samples fell "
            f"from {course.train[at]:.4g} to {train:.4g}"
        )
        return Verdict("over-fitting", reason, advice)
    if gap > GAP and not _falls(course.held_out):
        reason = (
            f"held-out loss, {held:.4g}, no longer falls and is {gap:.0%} above that of training "
            f"samples, {train:.4g}"
        )
        return Verdict("over-fitting", reason, advice)
    return None


def _starved(course: Course) -> Verdict | None:
    if course.waiting is None or course.waiting <= WAITING:
        return None
    faster = 1 / (1 - course.waiting) if course.waiting < 1 else math.inf
    reason = f"{course.waiting:.0%} of the time of steps goes by waiting for data"
    advice = (
        f"With data at hand training would be {faster:.1f} times as fast: keep them in memory, make "
        f"the files smaller once and for all, or put them on a faster disk"
    )
    return Verdict("starved", reason, advice)


def _falls(values: Sequence[float]) -> bool:
    """Whether losses still fall; of few, which tell nothing of chance, whether the last is the least."""
    if len(values) < LINES:
        return values[-1] <= min(values)
    change, error = trend(values)
    return change < -max(FALL, SCATTERS * error)


def _learning(course: Course) -> Verdict | None:
    reason = _losses(course)
    if course.spent < 1:
        reason += f"; {1 - course.spent:.0%} of the budget is left"
        return Verdict("still learning", reason, "Let it train on")
    if _falls(course.held_out if len(course.held_out) >= LINES else course.losses):
        advice = (
            "A larger budget would still help: scorefield resume RUN --budget, with twice as much"
        )
        return Verdict("still learning", reason, advice)
    if course.held_out and course.gaussian and course.held_out[-1] > CEILING * course.gaussian:
        reason += (
            f"; that is above the {course.gaussian:.4g} which mean and covariance alone would get"
        )
        advice = f"Try another training.lr than {course.lr:g}, a larger network, or a longer budget"
        return Verdict("still learning", reason, advice)
    return None


def _good(course: Course) -> Verdict:
    if course.held_out:
        return Verdict("good", _losses(course), "Sample from it: scorefield sample RUN")
    advice = "Hold samples out to see memorising too: data.holdout=0.1, or data with a test split"
    return Verdict("good", f"{_losses(course)}; there is no held-out loss", advice)


def _losses(course: Course) -> str:
    """What the losses do, in words."""
    checked = len(course.held_out) >= 4
    values = course.held_out if checked else course.losses
    change, _ = trend(values)
    word = "falls" if _falls(values) else "is level"
    late = statistics.fmean(values[-max(1, len(values) // 4) :])
    what = "held-out" if checked else "training"
    words = f"{what} loss {word}, {late:.4g} over the last quarter ({change:+.1%})"
    if course.held_out:
        words += f", {course.held_out[-1] / course.train[-1] - 1:+.0%} against training samples"
        if course.gaussian:
            words += f" and {course.held_out[-1] / course.gaussian:.0%} of the Gaussian's"
    return words
