"""Many processes with the same error say it once."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from datetime import timedelta

WAIT = 2.0  # seconds for an answer from the store that the processes share


def first_to_say(sentence: str) -> bool:
    """Whether no other process of this launch has asked for the same sentence.

    Processes count in the store of their launcher. Where there is none to ask, because it was the first
    process that kept it and has gone, each speaks: twice is better than never.

    Arguments:
        sentence: what is to be said.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    place = os.environ.get("MASTER_ADDR", "localhost"), int(os.environ.get("MASTER_PORT", "29500"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    with suppress(OSError, RuntimeError):
        socket.create_connection(place, WAIT).close()  # torch would try again and again, and warn
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        store = TCPStore(*place, is_master=False, timeout=timedelta(seconds=WAIT))
        return int(store.add(f"scorefield/{attempt}/{sentence}", 1)) == 1
    return True
