"""What the process asks of the allocator of memory, before there is work."""

from __future__ import annotations

import ctypes
import os
import sys

# How much memory may lie free before it goes back to the system, and how large a block must be to be the
# system's own: the variable that glibc reads when a process starts, the number by which `mallopt` knows the
# same, and bytes.
KEPT = {"MALLOC_TRIM_THRESHOLD_": (-1, 2**31 - 1), "MALLOC_MMAP_THRESHOLD_": (-3, 2**30)}


def keep_memory() -> None:
    """Let freed memory stay with the process, for the next step of the network.

    The activations of a step are freed at its end and allocated again by the next; from the system, each of
    their pages comes anew, zeroed, by way of a fault. Does nothing where there is no glibc, and where the
    environment says what the allocator should do.
    """
    if sys.platform != "linux" or any(name in os.environ for name in (*KEPT, "GLIBC_TUNABLES")):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for number, size in KEPT.values():
            mallopt(number, size)
