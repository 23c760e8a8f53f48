"""What is planted is found, named and weighed; what is sound is left alone."""

from dataclasses import replace

import pytest
import torch

from scorefield.data.base import Skipped, described
from scorefield.doctor.columns import column_findings

PLAIN = {"levels": None, "low": None, "high": None}


def test_sound_images_have_no_findings_but_that_they_are_few(pictures, examined, names):
    x = pictures(400)
    found = examined(x, torch.arange(400) % 4, classes=4, test=pictures(20))
    assert {name: finding.severity for name, finding in names(found).items()} == {
        "few samples": "problem"
    }
    assert (found.exact.count, found.near.count, found.overlap.count) == (0, 0, 0)
    assert (found.balance, found.test) == ((100,) * 4, 20)


def test_thousands_are_few_and_more_are_enough(generator, examined, names):
    x = torch.randint(0, 256, (5000, 1, 2, 2), generator=generator).to(torch.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = torch.arange(5000) % 256, torch.arange(5000) // 256
    assert "few samples" not in names(examined(x))
    assert names(examined(x[:1000]))["few samples"].severity == "warning"
    assert "1,000 different images" in names(examined(x[:1000]))["few samples"].text
    assert names(examined(x[:999]))["few samples"].severity == "problem"


def test_copies_to_the_bit(pictures, examined, names):
    x = pictures(50)
    x[20], x[31], x[44] = x[3], x[3], x[8]
    found = examined(x)
    assert (found.exact.count, found.exact.named) == (3, ((3, 20), (3, 31), (8, 44)))
    assert found.near.count == 0
    assert "3 and 20, 3 and 31, 8 and 44" in names(found)["copies"].text
    assert names(found)["copies"].severity == "warning"
    assert names(examined(x[torch.arange(60) % 45]))["copies"].severity == "problem"


@pytest.mark.parametrize("side", [8, 40])
def test_near_copies(pictures, examined, names, generator, side):
    x = pictures(60, side=side)
    noise = torch.randint(-2, 3, (1, side, side), generator=generator)
    x[7] = (x[40].float() * 0.8 + 20).to(torch.uint8)  # other brightness and contrast
    x[52] = (x[9] + noise.int()).clamp(0, 255).to(torch.uint8)
    x[53] = x[9]  # a copy to the bit hides no near copy
    found = examined(x)
    assert (found.exact.count, found.near.count) == (1, 4)
    assert found.near.named == ((7, 40), (9, 52))
    assert "7 and 40, 9 and 52" in names(found)["near copies"].text


def test_near_copies_are_sought_among_a_bounded_number(pictures, examined, monkeypatch):
    monkeypatch.setattr("scorefield.doctor.scan.THUMBNAILS", 25)
    x = pictures(50)
    x[4], x[30], x[31] = x[20] // 2, x[10] // 2, x[11] // 2  # two of even numbers, one of odd
    found = examined(x).near
    assert (found.compared, found.named) == (25, ((4, 20), (10, 30)))


def test_blank_images(pictures, examined, names):
    x = pictures(40)
    x[5], x[17] = 0, 200
    found = names(examined(x))["blank samples"]
    assert (found.samples, found.severity) == ((5, 17), "warning")
    assert "near copies" not in names(examined(x))


def test_ranges_and_levels(pictures, examined, names):
    x = pictures(40)
    assert names(examined((x > 127).to(torch.uint8)))["wrong range"].severity == "problem"
    assert "narrow range" in names(examined(x // 8 + 100))
    few = names(examined(((x > 127) * 255).to(torch.uint8)))
    assert "only 2 of 256 levels" in few["few levels"].text
    assert "wrong range" not in few
    # of two levels, two are all
    both = names(examined((x > 127).to(torch.uint8), levels=2))
    assert both.keys().isdisjoint({"wrong range", "few levels", "narrow range"})


def test_classes(pictures, examined, names):
    label = torch.tensor([0] * 110 + [2] * 10)
    known = {"classes": 3, "class_names": ("cat", "dog", "owl")}
    found = names(examined(pictures(120), label, **known))
    assert (found["empty classes"].severity, found["uneven classes"].severity) == (
        "problem",
        "warning",
    )
    assert found["empty classes"].text.endswith("without a sample: dog")
    assert found["uneven classes"].text == "class cat has 110 samples, class owl has 10"
    assert found["sparse classes"].text.endswith("in 1 class: owl")


def test_test_samples_in_the_training_split(pictures, examined, names):
    train, test = pictures(80), pictures(40)
    test[7], test[9] = train[33], train[2]
    found = examined(train, test=test)
    assert (found.overlap.count, found.overlap.named) == (2, ((33, 7), (2, 9)))
    assert names(found)["test in train"].severity == "problem"
    found = examined(train)
    assert (found.overlap, found.test) == (None, None)
    assert names(found)["no test split"].text == "there is no test split"


def test_files_that_were_skipped(pictures, diagnosed, names):
    data = described(pictures(10), skipped=[Skipped("a/b.png", "not a picture")])
    found = names(diagnosed(data))["broken files"]
    assert found.text == "1 file could not be used: a/b.png (not a picture)"


def test_the_worst_comes_first(pictures, examined):
    x = pictures(40)
    x[1] = 3
    weights = [finding.severity for finding in examined(x).findings]
    assert weights == ["problem", "warning", "note"]


def columns(x, **known):
    data = described(x.float(), **PLAIN)
    data = replace(data, spec=replace(data.spec, **known))
    return {finding.name: finding for finding in column_findings(data)}


def test_columns(generator):
    x = torch.randn(1000, 4, generator=generator, dtype=torch.float64)
    assert columns(x) == {}
    x[:, 1] = 5.0  # constant
    x[:, 2] = 3 - 2 * x[:, 0]  # says the same
    x[:, 3] *= 1000
    x[77, 3] = 1e6
    found = columns(x, columns=("age", "unit", "debt", "pay"))
    assert found["constant columns"].text == "1 column of 4 without change: unit"
    assert found["same columns"].text.endswith("beyond ±0.999: age and debt")
    assert (found["outliers"].samples, found["outliers"].severity) == ((77,), "warning")
    assert found["outliers"].text.endswith("in column pay")
    assert "uneven columns" in found
    assert columns(torch.arange(8.0).reshape(8, 1)) == {}


def test_rows_of_tables_are_not_called_blank(examined, names):
    x = torch.arange(600.0).reshape(600, 1) / 600
    assert names(examined(x, **PLAIN)).keys() == {"no test split"}
    assert names(examined(x[:19], **PLAIN))["few samples"].severity == "warning"


def test_signals_are_counted_by_their_numbers(examined, names, generator):
    x = torch.randn(60, 1, 30, generator=generator)
    found = names(examined(x, **PLAIN))["few samples"]
    assert found.text == "60 samples of 30 numbers each"
    assert "columns" not in found.advice
