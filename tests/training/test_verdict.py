"""The verdict on runs whose logs are made up, and on runs that truly are what they are called."""

import json
import math
import random
from dataclasses import replace

import pytest

from scorefield.recipes import find_recipe
from scorefield.recipes.training import Training
from scorefield.training import Trainer, judge, read_log
from scorefield.training.health import Health
from scorefield.training.verdict import scatter, trend

TRAINING = Training(budget="2000steps")
LEVELS = (0.1, 1.0, 10.0)


def log(loss, *, held_out=None, train=None, steps=2000, norm=lambda s: 0.2, waiting=0.01, seed=0):
    """A log of functions of the share of the run; what is measured scatters by 2 %, as in real runs."""
    draw = random.Random(seed)
    lines = []
    for step in range(20, steps + 1, 20):
        share = step / 2000
        line = {"step": step, "images": 64 * step, "seconds": step / 10, "lr": 2e-3, "rate": 640.0}
        noisy = loss(share) * draw.gauss(1, 0.02)
        lines.append(line | {"loss": noisy, "grad_norm": norm(share) * draw.uniform(0.5, 2)})
        if step % 100 == 0 and held_out is not None:
            found = Health(
                LEVELS,
                ema=(held_out(share),) * 3,
                raw=(held_out(share),) * 3,
                train=((train or held_out)(share),) * 3,
                gaussian=(0.5,) * 3,
                data_share=waiting,
            )
            health = {"step": step, "images": 64 * step, "seconds": step / 10}
            lines.append(health | {"health": found.plain()})
    return lines


def falling(share):
    return 0.2 + 0.8 * math.exp(-6 * share)


def level(share):
    return 0.2 + 0.8 * math.exp(-25 * share)


def turning(share):
    return 0.2 + 0.8 * math.exp(-25 * share) + 0.1 * max(0.0, share - 0.5)


CASES = {
    "good": log(level, held_out=level, train=lambda s: 0.98 * level(s)),
    "still learning": log(falling, held_out=falling),
    "over-fitting": log(level, held_out=turning, train=lambda s: level(s) - 0.08 * s),
    "diverging": log(lambda s: level(s) + (0 if s < 0.8 else 3 * (s - 0.8))),
    "starved": log(level, held_out=level, waiting=0.4),
    "too early to tell": log(level, steps=140),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_is_told(kind):
    found = judge(CASES[kind], TRAINING)
    assert found.kind == kind
    assert found.reason
    assert found.advice


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["good", "diverging"])
def test_chance_does_not_change_it(kind, seed):
    rises = kind == "diverging"
    lines = log(lambda s: level(s) + (3 * (s - 0.8) if rises and s > 0.8 else 0), seed=seed)
    assert judge(lines, TRAINING).kind == kind


def test_the_reason_has_the_figures():
    found = judge(CASES["over-fitting"], TRAINING)
    assert "from 0.2" in found.reason
    assert f"to {turning(1.0):.4g}" in found.reason
    assert "40%" in judge(CASES["starved"], TRAINING).reason
    assert "1.7 times" in judge(CASES["starved"], TRAINING).advice
    assert "7 lines" in judge(CASES["too early to tell"], TRAINING).reason


def test_a_run_that_is_not_through_is_still_learning():
    found = judge(log(level, held_out=level, steps=1000), TRAINING)
    assert found.kind == "still learning"
    assert "50% of the budget is left" in found.reason
    assert judge(log(level, held_out=level, steps=1000), replace(TRAINING, budget="100s")).kind == (
        "good"
    )


def test_waiting_for_a_third_of_the_time_is_the_limit():
    kinds = [
        judge(log(level, held_out=level, waiting=share), TRAINING).kind for share in (0.32, 0.35)
    ]
    assert kinds == ["good", "starved"]


def test_a_gap_that_stays_is_over_fitting_though_held_out_loss_does_not_rise():
    def kind(gap):
        return judge(log(level, held_out=level, train=lambda s: level(s) / gap), TRAINING).kind

    assert [kind(1.1), kind(1.2)] == ["good", "over-fitting"]


def test_a_rise_within_the_scatter_of_checks_is_none():
    draw = random.Random(3)
    held = [0.2 * draw.gauss(1, 0.03) for _ in range(20)]
    lines = log(
        level,
        held_out=lambda s: held[round(20 * s) - 1],
        train=lambda s: 0.19 - 0.01 * s,
    )
    assert judge(lines, TRAINING).kind != "over-fitting"


def test_a_level_loss_above_the_gaussian_is_not_good():
    found = judge(log(level, held_out=lambda s: 0.6), TRAINING)
    assert found.kind == "still learning"
    assert "mean and covariance" in found.reason


def test_steps_left_out_of_late_are_diverging_and_those_of_long_ago_are_not():
    def kind(first, count):
        text = "the loss is nan and the gradient's norm nan at step {}; left out"
        notes = [{"step": first + k, "note": text.format(first + k)} for k in range(count)]
        lines = sorted([*log(level), *notes], key=lambda line: line["step"])
        return judge(lines, TRAINING).kind

    assert [kind(1900, 6), kind(1900, 2), kind(300, 6)] == ["diverging", "good", "good"]
    back = {"step": 0, "note": "back to the checkpoint of step 0, with half the learning rate"}
    assert judge([back], TRAINING).kind == "diverging"
    assert judge([back, *log(level)], TRAINING).kind == "good"


def test_a_loss_that_shot_up_and_never_came_below_its_start_is_diverging():
    found = judge(log(lambda s: 60.0 if s == 0.02 else 1.0), TRAINING)
    assert found.kind == "diverging"
    assert judge(log(lambda s: 60.0 if s == 0.02 else level(s)), TRAINING).kind != "diverging"


def test_a_gradient_that_grows_while_the_loss_rises_is_diverging():
    def kind(rise):
        lines = log(lambda s: level(s) * (1 + rise * s), norm=lambda s: 0.2 if s < 0.85 else 5.0)
        return judge(lines, TRAINING).kind

    assert [kind(0.3), kind(0.0)] == ["diverging", "good"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("over-fitting", ["data.size=20", "network.width=128", "training.budget=2000steps"]),
        ("diverging", ["training.lr=1", "training.budget=500steps"]),
    ],
)
def test_real_runs_are_told(tmp_path, kind, words):
    own = ["training.batch=64", "training.precision=fp32", "training.compile=off"]
    recipe = find_recipe("moons", [*own, "training.health_every=100steps", *words])
    for _ in Trainer(recipe, tmp_path):
        pass
    assert judge(read_log(tmp_path), recipe.training).kind == kind


def test_without_held_out_samples_it_says_so():
    found = judge(log(level), TRAINING)
    assert found.kind == "good"
    assert "no held-out" in found.reason
    assert "holdout" in found.advice


def test_nothing_is_too_early():
    assert judge([], TRAINING).kind == "too early to tell"


def test_the_scatter_about_a_trend_is_found():
    draw = random.Random(1)
    values = [5 - 0.1 * k + draw.gauss(0, 0.3) for k in range(4000)]
    assert scatter(values) == pytest.approx(0.3, rel=0.05)
    assert scatter([5 - 0.1 * k for k in range(40)]) == pytest.approx(0, abs=1e-12)
    assert scatter([1.0, 2.0]) == 0


def test_the_trend_is_one_of_quarters():
    assert trend([9.0, 9.0, 2.0, 2.0, 4.0, 4.0, 3.0, 3.0])[0] == pytest.approx(-0.25)
    assert trend([1.0]) == (0.0, 0.0)


def test_a_verdict_is_json():
    found = judge(CASES["good"], TRAINING)
    assert json.loads(json.dumps(vars(found)))["kind"] == "good"
    assert str(found).startswith("good: ")


@pytest.mark.parametrize("seed", range(20))
def test_losses_below_0_are_no_alarm(seed):
    """A learned weight makes them; level ones scatter about 0 or below."""
    draw = random.Random(seed)
    lines = log(level, seed=seed)
    for line in lines:
        line["loss"] = -2 + draw.gauss(0, 0.05)
    assert judge(lines, TRAINING).kind == "good"


def test_losses_that_fall_through_0_are_still_learning():
    lines = log(falling)
    for line in lines:
        line["loss"] = 1 - 3 * line["step"] / 2000
    assert judge(lines, TRAINING).kind == "still learning"


@pytest.mark.parametrize(
    ("held_out", "kind"),
    [([1, 0.9, 1, 0.9, 1, 0.97], "good"), ([0.5, 0.3, 0.4, 0.3, 0.4, 0.36], "over-fitting")],
)
def test_few_checks_say_little(held_out, kind):
    """Of six no chance can be told: that the last is below the one before does not make them fall."""
    lines = log(level, held_out=level)
    checks = [line for line in lines if "health" in line]
    kept, train = checks[-6:], [0.95, 0.3][kind == "over-fitting"]
    for line, loss in zip(kept, held_out, strict=True):
        line["health"] |= {"held_out": {"ema": [loss] * 3, "raw": [loss] * 3}, "train": [train] * 3}
        line["health"]["gaussian"] = [2.0] * 3
    lines = [line for line in lines if "health" not in line or line in kept]
    assert judge(lines, TRAINING).kind == kind
