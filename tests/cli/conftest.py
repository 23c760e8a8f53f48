"""Runs made by the command line, on digits of 12×12 pixels, for the commands that need one."""

import gzip
import hashlib
import json
import shutil
import struct
from dataclasses import replace

import numpy as np
import pytest

from scorefield.cli.main import main
from scorefield.data import published
from scorefield.data.idx_sets import FILES

IMAGE = ["network.width=8", "network.heads=2", "training.batch=16", "training.compile=off"]
IMAGE += ["training.precision=fp32", "sampling.steps=4"]
POINT = ["data.size=64", "network.width=8", "network.depth=1", "training.batch=16"]
POINT += ["sampling.steps=4"]


@pytest.fixture
def small():
    """Settings of a small recipe for points."""
    return POINT


@pytest.fixture
def strict():
    """Read JSON as any program can: no NaN, no Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return lambda text: json.loads(text, parse_constant=refuse)


def written(folder):
    """The training files of a small MNIST in a folder; returns their checksums."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (40, 12, 12)), np.arange(40) % 10]
    hashes = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(FILES["train"], arrays, strict=True):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        content = header + array.astype(np.uint8).tobytes()
        zipped = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(zipped)
        hashes[name] = tuple(hashlib.sha256(c).hexdigest() for c in (content, zipped))
    return hashes


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Where the runs and the data are."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        small = replace(published.MNIST, hashes=written(folder / "digits"))
        patch.setattr(published, "MNIST", small)
        words = ["train", "mnist", f"data.root={folder / 'digits'}", *IMAGE, "--budget", "6steps"]
        assert main([*words, "-o", str(folder / "images")]) == 0
    words = ["train", "moons", *POINT, "--budget", "6steps"]
    assert main([*words, "-o", str(folder / "points")]) == 0
    return folder


@pytest.fixture
def digits(made, monkeypatch):
    """A folder of digits that `mnist` takes for the real ones."""
    names = FILES["train"]
    files = {name: (made / "digits" / f"{name}.gz").read_bytes() for name in names}
    hashes = {
        name: (
            hashlib.sha256(gzip.decompress(zipped)).hexdigest(),
            hashlib.sha256(zipped).hexdigest(),
        )
        for name, zipped in files.items()
    }
    monkeypatch.setattr(published, "MNIST", replace(published.MNIST, hashes=hashes))
    monkeypatch.delenv("SCOREFIELD_DATA", raising=False)
    return made / "digits"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def work(here, made):
    """A working folder with a run on images and a run on points of its own."""
    for name in ("images", "points"):
        shutil.copytree(made / name, here / name)
    return here


@pytest.fixture
def run(capsys):
    """run("sample", "images"): the lines on standard output of a command that must succeed."""

    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out.splitlines()

    return run
