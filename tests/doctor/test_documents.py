"""What a doctor leaves behind: a recipe that trains as it stands, JSON, a page, pictures."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from scorefield.data.base import described
from scorefield.data.digits import Digits
from scorefield.data.hub import Hub
from scorefield.doctor import (
    Examination,
    contact_sheet,
    facts,
    histograms,
    prescribe,
    write_documents,
)
from scorefield.recipes import find_recipe, to_dict
from scorefield.viz import image_grid


@pytest.fixture(scope="module")
def digits():
    return Examination(Digits())


def fitted(diagnosis, dataset, *wishes):
    return prescribe(diagnosis, dataset, "2m", wishes, measure=lambda recipe, spec: 200.0)


@pytest.mark.parametrize(
    ("dataset", "wishes"),
    [
        (Digits(), ["training.compile=off", "network.attention=[0, 1]"]),
        (
            Hub(path="a/b: c # d", revision="'quoted' \"twice\""),
            ["training.lr=1e-7", "schedule=ddpm"],
        ),
    ],
)
def test_the_recipe_file_is_the_recipe(digits, dataset, wishes, tmp_path):
    prescription = fitted(digits.diagnosis, dataset, *wishes)
    write_documents(tmp_path / "new", digits.diagnosis, prescription, "line\nbreak")
    file = tmp_path / "new" / "recipe.yaml"
    assert find_recipe(str(file)) == prescription.recipe
    # another reader understands the same
    plain = json.loads(json.dumps(to_dict(prescription.recipe)))
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == plain


def test_a_comment_with_its_reason_stands_above_each_choice(digits, tmp_path):
    prescription = fitted(digits.diagnosis, Digits())
    write_documents(tmp_path, digits.diagnosis, prescription, "digits")
    lines = (tmp_path / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    text = " ".join(line.strip().lstrip("# ") for line in lines)
    for choice in prescription.choices:
        assert f"{choice.reason} [{choice.basis}]" in text
    place = next(i for i, line in enumerate(lines) if line.startswith("  sigma_max:"))
    assert lines[place - 1].startswith("  # ")
    assert max(map(len, lines)) <= 100


def test_facts_are_json_and_the_page_tells_of_all(digits, tmp_path):
    prescription = fitted(digits.diagnosis, Digits())
    write_documents(tmp_path, digits.diagnosis, prescription, "digits")
    found = json.loads((tmp_path / "doctor.json").read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(facts(digits.diagnosis, prescription, "digits")))
    assert (found["count"], found["shape"], found["levels_used"]) == (1437, [1, 8, 8], 17)
    assert sum(found["balance"]) == 1437
    assert found["distance"]["exact"] is True
    page = (tmp_path / "doctor.md").read_text(encoding="utf-8")
    for finding in digits.diagnosis.findings:
        assert finding.text in page
    for choice in prescription.choices:
        assert choice.reason in page


@pytest.mark.parametrize(("classes", "each"), [(1, 100), (4, 20), (12, 10)])
def test_a_contact_sheet_has_whole_rows_of_each_class(pictures, classes, each):
    label = torch.arange(480) % classes
    x = pictures(480)
    shown = []
    for c in sorted({round(c) for c in np.linspace(0, classes - 1, 10)}):
        members = torch.nonzero(label == c).flatten()
        shown += members[np.linspace(0, len(members) - 1, each).round().astype(int)].tolist()
    expected = image_grid(x[shown].movedim(1, -1).numpy(), 10)
    sheet = contact_sheet(described(x, label, classes=classes))
    assert np.array_equal(np.asarray(sheet), np.asarray(expected))


def test_large_images_are_reduced_and_points_are_drawn(generator):
    x = torch.zeros(12, 3, 600, 300, dtype=torch.uint8)
    x[1:, 0] = 255  # the first black, the others red
    sheet = np.asarray(contact_sheet(described(x)))
    assert sheet.shape[:2] == (2 * 162 + 2, 10 * 82 + 2)
    assert sheet[80, 40].tolist() == [0, 0, 0]
    assert sheet[80, 120].tolist() == [255, 0, 0]
    for shape in [(50, 2), (50, 1, 16)]:
        points = torch.randn(shape, generator=generator)
        data = described(points, levels=None, low=None, high=None)
        assert isinstance(contact_sheet(data), Image.Image)


def test_histograms_have_bars_beside_them_for_classes(digits):
    both = histograms(digits.diagnosis)
    alone = histograms(replace(digits.diagnosis, balance=()))
    assert both.width > alone.width
    for picture in (both, alone):
        assert len(set(picture.convert("L").get_flattened_data())) > 20


@pytest.mark.parametrize("side", [8, 20])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 2])
def test_documents_of_images_of_every_kind(pictures, diagnosed, side, channels, classes, tmp_path):
    label = torch.arange(40) % classes if classes else None
    diagnosis = diagnosed(described(pictures(40, channels, side), label, classes=classes))
    prescription = fitted(diagnosis, Digits())
    write_documents(tmp_path, diagnosis, prescription, "pictures")
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    small, guided = side < 16, classes and channels == 1 and side >= 16
    assert ("DPM-Solver++" in text) == small
    assert ("Gaussian-residual" in text) == (not small)
    assert ("guidance: 1.5" in text) == bool(guided)
