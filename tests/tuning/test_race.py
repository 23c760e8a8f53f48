"""Successive halving, on settings whose worth is planted."""

import math
from collections import Counter

import pytest
import torch

from scorefield.errors import InputError
from scorefield.recipes import Sampling
from scorefield.samplers.ancestral import DDIM
from scorefield.tuning import Purse
from scorefield.tuning.race import FEWEST, race
from scorefield.tuning.settings import Setting

LEVELS = {
    n: [Setting(Sampling(sampler=DDIM(eta=k / 10), steps=n), n) for k in range(8)] for n in (4, 8)
}
BEST = 3


class Planted:
    """Draws |k - 3| plus noise that all settings share, and keeps account."""

    def __init__(self, refuses=()):
        self.noise = torch.randn(10_000, generator=torch.Generator().manual_seed(0)).double()
        self.asked, self.refuses, self.passed = [], refuses, 0.0

    def __call__(self, sampling, first, count):
        self.asked.append((sampling, first, count))
        self.passed += count * sampling.steps * 0.01  # seconds
        k = round(sampling.sampler.eta * 10)
        if k in self.refuses:
            raise InputError("out of range")
        return abs(k - BEST) + self.noise[first : first + count]


def finished(draw, judge, purse, stays=()):
    *_, last = race(LEVELS, stays, draw, judge, purse, lambda: draw.passed)
    return last


def of(standing, setting):
    (entry,) = (e for e in standing.entries if e.setting == setting)
    return entry


def test_the_planted_best_of_each_level_is_left(offset):
    last = finished(Planted(), offset, Purse(samples=8000))
    assert len(last.entries) == 16
    assert len(last.running) == 4
    for level in LEVELS:
        left = sorted(
            (of(last, s) for s in last.running if s.level == level), key=lambda e: e.distance
        )
        assert left[0].setting == LEVELS[level][BEST]
        assert left[1].setting in (LEVELS[level][BEST - 1], LEVELS[level][BEST + 1])


def test_each_round_has_half_the_settings_and_twice_the_samples(offset):
    draw = Planted()
    finished(draw, offset, Purse(samples=9600))
    counts = Counter(count for _, first, count in draw.asked[1:])
    (few, most), (twice, half), (four, quarter) = sorted(counts.items())
    assert (most, half, quarter) == (16, 8, 4)
    assert twice == pytest.approx(2 * few, abs=2)
    assert four == pytest.approx(4 * few, abs=4)


@pytest.mark.parametrize("purse", [Purse(samples=5000), Purse(seconds=300.0)])
def test_the_purse_is_spent_and_not_overdrawn(offset, purse):
    draw = Planted()
    last = finished(draw, offset, purse)
    samples = sum(count for _, _, count in draw.asked)
    spent = samples / purse.samples if purse.samples else draw.passed / purse.seconds
    assert 0.98 < spent <= 1
    assert last.share == pytest.approx(spent)


def test_a_machine_that_gets_faster_is_used_to_the_end(offset):
    class Faster(Planted):
        def __call__(self, sampling, first, count):
            before, x = self.passed, super().__call__(sampling, first, count)
            self.passed = before + (self.passed - before) / (4 if first else 1)
            return x

    draw = Faster()
    last = finished(draw, offset, Purse(seconds=300.0))
    assert 0.95 < draw.passed / 300 <= 1
    assert last.share > 0.95


def test_samples_are_drawn_once_and_in_order(offset):
    draw = Planted()
    last = finished(draw, offset, Purse(samples=5000))
    for entry in last.entries:
        spans = [(f, c) for s, f, c in draw.asked[1:] if s == entry.setting.sampling]
        assert [f for f, _ in spans] == [sum(c for _, c in spans[:i]) for i in range(len(spans))]
        shift = abs(round(entry.setting.sampling.sampler.eta * 10) - BEST)
        assert torch.equal(entry.features, shift + draw.noise[: len(entry.features)])
        assert entry.distance == pytest.approx(float(entry.features.mean()))


def test_a_setting_that_stays_is_drawn_to_the_end(offset):
    worst = LEVELS[8][7]
    last = finished(Planted(), offset, Purse(samples=8000), stays=[worst])
    assert worst in last.running
    assert len(of(last, worst).features) == max(len(e.features) for e in last.entries)


def test_a_setting_that_refuses_is_out_and_says_why(offset):
    last = finished(Planted(refuses=(BEST,)), offset, Purse(samples=8000))
    for level in LEVELS:
        entry = of(last, LEVELS[level][BEST])
        assert (entry.refused, entry.distance) == ("out of range", math.inf)
        assert entry.setting not in last.running


def test_a_distance_that_is_no_number_does_not_win(offset):
    class Overflow(Planted):
        def __call__(self, sampling, first, count):
            return super().__call__(sampling, first, count) * (
                math.nan if sampling.steps == 4 else 1
            )

    last = finished(Overflow(), offset, Purse(samples=8000))
    assert {e.refused for e in last.entries if e.setting.level == 4} == {"its distance is nan"}
    assert {s.level for s in last.running} == {8}


def test_a_small_purse_tries_the_first_of_the_list(offset):
    last = finished(Planted(), offset, Purse(samples=400))
    assert {e.setting for e in last.entries} == {s for some in LEVELS.values() for s in some[:2]}
    with pytest.raises(InputError, match=f"budget is too small: it buys . samples .* {FEWEST} are"):
        finished(Planted(), offset, Purse(samples=40))


def test_a_model_whose_own_way_refuses_is_tuned(offset):
    refused = LEVELS[8][BEST]
    last = finished(Planted(refuses=(BEST,)), offset, Purse(samples=8000), stays=[refused])
    assert of(last, refused).refused == "out of range"
    assert last.running
