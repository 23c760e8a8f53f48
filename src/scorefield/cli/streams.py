"""Standard output and standard error that do not end the work when they are cut off."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Outlet(io.FileIO):
    """A standard stream whose reader may leave, as `head` does, and whose disk may be full.

    What cannot be written is dropped, and so is all that follows: a run goes on, and its model is saved.

    Arguments:
        number: of the stream, 1 or 2.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.fault: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return memoryview(data).nbytes

    @property
    def complaint(self) -> str:
        """Why not all was written; '' if it was, or if the reader has had enough."""
        if self.fault is None or isinstance(self.fault, BrokenPipeError):
            return ""
        return str(self.fault.strerror)


def lasting() -> Outlet | None:
    """Make this process's standard streams last as long as it; gives the outlet of its output, if any.

    A stream that is closed is opened to nowhere, lest a file of ours gets its number. Letters that a
    stream's encoding does not have become '?'. Streams that something else put there are left as they are.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  (for as long as the process)
    said = None
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout, said = _lasting(1, sys.stdout)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr, _ = _lasting(2, sys.stderr)
    return said


def _lasting(number: int, stream: TextIO) -> tuple[TextIO, Outlet | None]:
    stream.flush()
    if stream.isatty():  # which is never full, and on Windows has a way of its own to be written to
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        return stream, None
    outlet = Outlet(number)
    buffer = io.BufferedWriter(outlet)
    text = io.TextIOWrapper(buffer, stream.encoding, errors="replace", line_buffering=True)
    return text, outlet
