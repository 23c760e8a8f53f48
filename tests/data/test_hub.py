"""Data sets that Hugging Face's library wrote to a disk, read back from its formats."""

import io
import sys

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data import hub
from scorefield.data.holdout import chosen
from scorefield.data.hub import Hub
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError

RNG = np.random.default_rng(2)
RGB = RNG.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (10, 6, 5), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (10, 6, 5), dtype=np.uint16)
LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
TEXT = [f"a picture, number {i}" for i in range(10)]


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def made(images, **columns):
    features = {"image": datasets.Image()}
    columns = {"label": LABELS[: len(images)], **columns}
    features["label"] = datasets.ClassLabel(names=["ant", "bee", "cat"])
    features |= {name: datasets.Value("string") for name in columns if name != "label"}
    pictures = [Image.fromarray(i) if isinstance(i, np.ndarray) else i for i in images]
    return datasets.Dataset.from_dict(
        {"image": pictures, **columns}, features=datasets.Features(features)
    )


@pytest.fixture(params=["disk", "parquet", "folder", "one"])
def place(request, tmp_path):
    """A small data set in each local form: its path, and whether it has a test split."""
    train, test = made(RGB, text=TEXT), made(RGB[:3])
    if request.param == "disk":
        datasets.DatasetDict(train=train, test=test.add_column("text", TEXT[:3])).save_to_disk(
            tmp_path / "d"
        )
        return tmp_path / "d", True
    if request.param == "one":
        train.save_to_disk(tmp_path / "d")
        return tmp_path / "d", False
    if request.param == "parquet":
        train.to_parquet(tmp_path / "d.parquet")
        return tmp_path / "d.parquet", False
    (tmp_path / "d").mkdir()
    train.to_parquet(tmp_path / "d" / "train-00000-of-00001.parquet")
    made(RGB[:3], text=TEXT[:3]).to_parquet(tmp_path / "d" / "test-00000-of-00001.parquet")
    return tmp_path / "d", True


def test_local_forms(place):
    path, has_test = place
    data = Hub(str(path)).load()
    assert np.array_equal(data.x.numpy(), RGB.transpose(0, 3, 1, 2))
    assert data.label.tolist() == LABELS
    assert data.caption == tuple(TEXT)
    assert (data.spec.classes, data.spec.class_names) == (3, ("ant", "bee", "cat"))
    assert (data.spec.shape, data.spec.levels, data.skipped) == ((3, 6, 5), 256, ())
    values = RGB / 127.5 - 1
    assert data.spec.mean == pytest.approx(values.mean((0, 1, 2)), abs=1e-5)
    if has_test:
        assert np.array_equal(Hub(str(path)).load("test").x, RGB[:3].transpose(0, 3, 1, 2))
    else:
        with pytest.raises(InputError, match="test"):
            Hub(str(path)).load("test")
    parts = [Hub(str(path), holdout=0.4).load(split) for split in ("train", "test")]
    assert sorted(c for part in parts for c in part.caption) == sorted(TEXT)


def test_large_sets_are_decoded_as_they_are_asked_for(tmp_path, monkeypatch):
    made(RGB).save_to_disk(tmp_path / "d")
    held = Hub(str(tmp_path / "d")).load()
    monkeypatch.setattr(hub, "MEMORY", 10)
    streamed = Hub(str(tmp_path / "d")).load()
    assert isinstance(streamed, Streamed)
    assert streamed.spec == held.spec
    some = torch.tensor([7, 0, 7, 9])
    for one, other in zip(streamed.batch(some), held.batch(some), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("large", [False, True])
def test_modes(tmp_path, monkeypatch, large):
    monkeypatch.setattr(hub, "MEMORY", 0 if large else 1 << 20)

    def loaded(images, **settings):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        made(images).save_to_disk(path)
        data = Hub(str(path), **settings).load()
        return data.stored(torch.arange(len(data))).numpy(), data.spec

    stored, spec = loaded(GRAY)
    assert np.array_equal(stored[:, 0], GRAY)
    stored, spec = loaded(DEEP)
    assert (spec.levels, spec.shape) == (65536, (1, 6, 5))
    assert np.array_equal(stored[:, 0], DEEP)
    stored, spec = loaded([*GRAY[:2], *RGB[:2]])  # one in colour, then all
    assert np.array_equal(stored[:2], GRAY[:2, None].repeat(3, 1))
    assert np.array_equal(stored[2:], RGB[:2].transpose(0, 3, 1, 2))
    opaque = np.broadcast_to(np.where(np.arange(5) < 2, 0, 255)[:, None], (10, 6, 5, 1))
    stored, spec = loaded(np.concatenate([RGB, opaque], 3).astype(np.uint8))
    assert (stored[..., :2] == 255).all()
    assert np.array_equal(stored[..., 2:], RGB.transpose(0, 3, 1, 2)[..., 2:])
    palette = [Image.fromarray(i).quantize(256) for i in RGB[:3]]
    stored, spec = loaded(palette)
    expected = [np.array(p.convert("RGB")) for p in palette]
    assert np.array_equal(stored, np.stack(expected).transpose(0, 3, 1, 2))
    with pytest.raises(InputError, match="do not go together"):
        loaded([*GRAY[:2], *DEEP[:2]])


def test_one_picture_in_colour_makes_both_splits_so(tmp_path):
    pictures = list(GRAY)
    pictures[chosen(10, 0.4, "train")[0]] = RGB[0]
    made(pictures).save_to_disk(tmp_path / "d")
    parts = [Hub(str(tmp_path / "d"), holdout=0.4).load(split) for split in ("train", "test")]
    assert [part.spec.shape for part in parts] == [(3, 6, 5)] * 2
    assert sum(map(len, parts)) == 10


def test_sizes(tmp_path):
    wide = [np.full((8, 8 + 4 * i, 3), 40 * i, np.uint8) for i in range(3)]
    made(wide).save_to_disk(tmp_path / "d")
    with pytest.raises(InputError, match=r"have 3 sizes, such as \d+×8 and .*; .* data\.side=32"):
        Hub(str(tmp_path / "d")).load()
    data = Hub(str(tmp_path / "d"), side=4).load()
    assert data.x.flatten(1).unique(dim=1).tolist() == [[0], [40], [80]]
    assert data.spec.shape == (3, 4, 4)


def test_broken_images_are_skipped_and_named(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(RGB[0]).save(whole, "png")
    broken = [
        {"bytes": b"not a picture", "path": None},
        {"bytes": whole.getvalue()[:60], "path": None},
    ]
    made([*RGB[:2], None, *broken, RGB[5]], text=TEXT[:6]).save_to_disk(tmp_path / "d")
    data = Hub(str(tmp_path / "d")).load()
    assert np.array_equal(data.x, RGB[[0, 1, 5]].transpose(0, 3, 1, 2))
    assert data.label.tolist() == [0, 1, 2]
    assert data.caption == tuple(TEXT[i] for i in (0, 1, 5))
    assert [name for name, _ in data.skipped] == ["row 2", "row 3", "row 4"]
    assert data.skipped[0].reason == "no image"
    assert all(reason for _, reason in data.skipped)
    with pytest.raises(InputError, match=r"only \d+ of \d+ images in .* row 2: "):
        Hub(str(tmp_path / "d"), strict=True).load()
    made(broken).save_to_disk(tmp_path / "all")
    with pytest.raises(InputError, match="no usable image in 2 rows"):
        Hub(str(tmp_path / "all")).load()


def test_columns_are_found_or_given(tmp_path):
    pictures = [Image.fromarray(i) for i in GRAY[:4]]
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "mask": datasets.Image(),
            "fine": datasets.ClassLabel(names=["a", "b"]),
            "coarse": datasets.ClassLabel(names=["c"]),
            "number": datasets.Value("int64"),
            "word": datasets.Value("string"),
            "said": datasets.List(datasets.Value("string")),
        }
    )
    columns = {
        "img": pictures,
        "mask": pictures[::-1],
        "fine": [0, 1, 0, 1],
        "coarse": [0] * 4,
        "number": [10, 9, 10, 2],
        "word": ["y", "x", "y", "x"],
        "said": [["one", "two"], [], ["three"], ["four"]],
    }
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "d")

    def loaded(**settings):
        return Hub(str(tmp_path / "d"), **settings).load()

    with pytest.raises(InputError, match=r"there are 2 image columns; .* data\.image=img"):
        loaded()
    with pytest.raises(InputError, match=r"there are 2 label columns.*\(fine, coarse, or none\)"):
        loaded(image="img")
    with pytest.raises(InputError, match="column 'fine' has no images but ClassLabel"):
        loaded(image="fine")
    with pytest.raises(InputError, match=r"unknown column 'imgs'; did you mean 'img'"):
        loaded(image="imgs")
    data = loaded(image="mask", label="fine", caption="said")
    assert np.array_equal(data.x[:, 0], GRAY[:4][::-1])
    assert (data.label.tolist(), data.spec.class_names) == ([0, 1, 0, 1], ("a", "b"))
    assert data.caption == ("one", "", "three", "four")
    data = loaded(image="img", label="number")
    assert (data.label.tolist(), data.spec.class_names) == ([2, 1, 2, 0], ("2", "9", "10"))
    data = loaded(image="img", label="word")
    assert (data.label.tolist(), data.spec.class_names) == ([1, 0, 1, 0], ("x", "y"))
    data = loaded(image="img", label="none")
    assert (data.label, data.spec.classes, data.caption) == (None, 0, None)
    with pytest.raises(InputError, match="column 'said' has values that are no classes"):
        loaded(image="img", label="said")


def test_what_cannot_be_loaded(tmp_path, monkeypatch):
    for path in (str(tmp_path / "none"), "./none"):
        with pytest.raises(InputError, match="there is no folder"):
            Hub(path).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"cannot load the split 'train' of .*empty"):
        Hub(str(tmp_path / "empty")).load()
    made(RGB).save_to_disk(tmp_path / "d")
    with pytest.raises(InputError, match="has no split 'val'; it has train"):
        Hub(str(tmp_path / "d"), test="val").load("test")
    with pytest.raises(InputError, match=r"a data set is needed, as in data.path=ylecun/mnist"):
        Hub().load()
    with pytest.raises(InputError, match="split must be"):
        Hub("x").load("valid")
    for settings, sentence in (({"side": -1}, "side must be"), ({"holdout": 1.0}, "holdout must")):
        with pytest.raises(InputError, match=sentence):
            Hub(**settings)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'pip install "scorefield\[hub\]"'):
        Hub(str(tmp_path / "d")).load()
