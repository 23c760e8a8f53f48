"""Evaluations side by side, and the unlike ones that are refused."""

import json
from copy import deepcopy

import pytest

from scorefield.errors import InputError
from scorefield.evaluation import caution, compared, figure_rows, floor_words, read_result, verdict


def one(value, floor=0.1):
    figure = {"value": value, "low": value - 0.5, "high": value + 0.5, "better": "lower"}
    bare = {"value": floor, "low": None, "high": None, "better": "lower"}
    return {
        "format": 1,
        "count": 100,
        "label": None,
        "sampler": {"kind": "dpm++", "order": 2},
        "steps": 20,
        "seed": 0,
        "guidance": None,
        "data": {"hash": "d", "splits": "s", "reference": 60, "floor": 50},
        "features": {"name": "digits", "hash": "f", "scale": 2.0},
        "figures": {"Fréchet distance": figure | {"floor": bare}},
    }


def changed(keys, value):
    plain = deepcopy(one(2.0))
    inner = plain
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return plain


def test_figures_stand_side_by_side():
    head, rows = compared({"a": one(1.0), "b": changed(["steps"], 5)})
    assert head == ["figure", "a", "b", "floor", "better"]
    assert rows == [
        ["steps", "20", "5", "", ""],
        ["Fréchet distance", "1 (0.5 to 1.5)", "2 (1.5 to 2.5)", "0.1", "lower"],
    ]


def test_samplers_are_named_with_their_settings():
    other = changed(["sampler"], {"kind": "ddim", "eta": 0.5})
    _, rows = compared({"a": one(1.0), "b": other})
    assert rows[0] == ["sampler", "dpm++ order=2", "ddim eta=0.5", "", ""]


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (["count"], 10, r"count of samples \(100 and 10\)"),
        (["data", "hash"], "e", r"hash of the data \(d and e\)"),
        (["data", "splits"], "t", r"split of the data \(s and t\)"),
        (["data", "reference"], 6, r"count of real samples \(60 and 6\)"),
        (["data", "floor"], 5, r"count of the floor's samples \(50 and 5\)"),
        (["features", "name"], "pixels", r"features \(digits and pixels\)"),
        (["features", "hash"], "g", r"hash of the features \(f and g\)"),
        (["label"], 3, r"label asked for \(None and 3\)"),
    ],
)
def test_unlike_ones_are_refused(keys, value, words):
    with pytest.raises(InputError, match=rf"a and c cannot be compared; they differ in: {words}"):
        compared({"a": one(1.0), "b": one(2.0), "c": changed(keys, value)})


def test_all_that_differs_is_named():
    other = changed(["count"], 10)
    other["features"]["hash"] = "g"
    with pytest.raises(InputError, match=r"count of samples .*, hash of the features"):
        compared({"a": one(1.0), "b": other})


def test_one_is_not_enough():
    with pytest.raises(InputError, match="at least 2 evaluations are needed to compare, got 1"):
        compared({"a": one(1.0)})


def test_files(tmp_path):
    (tmp_path / "evaluation.json").write_text(json.dumps(one(1.0)))
    assert read_result(tmp_path) == read_result(tmp_path / "evaluation.json") == one(1.0)
    for name, text, words in [
        ("a.json", "{", "is not JSON"),
        ("b.json", "[1]", "is not an evaluation"),
        ("c.json", json.dumps(one(1.0) | {"format": 99}), "has format 99; this version reads 1"),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=words):
            read_result(tmp_path / name)
    with pytest.raises(InputError, match="No such file"):
        read_result(tmp_path / "nowhere.json")


def test_rows_of_the_table():
    plain = one(1.23456)
    plain["figures"]["x"] = {"value": 1e-7, "low": None, "high": None, "better": "", "floor": None}
    assert figure_rows(plain) == [
        ["Fréchet distance", "1.235 (0.7346 to 1.735)", "0.1", "lower"],
        ["x", "1e-07", "-", ""],
    ]


@pytest.mark.parametrize(
    ("known", "words"), [(0.12, "reads 12% of the real"), (0.99, ""), (None, "")]
)
def test_a_classifier_that_does_not_know_the_data_is_told(known, words):
    told = caution(one(1.0) | {"classes": {"known": known}})
    assert words in told
    assert bool(told) == bool(words)
    assert caution(one(1.0) | {"classes": None}) == ""


@pytest.mark.parametrize(("mix", "words"), [(0.4, "40% of the samples"), (0.05, ""), (None, "")])
def test_classes_in_other_shares_are_told(mix, words):
    plain = one(1.0)
    plain |= {"classes": None, "data": plain["data"] | {"mix": mix}}
    told = caution(plain)
    assert words in told
    assert bool(told) == bool(words)


def test_a_floor_of_fewer_samples_is_told():
    assert floor_words(one(1.0)) == (
        "50 real samples, which are all there are: of fewer samples it is higher; s"
    )
    assert floor_words(one(1.0) | {"count": 50}) == "50 real samples; s"


@pytest.mark.parametrize("found", ["copies", "none found", "cannot tell"])
def test_verdicts_are_told_with_their_figures(found):
    memory = {"verdict": found, "share": 0.0312, "expected": 0.01, "p": 1e-9, "detectable": 0.004}
    told = verdict(memory | {"samples": 10_000, "unseen": 3})
    if found == "cannot tell":
        assert "(3)" in told
    else:
        assert "3.12%" in told
        assert "1.00%" in told
