"""Files that are there whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from scorefield.atomic import check_file, check_writable, clear_partial, whole_file
from scorefield.errors import InputError


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "er" / "picture.png"
    with whole_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".png"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert listing(path.parent) == ["picture.png"]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        with whole_file(tmp_path / "file") as temporary:
            temporary.write_text("x")
    finally:
        now = os.umask(old)
    assert now == 0o027
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, InputError])
@pytest.mark.parametrize("exists", [False, True])
def test_a_failing_block_leaves_what_was_there(tmp_path, error, exists):
    path = tmp_path / "file"
    if exists:
        path.write_bytes(b"before")
    with pytest.raises(error), whole_file(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise error("stop")
    assert listing(tmp_path) == (["file"] if exists else [])
    assert not exists or path.read_bytes() == b"before"


def test_a_disk_that_is_full_is_told_in_a_sentence(tmp_path):
    with (
        pytest.raises(
            InputError,
            match=rf"^cannot write .*file: No space left on device \([\d,.]+ MB free in {tmp_path}\)$",
        ),
        whole_file(tmp_path / "file"),
    ):
        raise OSError(28, "No space left on device")
    assert listing(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from scorefield.atomic import whole_file
with whole_file(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_leaves_is_cleared_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "picture.png"
    words = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    (left,) = listing(path.parent)
    assert "partial" in left
    with whole_file(path.parent / "mine") as temporary:
        temporary.write_text("x")
        clear_partial(tmp_path, int(done.stdout))
        assert listing(path.parent) == [temporary.name]
    clear_partial(tmp_path, os.getpid())
    assert listing(path.parent) == ["mine"]


def test_a_new_name_is_flushed_with_its_folder(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle)))
    with whole_file(tmp_path / "file") as temporary:
        temporary.write_text("x")
    file, folder = flushed  # in this order: the name must not outlive the content
    assert (file.st_ino, folder.st_ino) == (
        (tmp_path / "file").stat().st_ino,
        tmp_path.stat().st_ino,
    )


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "x.png", tmp_path / "folder"):
        with pytest.raises(InputError, match=f"cannot write {path}"), whole_file(path) as temporary:
            temporary.write_text("x")
    assert listing(tmp_path) == ["file", "folder"]


def test_check_writable_makes_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path, tmp_path / "new", tmp_path / "a" / "b" / "c.png", tmp_path / "file"):
        check_writable(path)
    with pytest.raises(InputError, match=f"cannot write .*c.png: {tmp_path / 'file'} is not a"):
        check_writable(tmp_path / "file" / "b" / "c.png")
    assert listing(tmp_path) == ["file"]


def test_check_file_knows_its_ending_and_makes_nothing(tmp_path):
    (tmp_path / "x.png").mkdir()
    check_file(tmp_path / "new" / "y.png", ".png")
    with pytest.raises(InputError, match=r"cannot write 'y\.jpg'; the ending is \.png"):
        check_file(tmp_path / "y.jpg", ".png")
    with pytest.raises(InputError, match=r"x\.png: there is a folder of that name"):
        check_file(tmp_path / "x.png", ".png")
    with pytest.raises(InputError, match="is not a folder"):
        check_file(Path(__file__) / "y.png", ".png")
    assert listing(tmp_path) == ["x.png"]


def test_check_writable_asks_for_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(InputError, match=f"cannot write .*: {tmp_path} cannot be written"):
        check_writable(tmp_path / "new" / "file")
