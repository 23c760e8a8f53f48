"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scorefield.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
# What is raised on files that are no arrays or pictures, or whose bytes have changed.
DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zlib.error,
    zipfile.BadZipFile,
)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path`` that takes its name when the block ends well.

    The file is flushed to the disk before it is renamed, and the folder after; when the block fails,
    nothing is left. What a killed process leaves has its number in the name: see `clear_partial`.

    Arguments:
        path: where the file is to be.

    Raises:
        InputError: when the folder or the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ending stays the same: writers choose a format by it.
        handle, name = tempfile.mkstemp(
            prefix=f".{os.getpid()}-", suffix=f".partial{path.suffix}", dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
            _flush_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system says against writing ``path`` is told in a sentence.

    Arguments:
        path: what the block writes.

    Raises:
        InputError: with the reason; of a full disk, with the space that is left on it.
    """
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error)
        if error.errno in FULL:
            with suppress(OSError):
                free = shutil.disk_usage(path.parent).free
                reason += f" ({free / 1e6:,.1f} MB free in {path.parent})"
        raise InputError(f"cannot write {path}: {reason}") from error


def read_json(path: Path) -> Any:  # noqa: ANN401  (JSON holds anything)
    """What a file of JSON says.

    Arguments:
        path: the file.

    Raises:
        InputError: when it cannot be read, or is something else.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # also of bytes that are no UTF-8
        raise InputError(f"{path} is not JSON: {error}") from error


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The mappings in a file of lines of JSON; lines that were cut off, or are anything else, are left out.

    Arguments:
        path: the file.

    Raises:
        OSError: when it cannot be read.
    """
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        with suppress(ValueError, RecursionError):
            line = json.loads(text)
            if isinstance(line, dict):
                yield line


@contextmanager
def reading_arrays(path: Path) -> Iterator[None]:
    """What numpy and zipfile say of ``path``, which may be no such file or a damaged one, in a sentence.

    Arguments:
        path: what the block reads.

    Raises:
        InputError: with the reason.
    """
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from error


def clear_partial(folder: Path, process: int) -> None:
    """Delete what a killed process left of files that it had not finished.

    Arguments:
        folder: searched with all that is in it.
        process: the number of a process that writes there no more.
    """
    for path in folder.rglob(f".{process}-*.partial*"):
        path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make names last: a renamed file is safe from a loss of power when its folder is on the disk."""
    with suppress(OSError):  # not every system opens folders, nor every file system flushes them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_writable(path: Path) -> None:
    """Refuse a path that cannot be written before work is spent on it.

    Arguments:
        path: a file or folder that may not exist yet.

    Raises:
        InputError: when it lies below a file or in a folder without permission.
    """
    nearest = path
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir() and nearest != path:
        raise InputError(f"cannot write {path}: {nearest} is not a folder")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"cannot write {path}: {nearest} cannot be written")


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be written before work is spent on it.

    Arguments:
        path: a folder that may not exist yet.

    Raises:
        InputError: where a file has the name, or where `check_writable` refuses.
    """
    if path.is_file():
        raise InputError(f"cannot write a folder {path}: there is a file of that name")
    check_writable(path)


def check_file(path: Path, ending: str) -> None:
    """Refuse a file that cannot be written, or of another ending, before work is spent on it.

    Arguments:
        path: a file that may not exist yet.
        ending: what its name must end in, with the dot.

    Raises:
        InputError: for another ending, where a folder has the name, or where `check_writable` refuses.
    """
    if path.is_dir():
        raise InputError(f"cannot write a file {path}: there is a folder of that name")
    if path.suffix != ending:
        raise InputError(f"cannot write '{path.name}'; the ending is {ending}")
    check_writable(path)
