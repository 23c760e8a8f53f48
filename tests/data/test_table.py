"""Tables: what other libraries wrote comes in as numbers, and goes out in its own units."""

import csv

import numpy as np
import pandas
import pytest
import torch

from scorefield.cli.main import main
from scorefield.data.table import Table
from scorefield.errors import InputError

RNG = np.random.default_rng(11)
FRAME = pandas.DataFrame(
    {
        "height, cm": RNG.normal(170, 9, 60),
        "income": RNG.normal(4e4, 1e4, 60).round(2),
        "year": RNG.integers(1900, 2000, 60),
        "kind": RNG.choice(["tern", "gull", "auk"], 60),
    }
)
NUMBERS = FRAME[["height, cm", "income", "year"]].to_numpy()


def write(folder, text, name="t.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_what_pandas_writes(tmp_path, delimiter, header, given):
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, sep=delimiter, header=header, index=False)
    table = Table(str(path), label="kind" if header else "4", delimiter=delimiter if given else "")
    data = table.load()
    assert np.array_equal(data.x.numpy(), NUMBERS)
    assert data.spec.class_names == ("auk", "gull", "tern")
    assert [data.spec.class_names[i] for i in data.label] == FRAME["kind"].to_list()
    names = ("height, cm", "income", "year") if header else ("1", "2", "3")
    assert data.spec.columns == names
    x, _ = data.batch(torch.arange(60))
    assert np.allclose(x, (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0), atol=1e-5)
    assert data.spec.sigma_data == pytest.approx(1, abs=1e-5)
    assert np.allclose(data.spec.to_arrays(x), NUMBERS, rtol=1e-6)


def test_a_header_of_numbers_is_one_if_told(tmp_path):
    path = write(tmp_path, "2020,2021\n1,2\n3,4\n")
    assert len(Table(path).load()) == 3
    data = Table(path, header="yes").load()
    assert (data.spec.columns, data.x.tolist()) == (("2020", "2021"), [[1, 2], [3, 4]])
    with pytest.raises(InputError, match=r"'a' in line 1, column '1' of .* is not a finite number"):
        Table(write(tmp_path, "a\n1\n2\n"), header="no").load()


def test_columns_are_chosen_and_ordered(tmp_path):
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False, quoting=csv.QUOTE_ALL)
    data = Table(str(path), columns=("year", "height, cm")).load()
    assert np.array_equal(data.x.numpy(), NUMBERS[:, [2, 0]])
    assert (data.label, data.spec.classes) == (None, 0)


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    text = "".join(f"{i},{label}\n" for i, label in enumerate([10, 2, -1, 2, 10]))
    data = Table(write(tmp_path, text), label="2").load()
    assert data.spec.class_names == ("-1", "2", "10")
    assert data.label.tolist() == [2, 1, 0, 1, 2]


def test_classes_may_be_called_as_missing_values_are(tmp_path):
    """NA is a continent, where no class is a number."""
    data = Table(write(tmp_path, "a,b\n1,NA\n2,EU\n3,NA\n"), label="b").load()
    assert data.spec.class_names == ("EU", "NA")


def test_text_as_people_write_it(tmp_path):
    text = "\ufeffa; b\n\n 1 ; 2\n 3; 5e1\n;\n"
    data = Table(write(tmp_path, text)).load()
    assert data.x.tolist() == [[1, 2], [3, 50]]
    assert data.spec.columns == ("a", "b")
    aligned = "  1   2.5\n 10  -3\n"
    assert Table(write(tmp_path, aligned)).load().x.tolist() == [[1, 2.5], [10, -3]]
    one = "x\n1\n2\n"
    assert Table(write(tmp_path, one)).load().x.tolist() == [[1], [2]]


def test_numbers_far_from_zero_keep_their_spread(tmp_path):
    x = 1.6e9 + np.arange(50.0)
    data = Table(write(tmp_path, "\n".join(map(str, x)))).load()
    model, _ = data.batch(torch.arange(50))
    assert np.allclose(model[:, 0], (x - x.mean()) / x.std(), atol=1e-6)


def test_a_test_split_in_the_units_of_the_training_rows(tmp_path):
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False)
    table = Table(str(path), label="kind", holdout=0.3)
    train, test = table.load("train"), table.load("test")
    assert len(train) + len(test) == 60
    assert test.spec.center == train.spec.center == pytest.approx(train.x.mean(0).tolist())
    assert test.spec.class_names == train.spec.class_names
    with pytest.raises(InputError, match="there is no test split"):
        Table(str(path), label="kind").load("test")


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        ("a,b\n1,2\n3,\n", {}, r"a value is missing in line 3, column 'b' of .*t\.csv"),
        ("a,b\n1,2\nNaN,4\n", {}, "a value is missing in line 3, column 'a'"),
        ("a,b\n1,2\n?,4\n", {}, "a value is missing in line 3, column 'a'"),
        ("a,b\n1,2\n\n3,four\n", {}, "'four' in line 4, column 'b' of .* is not a finite number"),
        ("a,b\n1,2\n3,inf\n", {}, "'inf' in line 3, column 'b'"),
        ("1,2\n3\n", {"delimiter": ","}, "line 2 of .* has 1 cells, the first row 2"),
        ("a,b\n1,7\n2,7\n", {}, "column 'b' of .* is 7 in every row; leave it out"),
        ("a,a\n1,2\n", {}, "two columns of .* are called 'a'"),
        ("a,b\n1,2\n3,4\n", {"label": "c"}, r"unknown column 'c' \(known: a, b\)"),
        ("a,b\n1,2\n3,4\n", {"columns": ("a", "B")}, "unknown column 'B'"),
        ("a,b\n1,2\n3,4\n", {"columns": ("a",), "label": "a"}, "both the label and a number"),
        ("a,b\n1,2\n3,4\n", {"columns": ("a", "a")}, "columns must differ"),
        ("a,b\n1,x\n2,\n", {"label": "b"}, "a value is missing in line 3, column 'b'"),
        ("a,b\n1,2\n2,NaN\n3,1\n", {"label": "b"}, "a value is missing in line 3, column 'b'"),
        ("a\n1\n2\n", {"label": "a"}, "has no column besides the label"),
        ("a,b\n", {}, "has a header and no rows"),
        ("\n\n", {}, "is empty"),
        ("", {}, "is empty"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, settings, sentence):
    with pytest.raises(InputError, match=sentence):
        Table(write(tmp_path, text), **settings).load()


def test_files_and_settings_that_are_refused(tmp_path):
    (tmp_path / "latin.csv").write_bytes("größe\n1\n".encode("latin-1"))
    for path in ("latin.csv", "none.csv", "."):
        with pytest.raises(InputError, match="cannot read"):
            Table(str(tmp_path / path)).load()
    with pytest.raises(InputError, match="the path of a table is needed"):
        Table().load()
    with pytest.raises(InputError, match="delimiter must be one character"):
        Table(delimiter=",,")
    with pytest.raises(InputError, match="holdout must lie"):
        Table(holdout=-0.1)


def test_samples_come_out_in_the_tables_units(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FRAME.to_csv("t.csv", index=False)
    words = ["train", "moons", "data={kind: csv, path: t.csv, label: kind}", "network.width=16"]
    tiny = ["network.depth=1", "training.batch=16", "training.ema=0", "--budget", "8steps"]
    assert main([*words, *tiny, "-o", "run"]) == 0
    assert main(["sample", "run", "-n", "300", "--steps", "5", "-o", "out.npz"]) == 0
    with np.load("out.npz") as out:
        assert out["columns"].tolist() == ["height, cm", "income", "year"]
        away = (out["samples"] - NUMBERS.mean(0)) / NUMBERS.std(0)
        assert set(out["labels"].tolist()) == {0, 1, 2}
    assert np.abs(away.mean(0)).max() < 1
    assert 0.3 < away.std() < 3
