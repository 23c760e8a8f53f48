"""Folders of pictures that Pillow, or bytes by a format's specification, wrote; read back exactly."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data.folder import Folder
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


def test_jpeg_is_what_pillow_decodes_and_near_the_picture(tmp_path, save):
    ramp = np.linspace(0, 255, 32, dtype=np.uint8)
    picture = np.broadcast_to(ramp[:, None, None], (32, 48, 3)).copy()
    save(tmp_path, {"a.JPG": picture, "b.jpeg": picture[::-1].copy()})
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
def test_png_as_its_specification_says(tmp_path, kind, depth, array, expected, png, save):
    save(tmp_path, {f"{i:02}.png": png(a, kind, depth) for i, a in enumerate(array)})
    data = loaded(tmp_path)
    assert np.array_equal(pixels(data), expected)
    levels = 65536 if kind == 0 and depth == 16 else 256
    assert data.spec.levels == levels
    x, _ = data.batch(torch.arange(len(data)))
    assert np.allclose(x, expected / (levels - 1) * 2 - 1, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_16_bits_as_its_specification_says(tmp_path, order, save):
    def tiff(array):
        """One strip of gray: TIFF 6.0, section 2 and 3."""
        height, width = array.shape
        tags = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height}
        tags[279] = array.nbytes
        body = array.astype(f"{order}u2").tobytes()
        entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, n) for tag, n in tags.items())
        head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
        return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)

    save(tmp_path, {f"{i:02}.tif": tiff(a) for i, a in enumerate(DEEP)})
    data = loaded(tmp_path)
    assert data.stored(torch.tensor([1])).dtype == torch.uint16
    assert np.array_equal(pixels(data)[:, 0], DEEP)
    small = pixels(loaded(tmp_path, size=(3, 4)))
    assert small.shape == (12, 1, 3, 4)
    assert abs(small.mean() - DEEP.mean()) < 2000


def test_a_filter_that_overshoots_does_not_wrap_around(tmp_path, save):
    edge = np.broadcast_to(np.where(np.arange(8) < 4, 0, 65535), (8, 8)).astype(np.uint16)
    save(tmp_path, {"a.png": edge, "b.png": edge.T.copy()})
    got = pixels(loaded(tmp_path, size=32))[0, 0]
    assert (got[:, :14] < 10_000).all()
    assert (got[:, 18:] > 55_000).all()


def test_channels(tmp_path, save):
    alpha = np.where(np.arange(5) < 2, 0, 255) + np.zeros((12, 7, 1), int)
    rgba = np.concatenate([RGB, alpha[..., None].astype(np.uint8)], 3)
    save(tmp_path / "rgba", numbered(rgba))
    on_white = np.where(alpha[..., None] == 0, 255, RGB)
    assert np.array_equal(pixels(loaded(tmp_path / "rgba")), first(on_white))
    data = loaded(tmp_path / "rgba", channels="rgba")
    assert np.array_equal(pixels(data), first(rgba))
    assert data.spec.shape == (4, 7, 5)
    save(tmp_path / "mixed", {**numbered(GRAY[:3]), "z.png": RGB[0]})
    got = pixels(loaded(tmp_path / "mixed"))
    assert np.array_equal(got[:3], GRAY[:3, None].repeat(3, 1))
    assert np.array_equal(got[3], RGB[0].transpose(2, 0, 1))
    # ITU-R BT.601's luma
    luma = RGB[0] @ [0.299, 0.587, 0.114]
    got = pixels(loaded(tmp_path / "mixed", channels="gray"))
    assert np.array_equal(got[:3, 0], GRAY[:3])
    assert np.abs(got[3, 0] - luma).max() <= 1
    save(tmp_path / "bits", numbered([Image.fromarray(i > 99).convert("1") for i in GRAY]))
    assert np.array_equal(pixels(loaded(tmp_path / "bits"))[:, 0], (GRAY > 99) * 255)
    save(tmp_path / "deep", numbered([*DEEP[:2]]))
    with pytest.raises(InputError, match="16 bits are gray, got channels=rgb"):
        loaded(tmp_path / "deep", channels="rgb")
    save(tmp_path / "deep", {"z.png": GRAY[0]})
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


def test_exif_behind_the_pixels_of_a_png(tmp_path, png, save):
    exif = Image.Exif()
    exif[0x0112] = 6
    late = png(GRAY[0], 0, 8)
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body
    chunk += struct.pack(">I", zlib.crc32(b"eXIf" + body))
    save(tmp_path, {"a.png": late[:-12] + chunk + late[-12:]})
    assert np.array_equal(pixels(loaded(tmp_path))[0, 0], np.rot90(GRAY[0], -1))


def test_sizes(tmp_path, save):
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, :4], wide[:, 4:12], wide[:, 12:] = 40, 120, 200
    save(
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


def test_a_picture_that_is_much_larger_than_asked_for(tmp_path, save):
    """A JPEG of 512×512 for 16×16 may be decoded small; the mean of each of 16×16 cells stays."""
    coarse = RNG.integers(0, 256, (16, 16), dtype=np.uint8)
    save(tmp_path, {"a.jpg": coarse.repeat(32, 0).repeat(32, 1)})
    got = pixels(loaded(tmp_path, size=16))[0, 0]
    assert np.corrcoef(got.ravel(), coarse.ravel())[0, 1] > 0.97


def test_values_that_16_bits_do_not_hold(tmp_path, save):
    save(tmp_path, {**numbered(DEEP), "x.tif": Image.fromarray(np.full((7, 5), 65536, np.int32))})
    data = loaded(tmp_path)
    assert np.array_equal(pixels(data)[:, 0], DEEP)
    assert dict(data.skipped) == {"x.tif": "values do not fit into 16 bits"}
