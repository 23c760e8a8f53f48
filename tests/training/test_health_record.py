"""The health line of the log."""

import json
import math

from scorefield.training.health import Health

FULL = Health(
    levels=(0.1, 1.0),
    ema=(0.5, 0.25),
    raw=(0.75, 0.5),
    train=(0.4, 0.2),
    ideal=(0.0, 0.1),
    gaussian=(0.9, 0.8),
    gradient=(0.1, 123.0),
    noise_scale=1234.5,
    ema_lag=0.01,
    data_share=0.2,
    processes=2,
)


def test_a_check_goes_to_the_log_and_back():
    line = json.loads(json.dumps(FULL.plain(), allow_nan=False))
    assert line["held_out"] == {"ema": [0.5, 0.25], "raw": [0.75, 0.5]}
    assert Health.of(line) == FULL


def test_without_held_out_samples_there_is_no_score():
    found = Health((0.1, 1.0), train=(0.4, 0.2))
    assert found.plain()["held_out"] is None
    assert found.score is None
    assert Health.of(found.plain()) == found


def test_the_score_is_the_mean_over_levels():
    assert FULL.score == 0.375


def test_a_loss_that_is_not_finite_is_not_known():
    found = Health((0.1, 1.0), ema=(math.nan, 0.5), raw=(math.inf, 0.5), noise_scale=math.inf)
    line = json.loads(json.dumps(found.plain(), allow_nan=False))
    assert line["held_out"] == {"ema": [None, 0.5], "raw": [None, 0.5]}
    assert line["noise_scale"] is None
    assert found.score is None
    assert Health.of(line).score is None


def test_an_older_line_with_less_in_it_can_be_read():
    assert Health.of({"levels": [1.0]}) == Health((1.0,))
