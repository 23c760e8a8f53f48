"""One run, one writer: a lock on the run folder that ends with its process."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from scorefield.atomic import writing
from scorefield.errors import InputError

LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Holder:
    """The process that has a run folder.

    Arguments:
        pid: its number.
        host: the machine it runs on.
    """

    pid: int
    host: str


@contextmanager
def locked(folder: Path) -> Iterator[Holder | None]:
    """Have a run folder alone; gives who had it before, who is gone, if anybody.

    The lock is the kernel's (flock), which lets go of it when the process ends in any way, so that none is
    left behind. The file stays. Processes on one machine exclude each other; on NFS so do machines, if
    it is served with locks, as by Linux. Where the system or the file system has no locks, there is none.

    Arguments:
        folder: the run folder; made if it is not there.

    Raises:
        InputError: when another process has it, or the folder cannot be written.
    """
    path = folder / LOCK_FILE
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    with closing(file):
        free, last = _taken(file), _holder(file)
        if not free:
            who = f"process {last.pid} on {last.host}" if last else "another process"
            raise InputError(
                f"{who} is training in {folder}; stop it first, or choose another folder"
            )
        with writing(path):
            file.truncate(0)
            file.write(json.dumps(asdict(Holder(os.getpid(), socket.gethostname()))))
            file.flush()
        yield last


def _taken(file: TextIO) -> bool:
    """Take the lock of a file, unless another has it."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return True
    return True


def _holder(file: TextIO) -> Holder | None:
    file.seek(0)
    with suppress(ValueError, TypeError):
        return Holder(**json.loads(file.read()))
    return None
