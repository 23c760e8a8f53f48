"""Which samples of a file are held out for tests."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from scorefield.data.base import Split
from scorefield.data.published import known_split
from scorefield.errors import InputError


def check_share(holdout: float) -> None:
    """Refuse a share that leaves nothing to train on.

    Arguments:
        holdout: share of the samples that is held out, from 0 to below 1.

    Raises:
        InputError: for any other number.
    """
    if not 0 <= holdout < 1:
        raise InputError(f"holdout must lie from 0 to below 1, got {holdout}")


def chosen(count: int, holdout: float, split: Split) -> NDArray[np.int64]:
    """The numbers of the samples in a split.

    Sample i is held out if a hash of i, uniform in [0, 1), lies below the share. So its lot does not
    change when samples are appended to the file, and a larger share holds out all that a smaller one does.

    Arguments:
        count: samples in the file.
        holdout: share that is held out.
        split: 'train' or 'test'.

    Raises:
        InputError: when the split is empty.
    """
    test = known_split(split) == "test"
    if test and holdout == 0:
        raise InputError("there is no test split; hold a share out, as in data.holdout=0.1")
    found = np.flatnonzero((_uniform(count) < holdout) == test)
    if len(found) == 0:
        raise InputError(f"holdout={holdout:g} of {count} samples leaves none to {split}")
    return found


def held_out(name: str, holdout: float) -> bool:
    """Whether a file is held out: a hash of its name, uniform in [0, 1), lies below the share.

    So files that are added move no others, and a larger share holds out all that a smaller one does.

    Arguments:
        name: its path inside the data.
        holdout: share that is held out.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8]) < holdout * 2.0**64


def _uniform(count: int) -> NDArray[np.float64]:
    """SplitMix64 of 1 … count, in [0, 1)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
