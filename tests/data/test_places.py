"""Archives that Python's own library wrote, honest, damaged and hostile ones; nothing is unpacked."""

import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.data import places
from scorefield.data.folder import Folder
from scorefield.data.places import open_place
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError

RNG = np.random.default_rng(5)
KINDS = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]


def png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "png")
    return out.getvalue()


PIXELS = RNG.integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
FILES = {f"{'ab'[i % 2]}/bild {i:02} é.png": png(array) for i, array in enumerate(PIXELS)}


def archive(path, files, top=""):
    """A .zip or .tar of bytes by name; a ZipInfo or TarInfo may stand in place of bytes."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, content in files.items():
                if isinstance(content, zipfile.ZipInfo):
                    out.writestr(content, b"elsewhere")
                else:
                    out.writestr(top + name, content)
        return path
    packing = path.suffix[1:] if path.suffix != ".tar" else ""
    with tarfile.open(path, f"w:{packing}") as out:
        for name, content in files.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(top + name)
            if info is not content:
                info.size = len(content)
            out.addfile(info, io.BytesIO(content) if info is not content else None)
    return path


def pixels(data):
    return data.stored(torch.arange(len(data))).numpy()


@pytest.mark.parametrize("top", ["", "./", "photos/all of them/"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_is_a_folder(tmp_path, kind, top):
    inside = {**FILES, "__MACOSX/._x.png": b"", ".DS_Store": b"", "a/.x.png": b""}
    inside["labels.csv"] = (
        "file_name,caption\n" + "".join(f"{n},{n[0]}\n" for n in FILES)
    ).encode()
    path = archive(tmp_path / f"x.{kind}", inside, top)
    data = Folder(str(path)).load()
    order = sorted(range(40), key=lambda i: list(FILES)[i])
    assert np.array_equal(pixels(data), PIXELS[order].transpose(0, 3, 1, 2))
    assert data.spec.class_names == ("a", "b")
    assert data.caption == tuple(list(FILES)[i][0] for i in order)
    assert data.skipped == ()
    streamed = Folder(str(path), memory=2**-14, size=40, workers=4).load()
    held = Folder(str(path), size=40).load()
    assert torch.equal(streamed.stored(torch.arange(40)), held.x)
    assert (type(streamed), streamed.spec) == (Streamed, held.spec)
    assert list(tmp_path.iterdir()) == [path]


def test_empty_folders_of_an_archive(tmp_path):
    files = {f"my/photos/{name}": content for name, content in FILES.items()}
    empty = ("my/", "my/photos/", "elsewhere/", "my/photos/a/")
    path = archive(tmp_path / "x.zip", {**dict.fromkeys(empty, b""), **files})
    assert open_place(path, 0).folders == ("a", "elsewhere")
    path = archive(tmp_path / "y.zip", {"my/": b"", "my/photos/c/": b"", **files})
    with pytest.raises(InputError, match="sub-folder 'c' of"):
        Folder(str(path)).load()


def test_splits_by_name_are_the_same_in_a_folder_and_in_its_archive(tmp_path):
    for name, content in FILES.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    path = archive(tmp_path / "x.zip", FILES, "photos/")
    one, other = (Folder(str(p), holdout=0.3).load("test") for p in (tmp_path / "photos", path))
    assert torch.equal(one.x, other.x)
    assert 3 < len(one) < 25


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "C:/x.png", "..\\x.png"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_name_that_leads_out_is_refused(tmp_path, kind, name):
    path = archive(tmp_path / f"x.{kind}", {**FILES, name: FILES["a/bild 00 é.png"]})
    with pytest.raises(InputError, match=r"has a member '.*x\.png' that leads out of it"):
        Folder(str(path)).load()


def made(cls, name, **fields):
    info = cls(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def test_links_and_devices_are_not_followed(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(FILES["a/bild 00 é.png"])
    links = {
        "a/s.png": made(tarfile.TarInfo, "a/s.png", type=tarfile.SYMTYPE, linkname=str(secret)),
        "a/h.png": made(
            tarfile.TarInfo, "a/h.png", type=tarfile.LNKTYPE, linkname="a/bild 00 é.png"
        ),
        "a/d.png": made(tarfile.TarInfo, "a/d.png", type=tarfile.CHRTYPE),
    }
    for kind in ("tar", "tar.gz"):
        data = Folder(str(archive(tmp_path / f"x.{kind}", {**FILES, **links}))).load()
        assert len(data) == 40
        assert dict(data.skipped) == {
            "a/d.png": "not a regular file",
            "a/h.png": "a link, which is not followed",
            "a/s.png": "a link, which is not followed",
        }
    link = made(zipfile.ZipInfo, "a/s.png", external_attr=0o120777 << 16, create_system=3)
    data = Folder(str(archive(tmp_path / "x.zip", {**FILES, "a/s.png": link}))).load()
    assert (len(data), dict(data.skipped)) == (40, {"a/s.png": "a link, which is not followed"})


def test_a_folder_follows_links_but_none_in_circles(tmp_path):
    (tmp_path / "d" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere.png").write_bytes(FILES["a/bild 00 é.png"])
    (tmp_path / "d" / "a" / "x.png").symlink_to(tmp_path / "elsewhere.png")
    (tmp_path / "d" / "a" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (tmp_path / "d" / "a" / "round").symlink_to(tmp_path / "d")
    os.mkfifo(tmp_path / "d" / "a" / "pipe.png")
    place = open_place(tmp_path / "d", 0)
    assert list(place.files) == ["a/x.png"]
    assert dict(place.skipped) == {
        "a/gone.png": "No such file or directory",
        "a/pipe.png": "not a regular file",
    }


def test_names_that_would_steer_a_terminal_are_spelled_out(tmp_path):
    path = archive(tmp_path / "x.tar", {**FILES, "a/\x1b[2J\n.png": b"broken"})
    assert Folder(str(path)).load().skipped[0].name == r"a/\x1b[2J\n.png"
    (tmp_path / "d").mkdir()
    for i, name in enumerate([b"a.png", b"\xe4.png"]):  # the second in Latin-1
        with open(os.path.join(os.fsencode(tmp_path / "d"), name), "wb") as file:
            file.write(list(FILES.values())[i])
    data = Folder(str(tmp_path / "d"), memory=0.0, holdout=1e-9).load()
    assert np.array_equal(pixels(data), PIXELS[[1, 0]].transpose(0, 3, 1, 2))


def test_members_that_promise_or_hide_too_much(tmp_path, monkeypatch):
    path = archive(tmp_path / "x.zip", {**FILES, "a/zeros.png": bytes(3 << 20)})
    monkeypatch.setattr(places, "LARGEST", 1 << 20)
    data = Folder(str(path)).load()
    assert dict(data.skipped) == {"a/zeros.png": "3,145,728 bytes are more than 1,048,576"}
    # the same with a size that is a lie, in both headers
    lie = path.read_bytes().replace((3 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    path.write_bytes(lie)
    data = Folder(str(path)).load()
    assert [name for name, _ in data.skipped] == ["a/zeros.png"]
    content = bytearray(archive(tmp_path / "y.zip", FILES).read_bytes())
    content[6] |= (
        1  # the first member's flags say that it is encrypted, so do those of the directory
    )
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "y.zip").write_bytes(content)
    assert dict(Folder(str(tmp_path / "y.zip")).load().skipped) == {"a/bild 00 é.png": "encrypted"}


def test_a_compressed_tar_that_memory_does_not_hold(tmp_path):
    path = archive(tmp_path / "x.tar.gz", FILES)
    with pytest.raises(InputError, match=r"more than .* GiB of pictures .* use a \.zip, a plain"):
        Folder(str(path), memory=1000 / 2**30).load()


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_archives(tmp_path, kind):
    path = archive(tmp_path / f"x.{kind}", FILES)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])
    with pytest.raises(InputError, match=r"cannot read|is no folder, and no \.zip or \.tar"):
        Folder(str(path)).load()
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is no folder, and no"):
        Folder(str(path)).load()


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_with_a_damaged_header_in_the_middle_has_not_ended(tmp_path, kind):
    path = archive(tmp_path / f"x.{kind}", FILES)
    content = bytearray(gzip.decompress(path.read_bytes()) if kind != "tar" else path.read_bytes())
    at = content.rindex(b"bild 20")
    content[at] ^= 255
    path.write_bytes(gzip.compress(content) if kind != "tar" else content)
    with pytest.raises(InputError, match=r"cannot read .*: damaged at byte [\d,]+: bad checksum"):
        Folder(str(path)).load()


def test_a_table_in_an_archive_that_is_damaged(tmp_path):
    table = "file_name,label\n" + "".join(f"{name},x{i % 2}\n" for i, name in enumerate(FILES))
    path = archive(tmp_path / "x.zip", {"labels.csv": table.encode(), **FILES})
    content = bytearray(path.read_bytes())
    content[content.index(b"labels.csv") + 30] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read labels\.csv of .*x\.zip: "):
        Folder(str(path)).load()


def test_a_damaged_member(tmp_path):
    path = archive(tmp_path / "x.zip", FILES)
    content = bytearray(path.read_bytes())
    begin = content.index(b"\x89PNG") if b"\x89PNG" in content else 60
    content[begin + 20] ^= 255
    path.write_bytes(content)
    assert [name for name, _ in Folder(str(path)).load().skipped] == ["a/bild 00 é.png"]


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(places.os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*Permission denied"):
        open_place(tmp_path, 0)
