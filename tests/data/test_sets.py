"""The named sets: small files in the published formats, from folders and from a web site."""

import gzip
import hashlib
import io
import re
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from scorefield.data import published
from scorefield.data.cifar import CIFAR10, CIFAR100
from scorefield.data.digits import Digits
from scorefield.data.idx_sets import FILES, KMNIST, FashionMNIST
from scorefield.errors import InputError

TABLES = ["MNIST", "FASHION_MNIST", "KMNIST", "CIFAR10", "CIFAR100"]
IDX_SETS = {"FASHION_MNIST": FashionMNIST, "KMNIST": KMNIST}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def idx_set(idx, seed):
    rng = np.random.default_rng(seed)
    made = {}
    for images, labels in FILES.values():
        made[images] = idx(rng.integers(0, 256, (24, 6, 5)))
        made[labels] = idx(rng.permutation(np.arange(24) % 10))
    return made


@pytest.fixture
def sets(idx, monkeypatch):
    """Small files of Fashion-MNIST and KMNIST, with the tables of the package set to their checksums."""
    monkeypatch.delenv("SCOREFIELD_DATA", raising=False)
    made = {}
    for seed, table in enumerate(IDX_SETS):
        files = made[table] = idx_set(idx, seed)
        # as it is in truth: an md5 is known of the one's raw files, nothing of the other's
        hashes = {
            name: (
                hashlib.md5(content).hexdigest() if table == "FASHION_MNIST" else "",
                sha256(gzip.compress(content, mtime=0)),
            )
            for name, content in files.items()
        }
        monkeypatch.setattr(published, table, replace(getattr(published, table), hashes=hashes))
    return made


@pytest.mark.parametrize("zipped", [False, True], ids=["raw", "gzip"])
@pytest.mark.parametrize("table", IDX_SETS)
def test_idx_sets_from_a_folder_of_data_sets(tmp_path, sets, monkeypatch, table, zipped):
    known = getattr(published, table)
    for other, files in sets.items():
        folder = tmp_path / getattr(published, other).folder
        folder.mkdir()
        for name, content in files.items():
            stored = gzip.compress(content, mtime=0) if zipped else content
            (folder / (f"{name}.gz" if zipped else name)).write_bytes(stored)
    monkeypatch.setenv("SCOREFIELD_DATA", str(tmp_path))
    for split, (images, labels) in FILES.items():
        found = IDX_SETS[table]().load(split)
        expected = np.frombuffer(sets[table][images], np.uint8)[16:].reshape(24, 1, 6, 5)
        assert np.array_equal(found.x.numpy(), expected)
        assert found.label.tolist() == list(sets[table][labels][8:])
        assert found.spec.class_names == known.class_names
    assert len(known.class_names) == 10


@pytest.mark.parametrize("table", IDX_SETS)
def test_files_beside_other_sets_are_not_taken_for_kin_of_mnist(tmp_path, sets, monkeypatch, table):
    for name, content in sets[table].items():
        (tmp_path / name).write_bytes(content)
    assert len(IDX_SETS[table](root=str(tmp_path)).load()) == 24
    monkeypatch.setenv("SCOREFIELD_DATA", str(tmp_path))
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "cache")
    known = replace(getattr(published, table), mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setattr(published, table, known)
    with pytest.raises(InputError, match=r"cannot download train-images-idx3-ubyte\.gz"):
        IDX_SETS[table]().load()


@pytest.mark.parametrize("zipped", [False, True], ids=["raw", "gzip"])
def test_a_set_of_the_same_file_names_is_named(tmp_path, sets, zipped):
    for name, content in sets["FASHION_MNIST"].items():
        stored = gzip.compress(content, mtime=0) if zipped else content
        (tmp_path / (f"{name}.gz" if zipped else name)).write_bytes(stored)
    assert len(FashionMNIST(root=str(tmp_path)).load()) == 24
    sentence = r"train-images\S* belongs to Fashion-MNIST, not to KMNIST"
    with pytest.raises(InputError, match=sentence):
        KMNIST(root=str(tmp_path)).load()


def test_a_damaged_file_of_a_set(tmp_path, sets):
    for name, content in sets["FASHION_MNIST"].items():
        (tmp_path / name).write_bytes(content[:-1] + b"\x07")
    with pytest.raises(InputError, match="is damaged: its md5 is"):
        FashionMNIST(root=str(tmp_path)).load()
    for name, content in sets["KMNIST"].items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content[:-1] + b"\x07"))
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match="is damaged: its sha256 is"):
        KMNIST(root=str(tmp_path)).load()


def test_sets_of_the_same_file_names_share_a_cache(tmp_path, sets, site, monkeypatch):
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path)
    for table, files in sets.items():
        known = getattr(published, table)
        for name, content in files.items():
            site.pages[f"/{known.folder}/{name}.gz"] = gzip.compress(content, mtime=0)
        mirrors = (f"{site.address}/{known.folder}/",)
        monkeypatch.setattr(published, table, replace(known, mirrors=mirrors))
    for _ in range(2):
        fashion, kuzushiji = FashionMNIST().load(), KMNIST().load()
        assert len(site.asked) == 4
    assert not np.array_equal(fashion.x, kuzushiji.x)


def records(count, label_bytes, classes, seed):
    """Records of a binary CIFAR file as its page says: labels, then 1,024 red, green and blue bytes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (count, label_bytes), dtype=np.uint8)
    labels[:, :-1] //= 5  # the coarse ones
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
    return images, labels[:, -1], np.concatenate([labels, planes], 1).tobytes()


CIFARS = {
    "CIFAR10": (
        CIFAR10,
        "cifar-10-binary.tar.gz",
        "cifar-10-batches-bin",
        [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"],
        1,
    ),
    "CIFAR100": (
        CIFAR100,
        "cifar-100-binary.tar.gz",
        "cifar-100-binary",
        ["train.bin", "test.bin"],
        2,
    ),
}


@pytest.fixture(params=CIFARS)
def cifar(request, tmp_path, monkeypatch):
    """A small CIFAR: its class, its archive, its inner folder unpacked, and what is in it."""
    monkeypatch.delenv("SCOREFIELD_DATA", raising=False)
    cls, archive, folder, names, label_bytes = CIFARS[request.param]
    classes = len(getattr(published, request.param).class_names)
    parts = [records(3, label_bytes, classes, seed) for seed in range(len(names))]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, (_, _, content) in zip(names, parts, strict=True):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / archive).write_bytes(packed.getvalue())
    (tmp_path / "loose" / folder).mkdir(parents=True)
    for name, (_, _, content) in zip(names, parts, strict=True):
        (tmp_path / "loose" / folder / name).write_bytes(content)
    hashes = {archive: ("", sha256(packed.getvalue()))}
    known = replace(getattr(published, request.param), hashes=hashes)
    monkeypatch.setattr(published, request.param, known)
    return cls, archive, folder, parts


def same(arrays, parts):
    """Whether arrays hold these parts, by the way there and the way back to (N, H, W, C)."""
    images = np.concatenate([images for images, _, _ in parts])
    back = arrays.spec.to_arrays(arrays.spec.to_model(arrays.x))
    labels = np.concatenate([labels for _, labels, _ in parts])
    return np.array_equal(back, images) and arrays.label.tolist() == labels.tolist()


@pytest.mark.parametrize("place", ["packed", "loose", "inside"])
def test_cifar_from_its_archive_and_its_folder(tmp_path, cifar, place):
    cls, _, folder, parts = cifar
    root = tmp_path / "loose" / folder if place == "inside" else tmp_path / place
    assert same(cls(root=str(root)).load("train"), parts[:-1])
    test = cls(root=str(root)).load("test")
    assert same(test, parts[-1:])
    assert test.spec.shape == (3, 32, 32)
    assert test.spec.classes == len(test.spec.class_names)


def test_cifar_from_the_network_and_from_a_folder_of_data_sets(
    tmp_path, cifar, site, monkeypatch, request
):
    cls, archive, _, parts = cifar
    table = request.node.callspec.params["cifar"]
    known = replace(getattr(published, table), mirrors=(f"{site.address}/",))
    monkeypatch.setattr(published, table, known)
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "cache")
    site.pages[f"/{archive}"] = (tmp_path / "packed" / archive).read_bytes()
    assert same(cls().load(), parts[:-1])
    assert (tmp_path / "cache" / known.folder / archive).is_file()
    (tmp_path / "packed").rename(tmp_path / known.folder)
    monkeypatch.setenv("SCOREFIELD_DATA", str(tmp_path))
    monkeypatch.setattr(published, "cache_folder", lambda: tmp_path / "elsewhere")
    assert same(cls().load(), parts[:-1])
    assert len(site.asked) == 1


def test_cifar_files_that_are_damaged(tmp_path, cifar):
    cls, archive, folder, _ = cifar
    packed = tmp_path / "packed" / archive
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(InputError, match=rf"{archive} is damaged: its sha256"):
        cls(root=str(tmp_path / "packed")).load()
    (first,) = list((tmp_path / "loose" / folder).glob("t*st*.bin"))
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(InputError, match=rf"{first.name} in .* is cut off.* records of 307[34]"):
        cls(root=str(tmp_path / "loose")).load("test")
    first.unlink()
    with pytest.raises(InputError, match=rf"cannot read .*{first.name}"):
        cls(root=str(tmp_path / "loose")).load("test")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"no {folder} or {archive} or .* in .*empty"):
        cls(root=str(tmp_path / "empty")).load()
    with pytest.raises(InputError, match="split must be 'train' or 'test', got 'valid'"):
        cls(root=str(tmp_path / "loose")).load("valid")


def test_tables_are_whole():
    for table in TABLES:
        known = getattr(published, table)
        assert len(known.mirrors) >= 2
        assert all(re.match("https?://.*/$", mirror) for mirror in known.mirrors)
        for unpacked, packed in known.hashes.values():
            assert re.fullmatch("[0-9a-f]{64}", packed)
            assert re.fullmatch("|[0-9a-f]{32}|[0-9a-f]{64}", unpacked)
        assert len(set(known.class_names)) == len(known.class_names)
    assert (len(published.CIFAR10.class_names), len(published.CIFAR100.class_names)) == (10, 100)
    # the authors give the fine classes of CIFAR-100 in the order of the alphabet
    assert list(published.CIFAR100.class_names) == sorted(published.CIFAR100.class_names)
    every = [h for t in TABLES for pair in getattr(published, t).hashes.values() for h in pair if h]
    assert len(every) == len(set(every))


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    train, test = Digits().load("train"), Digits().load("test")
    assert (len(train), len(test)) == (1437, 360)
    both = np.concatenate([train.x.numpy(), test.x.numpy()]).reshape(1797, 64)
    assert np.array_equal(both, images)
    assert [*train.label.tolist(), *test.label.tolist()] == labels.tolist()
    assert np.bincount(test.label).min() >= 33
    x, _ = train.batch(np.arange(2))
    assert np.allclose(x.numpy().reshape(2, 64), images[:2] / 8 - 1)
    with pytest.raises(InputError, match="split must be"):
        Digits().load("valid")
