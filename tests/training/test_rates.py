"""Learning rates against their closed forms."""

import math

import pytest

from scorefield.errors import InputError
from scorefield.recipes import Training
from scorefield.training import Trainer
from scorefield.training.rates import learning_rate

SHARES = [k / 20 for k in range(21)]


def rates(kind, decay=0.4, **settings):
    training = Training(lr=1.0, warmup=0, lr_schedule=kind, decay=decay, **settings)
    return [learning_rate(training, 1000, share) for share in SHARES]


def test_linear_is_a_line_from_the_peak_to_0():
    expected = [1.0 if s <= 0.6 else (1 - s) / 0.4 for s in SHARES]
    assert rates("linear") == pytest.approx(expected)
    assert rates("linear", decay=1.0) == pytest.approx([1 - s for s in SHARES])
    assert Training().lr_schedule == "linear"


def test_cosine_is_half_a_wave_from_the_peak_to_0():
    # Loshchilov & Hutter 2017, eq. 5: ½ (1 + cos π T_cur/T_i), T_cur counted from where the fall begins
    expected = [1.0 if s <= 0.6 else (1 + math.cos(math.pi * (s - 0.6) / 0.4)) / 2 for s in SHARES]
    assert rates("cosine") == pytest.approx(expected, abs=1e-12)
    whole = [(1 + math.cos(math.pi * s)) / 2 for s in SHARES]
    assert rates("cosine", decay=1.0) == pytest.approx(whole, abs=1e-12)


def test_inverse_root_falls_like_the_root_of_the_time():
    # Karras et al. 2024, section 2.3: 1/√max(t/t_ref, 1)
    expected = [1 / math.sqrt(max(s / 0.6, 1)) for s in SHARES]
    assert rates("inverse-root") == pytest.approx(expected)
    assert rates("inverse-root")[-1] == pytest.approx(math.sqrt(0.6))
    assert rates("inverse-root", decay=0.0) == [1.0] * 21
    with pytest.raises(InputError, match="decay must be below 1 where lr_schedule is inverse-root"):
        Training(lr_schedule="inverse-root", decay=1.0)


def test_constant_is_the_peak():
    assert rates("constant") == rates("linear", decay=0.0) == [1.0] * 21


@pytest.mark.parametrize("kind", ["linear", "cosine", "inverse-root", "constant"])
def test_all_rise_alike_and_never_rise_again(kind):
    training = Training(lr=0.5, warmup=4, lr_schedule=kind)
    assert [learning_rate(training, step, 0.0) for step in range(6)] == [
        *(0.125, 0.25, 0.375, 0.5, 0.5, 0.5)
    ]
    found = rates(kind)
    assert found == sorted(found, reverse=True)


def test_a_run_uses_the_schedule_of_its_recipe(tmp_path, recipe):
    words = ["training.warmup=0", "training.lr=1e-3", "training.lr_schedule=cosine"]
    chosen = recipe("points", *words, "training.decay=1")
    seen = [p.lr for p in Trainer(chosen, tmp_path)]
    assert seen == pytest.approx([1e-3 * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)])
    with pytest.raises(InputError, match=r"training.lr_schedule must be one of linear, cosine"):
        recipe("points", "training.lr_schedule=step")
