"""Folders of pictures that Pillow, or bytes by a format's specification, wrote; read back exactly."""

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


def png(array, kind, depth, *chunks):
    """A PNG as its specification says: signature, IHDR, other chunks, IDAT of unfiltered rows, IEND."""
    raw = array.astype(">u2" if depth == 16 else "u1")
    rows = b"".join(b"\0" + row.tobytes() for row in raw)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, kind, 0, 0, 0)
    parts = (b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def write(folder, files):
    """Files by name: bytes, text, or arrays that Pillow writes."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, np.ndarray):
            Image.fromarray(content).save(path)
        elif isinstance(content, Image.Image):
            content.save(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def numbered(arrays, ending="png", folder=""):
    return {f"{folder}{i:02}.{ending}": array for i, array in enumerate(arrays)}


def loaded(folder, split="train", **settings):
    return Folder(str(folder), **settings).load(split)


def pixels(data):
    return data.stored(torch.arange(len(data))).numpy()


def first(array):
    """Channels first."""
    return array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("ending", ["png", "tif", "webp", "bmp", "ppm", "gif"])
def test_formats_without_loss(tmp_path, ending):
    pictures = [Image.fromarray(i) for i in RGB]
    if ending == "gif":
        pictures = [picture.quantize(256) for picture in pictures]
    options = {"lossless": True, "exact": True} if ending == "webp" else {}
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i:02}.{ending}", **options)
    data = loaded(tmp_path)
    expected = np.stack([np.array(p.convert("RGB")) for p in pictures])
    assert np.array_equal(pixels(data), first(expected))
    assert (data.spec.shape, data.spec.levels, data.spec.classes) == ((3, 7, 5), 256, 0)
    assert (data.label, data.caption, data.skipped) == (None, None, ())
    assert data.spec.mean == pytest.approx((expected / 127.5 - 1).mean((0, 1, 2)), abs=1e-5)
    assert data.spec.sigma_data == pytest.approx(
        np.sqrt((expected / 127.5 - 1).reshape(-1, 3).var(0).mean()), rel=1e-5
    )


def test_jpeg_is_what_pillow_decodes_and_near_the_picture(tmp_path):
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    picture = np.broadcast_to(ramp[:, None, None], (32, 48, 3)).copy()
    write(tmp_path, {"a.JPG": picture, "b.jpeg": picture[::-1].copy()})
    got = pixels(loaded(tmp_path))
    assert got.shape == (2, 3, 32, 48)
    assert np.abs(got[0].astype(int) - picture.transpose(2, 0, 1)).max() <= 6


@pytest.mark.parametrize(
    ("kind", "depth", "array", "expected"),
    [
        (0, 8, GRAY, GRAY[:, None]),
        (2, 8, RGB, first(RGB)),
        (0, 16, DEEP, DEEP[:, None]),
        # colour of 16 bits comes with its upper 8
        (2, 16, DEEP[..., None].repeat(3, 3), (DEEP[:, None] >> 8).repeat(3, 1)),
        # gray and alpha on white
        (
            4,
            8,
            np.stack([GRAY, np.where(GRAY > 127, 255, 0)], 3),
            np.where(GRAY > 127, GRAY, 255)[:, None],
        ),
    ],
)
def test_png_as_its_specification_says(tmp_path, kind, depth, array, expected):
    write(tmp_path, {f"{i:02}.png": png(a, kind, depth) for i, a in enumerate(array)})
    data = loaded(tmp_path)
    assert np.array_equal(pixels(data), expected)
    levels = 65536 if kind == 0 and depth == 16 else 256
    assert data.spec.levels == levels
    x, _ = data.batch(torch.arange(len(data)))
    assert np.allclose(x, expected / (levels - 1) * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_16_bits_as_its_specification_says(tmp_path, order):
    def tiff(array):
        """One strip of gray: TIFF 6.0, section 2 and 3."""
        height, width = array.shape
        tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
        tags[279] = array.nbytes
        body = array.astype(f"{order}u2").tobytes()
        entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, n) for tag, n in tags.items())
        head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
        return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)

    write(tmp_path, {f"{i:02}.tif": tiff(a) for i, a in enumerate(DEEP)})
    data = loaded(tmp_path)
    assert data.stored(torch.tensor([1])).dtype == torch.uint16
    assert np.array_equal(pixels(data)[:, 0], DEEP)
    small = pixels(loaded(tmp_path, size=(3, 4)))
    assert small.shape == (12, 1, 3, 4)
    assert abs(small.mean() - DEEP.mean()) < 2000


def test_a_filter_that_overshoots_does_not_wrap_around(tmp_path):
    edge = np.broadcast_to(np.where(np.arange(8) < 4, 0, 65535), (8, 8)).astype(np.uint16)
    write(tmp_path, {"a.png": edge, "b.png": edge.T.copy()})
    got = pixels(loaded(tmp_path, size=32))[0, 0]
    assert (got[:, :14] < 10_000).all()
    assert (got[:, 18:] > 55_000).all()


def test_channels(tmp_path):
    alpha = np.where(np.arange(5) < 2, 0, 255) + np.zeros((12, 7, 1), int)
    rgba = np.concatenate([RGB, alpha[..., None].astype(np.uint8)], 3)
    write(tmp_path / "rgba", numbered(rgba))
    on_white = np.where(alpha[..., None] == 0, 255, RGB)
    assert np.array_equal(pixels(loaded(tmp_path / "rgba")), first(on_white))
    data = loaded(tmp_path / "rgba", channels="rgba")
    assert np.array_equal(pixels(data), first(rgba))
    assert data.spec.shape == (4, 7, 5)
    write(tmp_path / "mixed", {**numbered(GRAY[:3]), "z.png": RGB[0]})
    got = pixels(loaded(tmp_path / "mixed"))
    assert np.array_equal(got[:3], GRAY[:3, None].repeat(3, 1))
    assert np.array_equal(got[3], RGB[0].transpose(2, 0, 1))
    # ITU-R BT.601's luma
    luma = RGB[0] @ [0.299, 0.587, 0.114]
    got = pixels(loaded(tmp_path / "mixed", channels="gray"))
    assert np.array_equal(got[:3, 0], GRAY[:3])
    assert np.abs(got[3, 0] - luma).max() <= 1
    write(tmp_path / "bits", numbered([Image.fromarray(i > 99).convert("1") for i in GRAY]))
    assert np.array_equal(pixels(loaded(tmp_path / "bits"))[:, 0], (GRAY > 99) * 255)
    write(tmp_path / "deep", numbered([*DEEP[:2]]))
    with pytest.raises(InputError, match="16 bits are gray, got channels=rgb"):
        loaded(tmp_path / "deep", channels="rgb")
    write(tmp_path / "deep", {"z.png": GRAY[0]})
    with pytest.raises(InputError, match=r"modes I;16, L do not go together"):
        loaded(tmp_path / "deep")


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, ending, orientation):
    """The stored rows and columns of EXIF's eight orientations (CIPA DC-008, tag 0x0112)."""
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16], upright[8:, 16:] = 255, 120
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(stored))
    options = {"lossless": True} if ending == "webp" else {}
    picture.save(tmp_path / f"a.{ending}", exif=exif, **options)
    got = pixels(loaded(tmp_path, channels="gray"))[0, 0]
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).max() <= 4


def test_exif_behind_the_pixels_of_a_png(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    late = png(GRAY[0], 0, 8)
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    write(tmp_path, {"a.png": late[:-12] + chunk + late[-12:]})
    assert np.array_equal(pixels(loaded(tmp_path))[0, 0], np.rot90(GRAY[0], -1))


def test_sizes(tmp_path):
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, :4], wide[:, 4:12], wide[:, 12:] = 40, 120, 200
    write(
        tmp_path,
        {"a.png": wide, "b.png": wide[:, :8].copy(), "c.png": np.full((5, 9), 7, np.uint8)},
    )
    with pytest.raises(InputError, match=r"have 3 sizes, such as \d+×\d+ and .*data\.size=32"):
        loaded(tmp_path)
    crop = loaded(tmp_path, size=8)
    assert crop.spec.shape == (3, 8, 8)
    assert (pixels(crop)[0] == 120).all()  # the middle
    assert (pixels(crop)[2] == 7).all()
    stretch = pixels(loaded(tmp_path, size=(16, 16), fit="stretch"))
    assert (stretch[0, :, :, 0] == 40).all()
    assert (stretch[0, :, :, -1] == 200).all()
    assert abs(stretch[0].mean() - wide.mean()) < 2
    pad = pixels(loaded(tmp_path, size=(12, 16), fit="pad"))
    assert np.array_equal(pad[0, :, 2:10], wide.transpose(2, 0, 1))
    assert np.array_equal(pad[0, :, [0, 1, 10, 11]], wide[[0, 0, 7, 7]].transpose(0, 2, 1))
    odd = loaded(tmp_path, size=(9, 13))
    assert odd.spec.shape == (3, 9, 13)


def test_a_picture_that_is_much_larger_than_asked_for(tmp_path):
    """A JPEG of 512×512 for 16×16 may be decoded small; the mean of each of 16×16 cells stays."""
    coarse = RNG.integers(0, 256, (16, 16), dtype=np.uint8)
    write(tmp_path, {"a.jpg": coarse.repeat(32, 0).repeat(32, 1)})
    got = pixels(loaded(tmp_path, size=16))[0, 0]
    assert np.corrcoef(got.ravel(), coarse.ravel())[0, 1] > 0.97


def test_classes_of_sub_folders(tmp_path):
    names = {
        "Zebra crossing/ein Bild.png": RGB[0],
        "ärger/日本 語.png": RGB[1],
        "ärger/b/c.PNG": RGB[2],
    }
    write(tmp_path, {**names, ".hidden/x.png": "no", "notes.txt": "no"})
    data = loaded(tmp_path)
    assert data.spec.class_names == ("Zebra crossing", "ärger")
    assert data.label.tolist() == [0, 1, 1]
    assert np.array_equal(pixels(data), first(RGB[[0, 2, 1]]))
    assert loaded(tmp_path, labels="none").label is None
    write(tmp_path / "n", {f"{i}/a.png": RGB[i] for i in (10, 9, 2)})
    assert loaded(tmp_path / "n").spec.class_names == ("2", "9", "10")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"sub-folder 'empty' of .* has no pictures"):
        loaded(tmp_path)
    assert loaded(tmp_path, labels="none").spec.classes == 0
    (tmp_path / "empty").rmdir()
    write(tmp_path, {"beside.png": RGB[3]})
    with pytest.raises(InputError, match=r"1 pictures of .*beside\.png, lie beside"):
        loaded(tmp_path)


def test_one_sub_folder_is_no_class_unless_asked_for(tmp_path):
    write(tmp_path, numbered(RGB, folder="all/"))
    assert loaded(tmp_path).label is None
    assert loaded(tmp_path, labels="folders").spec.class_names == ("all",)


def test_a_class_without_a_usable_picture(tmp_path):
    write(tmp_path, {"a/0.png": RGB[0], "a/1.png": RGB[1], "b/0.png": b"broken"})
    with pytest.raises(InputError, match=r"class 'b' .*no usable picture"):
        loaded(tmp_path)


METADATA = [
    {"file_name": "00.png", "label": "ant", "text": "an ant"},
    {"file_name": "sub dir/01.png", "label": "bee", "text": "a bee, “flying”"},
    {"file_name": "02.png", "label": "ant", "text": ""},
]


def metadata(folder):
    files = {"00.png": RGB[0], "sub dir/01.png": RGB[1], "02.png": RGB[2]}
    lines = "\n".join(json.dumps(row) for row in METADATA)
    return write(folder, {**files, "metadata.jsonl": lines + "\n"})


def test_metadata_as_hugging_face_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    place = metadata(tmp_path / "d")
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


def test_tables(tmp_path):
    table = '\ufeffpath,label,caption\r\n./00.png,10,"one, two"\r\n01.png,9,\r\n'
    write(tmp_path, {**numbered(RGB[:2]), "labels.csv": table})
    data = loaded(tmp_path)
    assert (data.spec.class_names, data.label.tolist()) == (("9", "10"), [1, 0])
    assert data.caption == ("one, two", "")
    write(
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
def test_tables_that_cannot_be_used(tmp_path, name, text, words):
    write(tmp_path, {**numbered(RGB[:2]), name: text})
    with pytest.raises(InputError, match=words):
        loaded(tmp_path, labels="file")


def test_two_tables(tmp_path):
    write(metadata(tmp_path), {"labels.csv": "file_name,label\n"})
    with pytest.raises(InputError, match=r"has metadata\.jsonl and labels\.csv; one must go"):
        loaded(tmp_path)


def test_folders_train_and_test_are_the_splits(tmp_path):
    files = {**numbered(RGB[:4], folder="train/a/"), **numbered(RGB[4:6], folder="train/b/")}
    files |= {**numbered(RGB[6:9], folder="test/b/"), "other/x.png": RGB[9]}
    write(tmp_path, files)
    train, test = (loaded(tmp_path, s, holdout=0.5) for s in ("train", "test"))
    assert train.label.tolist() == [0, 0, 0, 0, 1, 1]
    assert test.label.tolist() == [1, 1, 1]
    assert np.array_equal(pixels(test), first(RGB[6:9]))
    assert train.spec.class_names == test.spec.class_names == ("a", "b")
    lines = [json.dumps({"file_name": f"b/{i:02}.png", "text": f"{i}"}) for i in range(3)]
    write(tmp_path, {"test/metadata.jsonl": "\n".join(lines)})
    assert loaded(tmp_path, "test").caption == ("0", "1", "2")
    assert loaded(tmp_path, "train").caption == ("",) * 6


def test_both_splits_are_brought_to_the_same(tmp_path):
    write(
        tmp_path,
        {**numbered(GRAY[:3], folder="train/"), "test/a.png": RGB[0], "test/b.png": RGB[1]},
    )
    assert loaded(tmp_path).spec.shape == loaded(tmp_path, "test").spec.shape == (3, 7, 5)


def test_held_out_files_stay_when_files_are_added(tmp_path):
    every = RNG.integers(0, 256, (60, 3, 3), dtype=np.uint8)
    write(tmp_path, numbered(every[:40]))
    names = [f"{i:02}.png" for i in range(60)]

    def split_of():
        train, test = (pixels(loaded(tmp_path, s, holdout=0.3)) for s in ("train", "test"))
        held = {array.tobytes() for array in test[:, 0]}
        assert not held & {array.tobytes() for array in train[:, 0]}
        assert len(train) + len(test) == len(list(tmp_path.iterdir()))
        return {n for n, array in zip(names, every, strict=True) if array.tobytes() in held}

    before = split_of()
    assert 4 <= len(before) <= 22
    write(tmp_path, {names[i]: every[i] for i in range(40, 60)})
    after = split_of()
    assert {n for n in after if n < "40"} == before
    with pytest.raises(InputError, match=r"no test split; .*data\.holdout=0\.1"):
        loaded(tmp_path, "test")
    with pytest.raises(InputError, match=r"holdout=1e-09 of 60 files leaves none to test"):
        loaded(tmp_path, "test", holdout=1e-9)


def test_broken_files_are_skipped_and_named_or_refused(tmp_path):
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
    write(tmp_path, {**numbered(RGB), **files})
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
    write(tmp_path / "all", files)
    with pytest.raises(InputError, match=r"only 0 of 7 pictures in .* can be used; bomb\.png: "):
        loaded(tmp_path / "all")


def test_values_that_16_bits_do_not_hold(tmp_path):
    write(tmp_path, {**numbered(DEEP), "x.tif": Image.fromarray(np.full((7, 5), 65536, np.int32))})
    data = loaded(tmp_path)
    assert np.array_equal(pixels(data)[:, 0], DEEP)
    assert dict(data.skipped) == {"x.tif": "values do not fit into 16 bits"}


def test_a_streamed_folder_is_the_same(tmp_path):
    write(tmp_path, {**numbered(RGB), "x.png": b"broken"})
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


def test_what_was_seen_is_remembered_until_something_changes(tmp_path, monkeypatch, cache):
    asked = []

    def counted(place, names, *rest):
        asked.append(len(names))
        return all_pixels(place, names, *rest)

    monkeypatch.setattr("scorefield.data.folder.all_pixels", counted)
    write(tmp_path, {**numbered(RGB), "x.png": b"broken"})
    table = "".join(f"{name}.png,{'ab'[int(name, 16) % 2]}\n" for name in ["00", "01", "02"])
    write(tmp_path, {"labels.csv": "file_name,label\n" + table})

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
    write(tmp_path, {"00.png": RGB[5]})
    assert [seen(), seen()] == [True, False]
    write(tmp_path, {"labels.csv": "file_name,label\n" + table + "03.png,b\n"})
    assert [seen(), seen()] == [True, False]
    for path in (cache / "surveys").iterdir():
        path.write_text("{")
    assert [seen(), seen()] == [True, False]


def test_what_was_seen_of_one_split_is_not_taken_for_another(tmp_path):
    write(tmp_path, numbered(RGB))
    for holdout in (0.2, 0.4, 0.8):
        for split in ("train", "test"):
            one, other = (loaded(tmp_path, split, holdout=holdout, memory=m) for m in (0.0, 1.0))
            assert one.spec == other.spec


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    write(tmp_path, numbered(RGB))
    monkeypatch.setattr("scorefield.data.surveys.cache_folder", lambda: tmp_path / "00.png")
    assert len(loaded(tmp_path, memory=0.0)) == 12


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(InputError, match=r"a folder or archive is needed, as in data.path=photos"):
        Folder().load()
    with pytest.raises(InputError, match="there is no folder or archive"):
        loaded(tmp_path / "none")
    with pytest.raises(InputError, match=r"no pictures in .*; other endings: none"):
        loaded(tmp_path)
    write(tmp_path, {"a.txt": "x", "b": "x"})
    with pytest.raises(InputError, match=r"no pictures in .*; other endings: 1 (\.txt|without), 1"):
        loaded(tmp_path)
    with pytest.raises(
        InputError, match=r"a\.txt is no folder, and no \.zip or \.tar archive that"
    ):
        loaded(tmp_path / "a.txt")
    write(tmp_path, numbered([GRAY[0], GRAY[0]]))
    with pytest.raises(InputError, match=r"all 2 pictures in .* are equal"):
        loaded(tmp_path)
    write(tmp_path, numbered([np.full((3, 3), 9, np.uint8)] * 2))
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
