"""Where files are: in a folder, or in an archive that is read without being unpacked."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import tarfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tarfile import (  # type: ignore[attr-defined]  # the stubs lack two
    InvalidHeaderError,
    ReadError,
    TruncatedHeaderError,
)
from threading import Lock
from typing import Any, NamedTuple, Self

from scorefield.data.base import Skipped
from scorefield.errors import InputError

PICTURES = frozenset(
    f".{ending}"
    for ending in "png jpg jpeg jpe jfif webp tif tiff bmp gif pbm pgm ppm pnm".split()  # noqa: SIM905
)
TABLES = frozenset((".csv", ".jsonl"))
LARGEST = 1 << 28  # bytes of a file; no honest picture or table of labels has more


class Entry(NamedTuple):
    """What is found in a folder or an archive.

    Arguments:
        name: its path inside.
        size: bytes.
        changed: a number that differs when the file was changed.
        where: how its bytes are found.
        folder: whether it is a folder.
        problem: why it cannot be read, in a few words; '' if it can.
    """

    name: str
    size: int = 0
    changed: int = 0
    where: Any = None
    folder: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Place:
    """The pictures and tables in a folder or an archive.

    Arguments:
        path: the folder or the archive.
        files: entries by their path inside, with slashes, in order; hidden ones are left out.
        folders: paths of the folders inside, in order.
        skipped: pictures and tables that cannot be read.
        endings: of the other files, and how many there are of each.
        reader: the bytes of an entry.
    """

    path: Path
    files: dict[str, Entry]
    folders: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    endings: Counter[str]
    reader: Callable[[Entry], bytes]

    def read(self, name: str) -> bytes:
        """The bytes of a file; may be called by several threads.

        Arguments:
            name: its path inside.
        """
        return self.reader(self.files[name])


def open_place(path: Path, held: int) -> Place:
    """List a folder, a .zip, a .tar or a compressed .tar.

    Of archives the folders around all files are left out of the names.

    Arguments:
        path: the folder or the archive.
        held: bytes of a compressed .tar that may be held in memory, as it can only be read in order.

    Raises:
        InputError: when there is nothing, when it cannot be read, or when a name leads out of it.
    """
    try:
        if path.is_dir():
            return _place(path, _walk(path), lambda e: _slice(Path(e.where), 0, e.size))
        if not path.exists():
            raise InputError(f"there is no folder or archive {path}")
        if tarfile.is_tarfile(path):
            return _tar(path, held)
        if zipfile.is_zipfile(path):
            return _zip(path)
    except InputError:
        raise
    except Exception as error:  # what others' files hold makes readers fail in any way
        raise unreadable(str(path), error) from error
    raise InputError(f"{path} is no folder, and no .zip or .tar archive that can be read")


def unreadable(what: str, error: Exception) -> InputError:
    """The error for a file that its reader could not read.

    Arguments:
        what: the file.
        error: what the reader raised.
    """
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return InputError(f"cannot read {what}: {reason}")


def _place(
    path: Path, entries: Iterable[Entry], reader: Callable[[Entry], bytes], *, archive: bool = False
) -> Place:
    files, folders, skipped, endings = {}, set(), {}, Counter[str]()
    for entry in entries:
        name = unicodedata.normalize("NFC", entry.name)
        name = _printable(name.replace("\\", "/") if archive else name)
        if archive:
            name = _inside(name, path)
        if any(part.startswith(".") or part == "__MACOSX" for part in name.split("/")):
            continue
        ending = os.path.splitext(name)[1].lower()
        if entry.folder:
            folders.add(name)
        elif ending not in PICTURES | TABLES:
            endings[ending] += 1
        elif entry.problem or entry.size > LARGEST:
            skipped[name] = entry.problem or f"{entry.size:,} bytes are more than {LARGEST:,}"
        else:
            files[name] = entry
    top = _around([*files, *skipped]) if archive else ""
    folders = {name for name in folders if name and not top.startswith(f"{name}/")}
    return Place(
        path,
        {name.removeprefix(top): files[name] for name in sorted(files)},
        tuple(sorted(name.removeprefix(top) for name in folders)),
        tuple(Skipped(name.removeprefix(top), why) for name, why in sorted(skipped.items())),
        endings,
        reader,
    )


def _printable(name: str) -> str:
    """A name in which what would steer a terminal, or is no Unicode, is spelled out."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def _inside(name: str, path: Path) -> str:
    """A member's name without empty parts, if it does not lead out of the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts:
        raise InputError(f"{path} has a member '{name}' that leads out of it; it is not read")
    return "/".join(parts)


def _around(names: list[str]) -> str:
    """The folders that all names begin with, and a slash."""
    folders = {posixpath.dirname(name) for name in names}
    common = posixpath.commonpath(folders) if folders else ""
    return f"{common}/" if common else ""


def _slice(path: Path, begin: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(size)


def _walk(root: Path) -> Iterator[Entry]:
    """Files and folders below a folder, links followed, no folder twice."""
    status = root.stat()
    waiting, seen = [(str(root), "")], {(status.st_dev, status.st_ino)}
    while waiting:
        folder, prefix = waiting.pop()
        with os.scandir(folder) as found:
            for item in found:
                name = prefix + item.name
                try:
                    status = item.stat()
                except OSError as error:
                    yield Entry(name, problem=error.strerror or "cannot be read")
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    problem = "" if stat.S_ISREG(status.st_mode) else "not a regular file"
                    yield Entry(
                        name, status.st_size, status.st_mtime_ns, item.path, problem=problem
                    )
                elif (status.st_dev, status.st_ino) not in seen:
                    seen.add((status.st_dev, status.st_ino))
                    yield Entry(name, folder=True)
                    if not item.name.startswith("."):
                        waiting.append((item.path, name + "/"))


def _zip(path: Path) -> Place:
    archive, lock = zipfile.ZipFile(path), Lock()

    def reader(entry: Entry) -> bytes:
        # The archive counts its open members without a lock of its own.
        with lock:
            member = archive.open(entry.where)
        try:
            return member.read()
        finally:
            with lock:
                member.close()

    return _place(path, map(_zipped, archive.infolist()), reader, archive=True)


def _zipped(info: zipfile.ZipInfo) -> Entry:
    problem = ""
    if stat.S_ISLNK(info.external_attr >> 16):
        problem = "a link, which is not followed"
    elif info.flag_bits & 1:
        problem = "encrypted"
    return Entry(info.filename, info.file_size, info.CRC, info, info.is_dir(), problem)


class _Member(tarfile.TarInfo):
    """A member of a .tar; after a damaged header tarfile would take the archive for ended."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except (InvalidHeaderError, TruncatedHeaderError) as error:
            raise ReadError(f"damaged at byte {tarfile.offset:,}: {error}") from error


def _tar(path: Path, held: int) -> Place:
    try:
        with tarfile.open(path, "r:", tarinfo=_Member) as archive:
            entries = [_tarred(info) for info in archive]
    except ReadError:
        return _packed(path, held)
    return _place(path, entries, lambda e: _slice(path, e.where, e.size), archive=True)


def _tarred(info: tarfile.TarInfo) -> Entry:
    problem = ""
    if info.issym() or info.islnk():
        problem = "a link, which is not followed"
    elif not info.isreg() or info.issparse():
        problem = "not a regular file"
    return Entry(info.name, info.size, int(info.mtime), info.offset_data, info.isdir(), problem)


def _packed(path: Path, held: int) -> Place:
    """A compressed .tar, which can only be read in order: its pictures and tables are held as they are."""
    entries, content, size = [], {}, 0
    with tarfile.open(path, "r|*", tarinfo=_Member) as archive:
        for info in archive:
            entry = _tarred(info)
            entries.append(entry)
            ending = os.path.splitext(info.name)[1].lower()
            if ending not in PICTURES | TABLES or entry.problem or entry.size > LARGEST:
                continue
            size += entry.size
            if size > held:
                raise InputError(
                    f"{path} has more than {held / 2**30:g} GiB of pictures and, compressed as a "
                    f"whole, can only be read in order; use a .zip, a plain .tar or more data.memory"
                )
            file = archive.extractfile(info)
            content[info.offset_data] = b"" if file is None else file.read()
    return _place(path, entries, lambda e: content[e.where], archive=True)
