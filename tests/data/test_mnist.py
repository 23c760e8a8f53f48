"""MNIST from files, from a download, and the part of it that comes with the package."""

import gzip
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from scorefield.data import published
from scorefield.data.idx_sets import FILES
from scorefield.data.mnist import MNIST, MNIST10k
from scorefield.errors import InputError
from scorefield.recipes import to_dict


def expected(files, split):
    images, labels = (np.frombuffer(files[name], np.uint8) for name in FILES[split])
    return images[16:].reshape(-1, 1, 6, 5), labels[8:].astype(np.int64)


@pytest.mark.parametrize("zipped", [False, True], ids=["raw", "gzip"])
@pytest.mark.parametrize("inside", ["", "mnist"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_from_a_root(tmp_path, files, write, split, inside, zipped):
    write(tmp_path / inside, files, zipped=zipped)
    arrays = MNIST(root=str(tmp_path)).load(split)
    images, labels = expected(files, split)
    assert np.array_equal(arrays.x.numpy(), images)
    assert np.array_equal(arrays.label.numpy(), labels)
    assert arrays.label.dtype == torch.int64
    assert (arrays.spec.shape, arrays.spec.classes, arrays.spec.levels) == ((1, 6, 5), 10, 256)


def test_from_the_environment(tmp_path, files, write, monkeypatch):
    monkeypatch.setenv("SCOREFIELD_DATA", str(tmp_path))
    write(tmp_path / "mnist", files)
    assert np.array_equal(MNIST().load().x.numpy(), expected(files, "train")[0])


def test_the_root_comes_before_the_environment(tmp_path, files, write, monkeypatch):
    write(tmp_path / "right", files)
    write(tmp_path / "wrong", dict.fromkeys(files, b"not these"))
    monkeypatch.setenv("SCOREFIELD_DATA", str(tmp_path / "wrong"))
    assert len(MNIST(root=str(tmp_path / "right")).load()) == 24
    with pytest.raises(InputError, match=r"wrong.*is damaged"):
        MNIST().load()


def test_files_that_are_missing(tmp_path, files, write, monkeypatch):
    name = FILES["train"][1]
    write(tmp_path / "part", {k: v for k, v in files.items() if k != name})
    for root in ("part", "nowhere"):
        missing = name if root == "part" else FILES["train"][0]
        with pytest.raises(InputError, match=f"no {missing} or {missing}.gz in .*{root}"):
            MNIST(root=str(tmp_path / root)).load()
    # a folder of many data sets may lack one: then the network is asked, and the error tells of both
    monkeypatch.setenv("SCOREFIELD_DATA", str(tmp_path / "part"))
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(
        published, "MNIST", replace(published.MNIST, mirrors=("http://127.0.0.1:9/",))
    )
    with pytest.raises(
        InputError, match=rf"cannot download {name}\.gz .*SCOREFIELD_DATA \(.*part\)"
    ):
        MNIST().load()


def test_files_of_another_data_set(tmp_path, files, write, idx):
    other = {name: idx(np.zeros((3, 6, 5))) for name in files}
    write(tmp_path, other, zipped=True)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is damaged"):
        MNIST(root=str(tmp_path)).load()


@pytest.mark.parametrize("data", [MNIST(root="x"), MNIST10k()])
def test_unknown_split(data):
    with pytest.raises(InputError, match="split must be 'train' or 'test', got 'valid'"):
        data.load("valid")


def test_download_from_the_second_mirror_and_the_cache(tmp_path, files, site, monkeypatch):
    for name, content in files.items():
        site.pages[f"/good/{name}.gz"] = gzip.compress(content, mtime=0)
    mirrors = (f"{site.address}/gone/", f"{site.address}/good/")
    monkeypatch.setattr(published, "MNIST", replace(published.MNIST, mirrors=mirrors))
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "cache")
    first = MNIST().load("test")
    assert np.array_equal(first.x.numpy(), expected(files, "test")[0])
    assert len(site.asked) == 4  # two files, each refused once
    assert torch.equal(MNIST().load("test").x, first.x)
    assert len(site.asked) == 4


def test_checksums_are_those_of_the_published_files():
    # sha256 of the four .gz files that both mirrors serve, as public download scripts list them.
    listed = {
        "train-images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    }
    found = {
        "-".join(name.split("-")[:2]): zipped
        for name, (_, zipped) in published.MNIST.hashes.items()
    }
    assert found == listed
    assert all(re.fullmatch("[0-9a-f]{64}", raw) for raw, _ in published.MNIST.hashes.values())
    assert all(m.startswith("https://") and m.endswith("/") for m in published.MNIST.mirrors)
    assert len(published.MNIST.mirrors) >= 2


@pytest.fixture(scope="module")
def embedded():
    return MNIST10k().load()


def test_embedded_images_are_the_first_of_the_published_file(embedded):
    # Derived from the published train-images-idx3-ubyte and train-labels-idx1-ubyte: the sha256 of
    # bytes 16 … 16 + 10,000·784 and 8 … 10,008.
    images = "2f7182bf021ffc5c1f62db987487f14d899b5c639f421a80f3095affc09a7db2"
    labels = "2f345bad07338ec537641465e169cc4b7288a44244f251211c7f842641e7d927"
    assert embedded.x.shape == (10_000, 1, 28, 28)
    assert hashlib.sha256(embedded.x.numpy().tobytes()).hexdigest() == images
    stored = embedded.label.numpy().astype(np.uint8)
    assert hashlib.sha256(stored.tobytes()).hexdigest() == labels
    assert stored[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # as in every tutorial


def test_embedded_images_are_held_once_as_bytes_and_described(embedded):
    assert embedded.x.dtype == torch.uint8
    assert embedded.label.bincount().min() > 800
    assert embedded.spec.classes == len(embedded.label.bincount()) == 10
    values = embedded.x.numpy().astype(np.float64) / 127.5 - 1
    assert embedded.spec.mean == pytest.approx([values.mean()], rel=1e-6)
    assert embedded.spec.sigma_data == pytest.approx(values.std(), rel=1e-6)


def test_embedded_images_have_no_test_split():
    with pytest.raises(InputError, match="mnist10k has no test split; mnist has one"):
        MNIST10k().load("test")


def test_the_description_is_light():
    assert json.loads(json.dumps(to_dict(MNIST(root="a/b")))) == {"kind": "mnist", "root": "a/b"}
