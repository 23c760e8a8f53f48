"""Ctrl-C, and the kill of a batch system, ask work to end well; a second Ctrl-C ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from scorefield.cli.output import is_silent

ASKED = b"\nstopping after this step; Ctrl-C again stops at once\n"


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call ``stop`` at the first SIGINT or SIGTERM; gives a list, which then holds the signal's number.

    A second SIGINT is a KeyboardInterrupt. A second SIGTERM is not: launchers send one after a Ctrl-C. A
    signal that was ignored stays so, as with nohup.

    Arguments:
        stop: asks the work to end; called between two instructions of it.
    """
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not caught:
            caught.append(number)
            if not is_silent():
                os.write(2, ASKED)  # a print might be in the middle of another
            stop()

    if threading.current_thread() is not threading.main_thread():
        yield caught  # handlers belong to the main thread
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, handle)
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
