"""Array files: what NumPy wrote is read as it was, in its own units; what does not fit is refused."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from scorefield.cli.main import main
from scorefield.data.arrays import ArrayFile
from scorefield.data.base import DataSpec
from scorefield.data.holdout import chosen
from scorefield.data.units import units
from scorefield.errors import InputError
from scorefield.models import load

RNG = np.random.default_rng(5)
GRAY = RNG.integers(0, 256, (12, 7, 6), dtype=np.uint8)
RGB = RNG.integers(0, 256, (12, 7, 6, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 7, 6), dtype=np.uint16)
POINTS = RNG.normal([5, -300, 0.02], [1, 50, 0.01], (400, 3))
WAVES = np.sin(np.linspace(0, 6, 40) + RNG.uniform(0, 6, (64, 2, 1)))
LABELS = np.arange(12) % 3


def file(folder, name="x.npz", /, **arrays):
    np.savez(folder / name, **arrays)
    return str(folder / name)


def everything(data):
    return data.stored(torch.arange(len(data)))


@pytest.mark.parametrize(
    ("array", "expected", "levels"),
    [
        (GRAY, GRAY[:, None], 256),
        (RGB, RGB.transpose(0, 3, 1, 2), 256),
        (RGB.transpose(0, 3, 1, 2), RGB.transpose(0, 3, 1, 2), 256),
        (RGB[..., :1], RGB.transpose(0, 3, 1, 2)[:, :1], 256),
        (DEEP, DEEP[:, None], 65536),
        (DEEP.astype(">u2"), DEEP[:, None], 65536),
        (GRAY > 127, (GRAY > 127)[:, None], 2),
    ],
    ids=["gray", "last", "first", "one", "16-bit", "big-endian", "bits"],
)
@pytest.mark.parametrize("key", ["images", "samples", "x", "data", "npy"])
def test_images(tmp_path, array, expected, levels, key):
    if key == "npy":
        np.save(tmp_path / "x.npy", array)
        data = ArrayFile(str(tmp_path / "x.npy")).load()
    else:
        data = ArrayFile(file(tmp_path, **{key: array, "labels": LABELS})).load()
        assert data.label.tolist() == LABELS.tolist()
        assert data.spec.classes == 3
    assert np.array_equal(everything(data).numpy(), expected)
    assert (data.spec.shape, data.spec.levels) == (expected.shape[1:], levels)
    x, _ = data.batch(torch.arange(12))
    values = expected.astype(np.float64) / (levels - 1) * 2 - 1
    assert np.allclose(x.numpy(), values, atol=1e-6)
    assert data.spec.mean == pytest.approx(values.mean((0, 2, 3)), abs=1e-5)


def test_layouts_that_counts_do_not_tell(tmp_path):
    path = file(tmp_path, images=RNG.integers(0, 256, (5, 3, 4, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"\(5, 3, 4, 3\) may have their channels first or last"):
        ArrayFile(path).load()
    assert ArrayFile(path, layout="channels-first").load().spec.shape == (3, 4, 3)
    assert ArrayFile(path, layout="channels-last").load().spec.shape == (3, 3, 4)
    with pytest.raises(InputError, match="first or last"):
        ArrayFile(file(tmp_path, images=np.zeros((5, 8, 8, 8), np.uint8))).load()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_images_have_a_range_that_is_given(tmp_path, dtype):
    images = RNG.uniform(0.25, 0.75, (6, 4, 4)).astype(dtype)
    path = file(tmp_path, images=images)
    data = ArrayFile(path, low=0.0, high=1.0).load()
    assert (data.spec.shape, data.spec.levels, data.spec.low) == ((1, 4, 4), None, -1.0)
    x, _ = data.batch(torch.arange(6))
    assert np.allclose(
        x[:, 0].numpy(), images * 2.0 - 1, atol=1e-3 if dtype == np.float16 else 1e-6
    )
    bright = ArrayFile(file(tmp_path, images=images * 255), low=0.0, high=255.0).load()
    assert torch.allclose(bright.batch(torch.arange(6))[0], x, atol=2e-3)
    assert np.array_equal(everything(data).numpy()[:, 0], images)
    shown = data.spec.to_arrays(data.batch(torch.arange(6))[0])[..., 0]
    assert np.array_equal(shown, np.round(images.astype(np.float32) * 255).astype(np.uint8))
    with pytest.raises(InputError, match=r"must lie in 0 to 0\.5, got"):
        ArrayFile(path, low=0.0, high=0.5).load()
    with pytest.raises(InputError, match=r"need their range, as in data.low=0 data.high=1"):
        ArrayFile(file(tmp_path, images=images[..., None])).load()


@pytest.mark.parametrize("scaling", ["overall", "each", "none"])
@pytest.mark.parametrize("array", [POINTS, WAVES, POINTS[:, 0]], ids=["points", "waves", "numbers"])
def test_vectors_and_signals_have_units(tmp_path, array, scaling):
    data = ArrayFile(file(tmp_path, data=array), scaling=scaling).load()
    full = array if array.ndim > 1 else array[:, None]
    assert data.spec.shape == full.shape[1:]
    x, _ = data.batch(torch.arange(len(full)))
    assert np.allclose(data.spec.to_arrays(x), full, rtol=1e-5, atol=1e-6)
    axes = (0,) if full.ndim == 2 else (0, 2)
    std = full.std(axes)
    scale = {"each": std, "none": np.ones_like(std)}
    scale["overall"] = np.full_like(std, np.sqrt((std**2).mean()))
    center = 0 if scaling == "none" else full.mean(axes)
    shape = (-1, 1) if full.ndim == 3 else (-1,)
    expected = (full - np.reshape(center, shape if scaling != "none" else ())) / np.reshape(
        scale[scaling], shape
    )
    assert np.allclose(x.numpy(), expected, rtol=1e-4, atol=1e-5)
    if scaling != "none":
        assert data.spec.sigma_data == pytest.approx(1, abs=1e-4)


def test_units_of_numbers_far_from_zero():
    x = 1.6e9 + RNG.normal(0, 3, (5000, 1))
    center, scale = units(torch.split(torch.from_numpy(x), 700), each=True)
    assert center == pytest.approx(x.mean(0), rel=1e-11)
    assert scale == pytest.approx(x.std(0), rel=1e-5)
    spec = DataSpec((1,), levels=None, low=None, high=None, center=center, scale=scale)
    assert spec.to_model(torch.from_numpy(x)).double().std() == pytest.approx(1, abs=1e-3)
    assert units([torch.ones(4, 2)], each=True) == ((1.0, 1.0), (1.0, 1.0))


def test_whole_numbers_are_vectors_too(tmp_path):
    data = ArrayFile(file(tmp_path, x=np.arange(20).reshape(10, 2)), scaling="none").load()
    assert everything(data).tolist() == np.arange(20.0).reshape(10, 2).tolist()


def test_a_test_split_of_the_files_own(tmp_path):
    for names in (
        ("images", "labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ):
        arrays = dict(zip(names, (GRAY[:8], LABELS[:8], GRAY[8:], LABELS[8:] * 0), strict=True))
        data = ArrayFile(file(tmp_path, **arrays))
        assert np.array_equal(everything(data.load())[:, 0], GRAY[:8])
        test = data.load("test")
        assert np.array_equal(everything(test)[:, 0], GRAY[8:])
        assert test.spec.classes == 3  # those of the training labels
        with pytest.raises(InputError, match="has a test split of its own; holdout must be 0"):
            ArrayFile(data.path, holdout=0.2).load()
    split = ArrayFile(file(tmp_path, samples=POINTS[:300], test_samples=POINTS[300:]))
    assert split.load("test").spec.center == split.load().spec.center


def test_holdout_is_a_share_that_neither_overlaps_nor_moves(tmp_path):
    path = file(tmp_path, samples=POINTS)
    train, test = (ArrayFile(path, holdout=0.25).load(split) for split in ("train", "test"))
    both = np.concatenate([everything(train), everything(test)])
    assert np.array_equal(np.sort(both[:, 0]), np.sort(POINTS[:, 0]))
    assert test.spec.center == train.spec.center
    with pytest.raises(
        InputError, match=r"no test split; hold a share out, as in data.holdout=0\.1"
    ):
        ArrayFile(path).load("test")
    held = chosen(100_000, 0.1, "test")
    assert len(held) == pytest.approx(10_000, abs=4 * 95)  # four standard deviations
    assert np.array_equal(chosen(500, 0.1, "test"), held[held < 500])
    assert set(held) <= set(chosen(100_000, 0.2, "test"))
    # chances that do not know of one another: gaps are geometric
    counts = np.bincount(np.diff(held), minlength=31)
    law = stats.geom(0.1)
    expected = [*law.pmf(np.arange(1, 31)), law.sf(30)]
    observed = [*counts[1:31], counts[31:].sum()]
    assert stats.chisquare(observed, np.multiply(expected, len(held) - 1)).pvalue > 1e-3


def test_names_and_sentences(tmp_path):
    captions = np.array([f"image {i}" for i in range(12)])
    path = file(
        tmp_path, images=GRAY, y=LABELS, captions=captions, class_names=np.array(list("abcd"))
    )
    data = ArrayFile(path, holdout=0.3).load()
    assert data.caption == tuple(captions[chosen(12, 0.3, "train")])
    assert data.label.tolist() == LABELS[chosen(12, 0.3, "train")].tolist()
    assert (data.spec.classes, data.spec.class_names) == (4, tuple("abcd"))


def test_names_of_classes_as_bytes(tmp_path):
    names = np.array(["cat", "größe", "c", "d"])
    path = file(tmp_path, images=GRAY, y=LABELS, class_names=np.char.encode(names, "utf-8"))
    assert ArrayFile(path).load().spec.class_names == tuple(names)


def test_a_file_is_what_it_holds_whatever_it_is_called(tmp_path):
    path = Path(file(tmp_path, images=GRAY))
    expected = ArrayFile(str(path)).load().stored(torch.arange(12))
    np.save(tmp_path / "a.npy", GRAY)
    for old, new in ((path, "b.npy"), (tmp_path / "a.npy", "c.NPY"), (tmp_path / "c.NPY", "d.npz")):
        found = ArrayFile(str(old.rename(tmp_path / new))).load()
        assert torch.equal(found.stored(torch.arange(12)), expected)


def test_a_damaged_archive_is_refused(tmp_path):
    np.savez_compressed(
        tmp_path / "torn.npz", images=RNG.integers(0, 9, (99, 8, 8)).astype(np.uint8)
    )
    content = bytearray((tmp_path / "torn.npz").read_bytes())
    content[400:500] = bytes(100)
    (tmp_path / "torn.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*torn\.npz"):
        ArrayFile(str(tmp_path / "torn.npz")).load()


def test_a_npy_file_is_not_read_as_a_whole(tmp_path):
    # a file with a hole: 256 MiB long, a few pages on the disk
    path = tmp_path / "big.npy"
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (1 << 16, 64, 64))
    array[-99:] = RNG.integers(0, 256, (99, 64, 64))
    last = array[-99:].copy()
    del array
    tracemalloc.start()
    data = ArrayFile(str(path), holdout=0.9).load()
    found = data.stored(torch.arange(len(data) - 3, len(data)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data) == pytest.approx(6_554, abs=310)
    assert peak < 100e6
    whole = np.concatenate([np.zeros((1 << 16) - 99, int), np.arange(1, 100)])
    for image, row in zip(found[:, 0].numpy(), data.rows[-3:], strict=True):
        assert np.array_equal(image, last[whole[row] - 1] if whole[row] else np.zeros((64, 64)))


class Trap:
    def __reduce__(self):
        return print, ("code of the file ran",)


def test_files_that_are_refused(tmp_path, capsys):
    np.save(tmp_path / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "trap.npz", images=np.array([Trap()], dtype=object))
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "trap.npy").read_bytes()[:40])
    for name in ("trap.npy", "trap.npz", "text.npz", "cut.npy", "none.npz", "none.npy"):
        with pytest.raises(InputError, match=f"cannot read .*{name}"):
            ArrayFile(str(tmp_path / name)).load()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arrays", "settings", "sentence"),
    [
        ({"pictures": GRAY}, {}, "has no samples: they are called one of images, .* it has pictures"),
        ({"images": GRAY.astype(np.int64)[..., None]}, {}, "stored as uint8, uint16, bool .* got int64"),
        ({"images": GRAY, "labels": LABELS[:5]}, {}, r"12 samples .* need labels of shape \(12,\)"),
        ({"images": GRAY, "labels": LABELS - 1}, {}, "labels in .* must lie in 0 to 1, got -1 to 1"),
        ({"images": GRAY, "labels": LABELS + 1}, {}, "no training sample in .* has the label 0; number"),
        ({"images": GRAY, "labels": LABELS * 10**9}, {}, "has the label 1; number the classes from 0"),
        ({"images": GRAY, "labels": LABELS / 2}, {}, "labels in .* must be whole numbers, got float64"),
        ({"images": GRAY, "y": LABELS, "class_names": np.array(["a"])}, {}, "must lie in 0 to 0"),
        ({"images": GRAY, "y": LABELS, "class_names": np.array("ab")}, {}, "class_names .* must be a list"),
        ({"images": GRAY, "y": LABELS, "class_names": np.array(["a"] * 9)}, {}, "must differ, got a, a"),
        ({"images": GRAY, "captions": np.array(["a"])}, {}, "need captions"),
        ({"images": GRAY * 0}, {}, "all samples are equal"),
        ({"images": GRAY[:0]}, {}, r"must have the shape .* got \(0, 7, 6\)"),
        ({"images": GRAY[None, None]}, {}, "must have the shape"),
        ({"x": np.array(["a", "b"])}, {}, "must be numbers, got <U1"),
        ({"x": np.array([1j, 2])}, {}, "must be numbers, got complex128"),
        ({"x": np.array([[1.0], [np.nan]])}, {}, "finite"),
        ({"images": GRAY}, {"low": 0.0, "high": 1.0}, "low and high are for floats; .* has uint8"),
        ({"images": GRAY[:2]}, {"holdout": 1e-9, "split": "test"}, "of 2 samples leaves none to test"),
        ({"images": GRAY}, {"split": "valid"}, "split must be 'train' or 'test'"),
    ],
)  # fmt: skip
def test_contents_that_are_refused(tmp_path, arrays, settings, sentence):
    split = settings.pop("split", "train") if "split" in settings else "train"
    with pytest.raises(InputError, match=sentence):
        ArrayFile(file(tmp_path, **arrays), **settings).load(split)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"holdout": 1.0}, r"holdout must lie from 0 to below 1, got 1\.0"),
        ({"low": 0.0}, "low and high must be given together"),
        ({"low": 1.0, "high": 0.0}, "low must be below high, got 1 and 0"),
    ],
)
def test_settings_that_are_refused(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        ArrayFile(**settings)
    with pytest.raises(InputError, match=r"the path of a \.npz or \.npy file is needed"):
        ArrayFile().load()


TINY = ["network.width=16", "network.depth=1", "training.batch=16", "training.ema=0"]


@pytest.mark.parametrize("array", [WAVES, WAVES[:, 0], POINTS], ids=["channels", "plain", "points"])
def test_from_a_file_to_samples_in_a_file(tmp_path, monkeypatch, array, previews):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", array)
    words = ["train", "moons", "data={kind: arrays, path: in.npy}", *TINY, "--budget", "8steps"]
    assert main([*words, "-o", "run"]) == 0
    assert load("run").recipe.data == ArrayFile("in.npy")
    assert list((tmp_path / "run").rglob("step-*.png"))
    assert main(["sample", "run", "-n", "200", "--steps", "4", "-o", "out.npz"]) == 0
    with np.load("out.npz") as out:
        samples = out["samples"]
    assert samples.shape == (200, *array.shape[1:])
    # after eight steps no shape is learnt, but the units are: those of the file
    axes = tuple(i for i in range(array.ndim) if i != 1) if array.ndim == 3 else (0,)
    spread = np.sqrt((array.std(axes) ** 2).mean())
    assert np.abs(samples.mean(axes) - array.mean(axes)).max() < spread
    again = ArrayFile("out.npz").load()
    assert np.array_equal(everything(again).numpy(), samples)


def test_what_sample_writes_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("in.npz", images=RGB, labels=LABELS)
    words = ["train", "mnist10k", "data={kind: arrays, path: in.npz}", "network.width=8"]
    tiny = [
        "network.multipliers=[1]",
        "network.heads=1",
        "training.batch=4",
        "training.compile=off",
    ]
    assert main([*words, *tiny, "--budget", "2steps", "-o", "run"]) == 0
    assert main(["sample", "run", "-n", "6", "--steps", "2", "-o", "out.npz"]) == 0
    data = ArrayFile("out.npz").load()
    assert data.spec.shape == (3, 7, 6)
    assert data.label.tolist() == [0, 1, 2, 0, 1, 2]
    assert json.loads(json.dumps(data.spec.classes)) == 3
