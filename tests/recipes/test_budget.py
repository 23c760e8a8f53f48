"""Budgets in words."""

import pytest

from scorefield.errors import InputError
from scorefield.recipes import Budget


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("90s", 90, "seconds"),
        ("90 S", 90, "seconds"),
        ("5m", 300, "seconds"),
        ("1.5h", 5400, "seconds"),
        ("2h", 7200, "seconds"),
        ("1d", 86400, "seconds"),
        ("0.5s", 0.5, "seconds"),
        ("600k images", 600_000, "images"),
        ("600K Images", 600_000, "images"),
        ("600kimages", 600_000, "images"),
        ("1.2m images", 1_200_000, "images"),
        ("1 image", 1, "images"),
        ("120steps", 120, "steps"),
        (" 120 steps ", 120, "steps"),
        ("1 step", 1, "steps"),
        ("2k steps", 2000, "steps"),
        ("120", 120, "steps"),
        (120, 120, "steps"),
        ("5k", 5000, "steps"),
    ],
)
def test_forms(text, amount, unit):
    assert Budget.parse(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "5x",
        "5 minutes",
        "-5s",
        "+5s",
        "images",
        "1e3 steps",
        "5m5s",
        "5,000 steps",
        "٣s",
    ],
)
def test_what_is_not_a_budget(text):
    with pytest.raises(InputError) as caught:
        Budget.parse(text)
    assert f"'{text}' is not a budget" in str(caught.value)
    for good in ("90s", "5m", "2h", "600k images", "120steps"):
        assert good in str(caught.value)


@pytest.mark.parametrize("text", ["0s", "0", "0.0h", "0 steps", "0.5 steps", "0 images"])
def test_nothing_is_not_a_budget(text):
    with pytest.raises(InputError, match=f"a budget must be above 0, got '{text}'"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "share"), [("10s", 0.3), ("30 images", 0.8), ("40 steps", 0.5), ("1s", 3.0)]
)
def test_share_spent(text, share):
    assert Budget.parse(text).spent(seconds=3, images=24, steps=20) == pytest.approx(share)
