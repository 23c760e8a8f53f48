"""Data by name or by path."""

import numpy as np
import pytest

from scorefield.data.arrays import ArrayFile
from scorefield.data.digits import Digits
from scorefield.data.hub import Hub
from scorefield.data.table import Table
from scorefield.data.toy import Moons
from scorefield.errors import InputError
from scorefield.recipes import data_source


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_names_come_first(here):
    (here / "moons").mkdir()
    assert data_source("moons") == Moons()
    assert data_source("digits") == Digits()
    assert data_source("hub:owner/name") == Hub(path="owner/name")


@pytest.mark.parametrize(
    ("name", "kind"), [("a.npz", ArrayFile), ("b.d/A.NPY", ArrayFile), ("c.csv", Table)]
)
def test_files_by_their_endings(here, name, kind):
    (here / "b.d").mkdir()
    np.save(here / "x.npy", np.zeros(3))
    (here / "x.npy").rename(here / name)
    assert data_source(name) == kind(path=name)
    assert data_source(name, ["data.holdout=0.25"]) == kind(path=name, holdout=0.25)


def test_settings_of_what_has_a_name():
    assert data_source("moons", ["data.size=64", "data.noise=0.1"]) == Moons(size=64, noise=0.1)
    with pytest.raises(InputError, match="sise"):
        data_source("moons", ["data.sise=64"])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("mons", "unknown dataset 'mons'.*moons"),
        ("nothing.npz", "there is no file or folder 'nothing.npz'"),
        ("a/b", "there is no file or folder 'a/b'"),
        ("notes.txt", "cannot read data from 'notes.txt'; a folder can be read, and .zip"),
        ("", "got nothing"),
    ],
)
def test_what_is_nothing_is_said_to_be(here, source, words):
    (here / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=words):
        data_source(source)
