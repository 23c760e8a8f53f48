"""Folders of pictures: classes, captions, splits, broken files, and what is remembered of them."""

import json
import struct
import warnings
import zlib

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data.base import Arrays
from scorefield.data.folder import Folder
from scorefield.data.picture_files import all_pixels
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError

RNG = np.random.default_rng(4)
RGB = RNG.integers(0, 256, (12, 7, 5, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (12, 7, 5), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 7, 5), dtype=np.uint16)


def numbered(arrays, ending="png", folder=""):
    return {f"{folder}{i:02}.{ending}": array for i, array in enumerate(arrays)}


def loaded(folder, split="train", **settings):
    return Folder(str(folder), **settings).load(split)


def pixels(data):
    return data.stored(torch.arange(len(data))).numpy()


def first(array):
    """Channels first."""
    return array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)


def test_classes_of_sub_folders(tmp_path, save):
    names = {
        "Zebra crossing/ein Bild.png": RGB[0],
        "ärger/日本 語.png": RGB[1],
        "ärger/b/c.PNG": RGB[2],
    }
    save(tmp_path, {**names, ".hidden/x.png": "no", "notes.txt": "no"})
    data = loaded(tmp_path)
    assert data.spec.class_names == ("Zebra crossing", "ärger")
    assert data.label.tolist() == [0, 1, 1]
    assert np.array_equal(pixels(data), first(RGB[[0, 2, 1]]))
    assert loaded(tmp_path, labels="none").label is None
    save(tmp_path / "n", {f"{i}/a.png": RGB[i] for i in (10, 9, 2)})
    assert loaded(tmp_path / "n").spec.class_names == ("2", "9", "10")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"sub-folder 'empty' of .* has no pictures"):
        loaded(tmp_path)
    assert loaded(tmp_path, labels="none").spec.classes == 0
    (tmp_path / "empty").rmdir()
    save(tmp_path, {"beside.png": RGB[3]})
    with pytest.raises(InputError, match=r"1 pictures of .*beside\.png, lie beside"):
        loaded(tmp_path)


def test_one_sub_folder_is_no_class_unless_asked_for(tmp_path, save):
    save(tmp_path, numbered(RGB, folder="all/"))
    assert loaded(tmp_path).label is None
    assert loaded(tmp_path, labels="folders").spec.class_names == ("all",)


@pytest.mark.parametrize(
    "names",
    [
        ("train/a/1", "train/b/2", "val/a/3"),
        ("train/1", "Validation/2"),
        ("train/a/1", "train/b/2"),
    ],
)
def test_splits_are_not_taken_for_classes(tmp_path, save, names):
    save(tmp_path, {f"{name}.png": RGB[i] for i, name in enumerate(names)})
    with pytest.raises(
        InputError, match=r"train.* look like splits.* call two of them train and test"
    ):
        loaded(tmp_path)
    assert loaded(tmp_path, labels="none").label is None
    asked = loaded(tmp_path, labels="folders").spec.class_names
    assert asked == tuple(sorted({name.split("/")[0] for name in names}))


def test_one_split_without_classes(tmp_path, save):
    save(tmp_path, numbered(RGB, folder="train/"))
    assert loaded(tmp_path).label is None


def test_a_class_without_a_usable_picture(tmp_path, save):
    save(tmp_path, {"a/0.png": RGB[0], "a/1.png": RGB[1], "b/0.png": b"broken"})
    with pytest.raises(InputError, match=r"class 'b' .*no usable picture"):
        loaded(tmp_path)


METADATA = [
    {"file_name": "00.png", "label": "ant", "text": "an ant"},
    {"file_name": "sub dir/01.png", "label": "bee", "text": "a bee, “flying”"},
    {"file_name": "02.png", "label": "ant", "text": ""},
]


def metadata(save, folder):
    files = {"00.png": RGB[0], "sub dir/01.png": RGB[1], "02.png": RGB[2]}
    lines = "\n".join(json.dumps(row) for row in METADATA)
    return save(folder, {**files, "metadata.jsonl": lines + "\n"})


def test_metadata_as_hugging_face_reads_it(tmp_path, monkeypatch, save):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    place = metadata(save, tmp_path / "d")
    theirs = datasets.load_dataset("imagefolder", data_dir=str(place), split="train")
    data = loaded(place)
    ours = {
        data.caption[i]: (data.spec.class_names[data.label[i]], pixels(data)[i].tobytes())
        for i in range(3)
    }
    assert ours == {
        row["text"]: (row["label"], np.array(row["image"]).transpose(2, 0, 1).tobytes())
        for row in theirs
    }


def test_tables(tmp_path, save):
    table = '\ufeffpath,label,caption\r\n./00.png,10,"one, two"\r\n01.png,9,\r\n'
    save(tmp_path, {**numbered(RGB[:2]), "labels.csv": table})
    data = loaded(tmp_path)
    assert (data.spec.class_names, data.label.tolist()) == (("9", "10"), [1, 0])
    assert data.caption == ("one, two", "")
    save(tmp_path, {"labels.csv": "file_name, label, text\n00.png,10,one\n01.png,9,\n"})
    assert loaded(tmp_path).spec.class_names == ("9", "10")
    lines = [{"file_name": f"0{i}.png", "text": "one\u2028two\x85three"} for i in range(2)]
    written = "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    save(tmp_path / ".json", {**numbered(RGB[:2]), "metadata.jsonl": written})
    assert loaded(tmp_path / ".json").caption == ("one\u2028two\x85three",) * 2
    save(
        tmp_path, {"labels.csv": "file_name,label\n00.png,a\n01.png,\n03.png,b\n", "02.png": RGB[2]}
    )
    data = loaded(tmp_path)
    assert (data.label.tolist(), data.caption, data.spec.class_names) == ([0], None, ("a",))
    assert dict(data.skipped) == {
        "01.png": "no label",
        "02.png": "not in labels.csv",
        "03.png": "named in a table, but not there",
    }
    data = loaded(tmp_path, labels="none")
    assert (data.label, len(data)) == (None, 2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("labels.csv", "00.png,a\n", "needs a column file_name; it has 00.png, a"),
        ("labels.csv", "file_name,label\n00.png,a\n./00.png,b\n", "row 2 .* names 00.png again"),
        ("labels.csv", b"file_name,label\n00.png,\xe4\n", "cannot read labels.csv .*utf-8"),
        ("metadata.jsonl", '{"file_name": "00.png"}\n{', "line 2 .* is not JSON"),
        ("metadata.jsonl", "[1]\n", "line 1 .* must be a mapping"),
        ("metadata.jsonl", '{"file_name": "00.png", "label": {}}', "row 1 .* text or a number"),
        ("labels.csv", "file_name,text\n00.png,a\n", "has no .* with a column label"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, name, text, words, save):
    save(tmp_path, {**numbered(RGB[:2]), name: text})
    with pytest.raises(InputError, match=words):
        loaded(tmp_path, labels="file")


def test_two_tables(tmp_path, save):
    save(metadata(save, tmp_path), {"labels.csv": "file_name,label\n"})
    with pytest.raises(InputError, match=r"has metadata\.jsonl and labels\.csv; one must go"):
        loaded(tmp_path)


def test_folders_train_and_test_are_the_splits(tmp_path, save):
    files = {**numbered(RGB[:4], folder="train/a/"), **numbered(RGB[4:6], folder="train/b/")}
    files |= {**numbered(RGB[6:9], folder="test/b/"), "other/x.png": RGB[9]}
    save(tmp_path, files)
    train, test = (loaded(tmp_path, s, holdout=0.5) for s in ("train", "test"))
    assert train.label.tolist() == [0, 0, 0, 0, 1, 1]
    assert test.label.tolist() == [1, 1, 1]
    assert np.array_equal(pixels(test), first(RGB[6:9]))
    assert train.spec.class_names == test.spec.class_names == ("a", "b")
    lines = [json.dumps({"file_name": f"b/{i:02}.png", "text": f"{i}"}) for i in range(3)]
    save(tmp_path, {"test/metadata.jsonl": "\n".join(lines)})
    assert loaded(tmp_path, "test").caption == ("0", "1", "2")
    assert loaded(tmp_path, "train").caption == ("",) * 6


def test_both_splits_are_brought_to_the_same(tmp_path, save):
    save(
        tmp_path,
        {**numbered(GRAY[:3], folder="train/"), "test/a.png": RGB[0], "test/b.png": RGB[1]},
    )
    assert loaded(tmp_path).spec.shape == loaded(tmp_path, "test").spec.shape == (3, 7, 5)


def test_held_out_files_stay_when_files_are_added(tmp_path, save):
    every = RNG.integers(0, 256, (60, 3, 3), dtype=np.uint8)
    save(tmp_path, numbered(every[:40]))
    names = [f"{i:02}.png" for i in range(60)]

    def split_of():
        train, test = (pixels(loaded(tmp_path, s, holdout=0.3)) for s in ("train", "test"))
        held = {array.tobytes() for array in test[:, 0]}
        assert not held & {array.tobytes() for array in train[:, 0]}
        assert len(train) + len(test) == len(list(tmp_path.iterdir()))
        return {n for n, array in zip(names, every, strict=True) if array.tobytes() in held}

    before = split_of()
    assert 4 <= len(before) <= 22
    save(tmp_path, {names[i]: every[i] for i in range(40, 60)})
    after = split_of()
    assert {n for n in after if n < "40"} == before
    with pytest.raises(InputError, match=r"no test split; .*data\.holdout=0\.1"):
        loaded(tmp_path, "test")
    with pytest.raises(InputError, match=r"holdout=1e-09 of 60 files leaves none to test"):
        loaded(tmp_path, "test", holdout=1e-9)


def test_broken_files_are_skipped_and_named_or_refused(tmp_path, png, save):
    def promising(width, height):
        """A PNG of one pixel whose header says that there are more."""
        content = png(np.zeros((1, 1)), 0, 8)
        header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]

    whole = png(RGB[0], 2, 8)
    files = {
        "bomb.png": promising(60_000, 60_000),
        "small bomb.png": promising(10_000, 10_000),
        "cut.png": whole[:70],
        "empty.png": b"",
        "float.tif": Image.fromarray(np.zeros((7, 5), np.float32)),
        "not.jpg": b"not a picture",
        "program.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 7\n",
    }
    save(tmp_path, {**numbered(RGB), **files})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as users have it
        data = loaded(tmp_path)
    assert np.array_equal(pixels(data), first(RGB))
    assert [name for name, _ in data.skipped] == sorted(files)
    reasons = dict(data.skipped)
    assert "refused, too large: Image size (3600000000 pixels)" in reasons["bomb.png"]
    assert "refused, too large: Image size (100000000 pixels)" in reasons["small bomb.png"]
    assert reasons["empty.png"] == "the file is empty"
    assert reasons["float.tif"] == "pixels of the form F are not supported"
    assert reasons["not.jpg"] == reasons["program.png"] == "not a picture, or damaged"
    assert all(0 < len(reason) < 150 for reason in reasons.values())
    with pytest.raises(
        InputError, match=r"only 1[2-4] of 19 pictures in .* can be used; bomb\.png: "
    ):
        loaded(tmp_path, strict=True)
    save(tmp_path / "all", files)
    with pytest.raises(InputError, match=r"only 0 of 7 pictures in .* can be used; bomb\.png: "):
        loaded(tmp_path / "all")


def test_a_streamed_folder_is_the_same(tmp_path, save):
    save(tmp_path, {**numbered(RGB), "x.png": b"broken"})
    held = loaded(tmp_path)
    streamed = loaded(tmp_path, memory=1e-9, workers=3)
    assert (type(held), type(streamed)) == (Arrays, Streamed)
    assert (streamed.spec, streamed.skipped) == (held.spec, held.skipped)
    some = torch.tensor([7, 0, 7, 11])
    assert torch.equal(streamed.stored(some), held.stored(some))


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_many_files(tmp_path, count):
    """Each picture is flat and tells its own number."""
    for folder in range(10):
        (tmp_path / f"{folder}").mkdir()
    for i in range(count):
        colour = bytes([i >> 16, i >> 8 & 255, i & 255])
        Image.frombytes("RGB", (2, 2), colour * 4).save(tmp_path / f"{i % 10}" / f"{i}.png")
    numbers = []
    for split in ("train", "test"):
        data = loaded(tmp_path, split, memory=0.0, holdout=0.1)
        for rows in torch.split(torch.arange(len(data)), 1000):
            high, middle, low = data.stored(rows)[:, :, 1, 1].long().T
            found = high << 16 | middle << 8 | low
            assert torch.equal(found % 10, data.label[rows])
            numbers.append(found)
    assert torch.equal(torch.cat(numbers).sort().values, torch.arange(count))
    assert abs(len(data) - 0.1 * count) < 5 * (0.09 * count) ** 0.5


def test_what_was_seen_is_remembered_until_something_changes(tmp_path, monkeypatch, cache, save):
    asked = []

    def counted(place, names, *rest):
        asked.append(len(names))
        return all_pixels(place, names, *rest)

    monkeypatch.setattr("scorefield.data.folder.all_pixels", counted)
    save(tmp_path, {**numbered(RGB), "x.png": b"broken"})
    table = "".join(f"{name}.png,{'ab'[int(name, 16) % 2]}\n" for name in ["00", "01", "02"])
    save(tmp_path, {"labels.csv": "file_name,label\n" + table})

    def seen(**settings):
        """Whether all was looked at anew, and whether it is right either way."""
        asked.clear()
        one = loaded(tmp_path, memory=0.0, **settings)
        new = bool(asked)
        other = loaded(tmp_path, **settings)
        every = torch.arange(len(other))
        assert (one.spec, one.skipped) == (other.spec, other.skipped)
        assert torch.equal(one.stored(every), other.stored(every))
        assert torch.equal(one.label, other.label)
        return new

    assert [seen(), seen(), seen(workers=1)] == [True, False, False]
    assert [seen(size=4), seen(size=4), seen(channels="gray"), seen()] == [True, False, True, False]
    with pytest.raises(InputError, match=r"only 3 of 13 pictures"):
        loaded(tmp_path, memory=0.0, strict=True)
    save(tmp_path, {"00.png": RGB[5]})
    assert [seen(), seen()] == [True, False]
    save(tmp_path, {"labels.csv": "file_name,label\n" + table + "03.png,b\n"})
    assert [seen(), seen()] == [True, False]
    for path in (cache / "surveys").iterdir():
        path.write_text("{")
    assert [seen(), seen()] == [True, False]


def test_what_was_seen_of_one_split_is_not_taken_for_another(tmp_path, save):
    save(tmp_path, numbered(RGB))
    for holdout in (0.2, 0.4, 0.8):
        for split in ("train", "test"):
            one, other = (loaded(tmp_path, split, holdout=holdout, memory=m) for m in (0.0, 1.0))
            assert one.spec == other.spec


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch, save):
    save(tmp_path, numbered(RGB))
    monkeypatch.setattr("scorefield.data.surveys.cache_folder", lambda: tmp_path / "00.png")
    assert len(loaded(tmp_path, memory=0.0)) == 12


def test_what_cannot_be_loaded(tmp_path, save):
    with pytest.raises(InputError, match=r"a folder or archive is needed, as in data.path=photos"):
        Folder().load()
    with pytest.raises(InputError, match="there is no folder or archive"):
        loaded(tmp_path / "none")
    with pytest.raises(InputError, match=r"no pictures in .*; other endings: none"):
        loaded(tmp_path)
    save(tmp_path, {"a.txt": "x", "b": "x"})
    with pytest.raises(InputError, match=r"no pictures in .*; other endings: 1 (\.txt|without), 1"):
        loaded(tmp_path)
    with pytest.raises(
        InputError, match=r"a\.txt is no folder, and no \.zip or \.tar archive that"
    ):
        loaded(tmp_path / "a.txt")
    save(tmp_path, numbered([GRAY[0], GRAY[0]]))
    with pytest.raises(InputError, match=r"all 2 pictures in .* are equal"):
        loaded(tmp_path)
    save(tmp_path, numbered([np.full((3, 3), 9, np.uint8)] * 2))
    with pytest.raises(InputError, match="equal"):
        loaded(tmp_path)
    for settings, words in (
        ({"size": -1}, "size must be at least 1"),
        ({"size": (8, 0)}, "size must be at least 1"),
        ({"memory": -1.0}, "memory must be"),
        ({"workers": -1}, "workers must be"),
        ({"holdout": 1.0}, "holdout must"),
    ):
        with pytest.raises(InputError, match=words):
            Folder("x", **settings)
