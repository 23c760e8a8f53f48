"""Samples that are there twice: to the bit, or so nearly that a person would say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.data.base import Data
from scorefield.doctor.scan import Scan, standardized

ALIKE = 0.99  # correlation of two images above which they are near duplicates
CANDIDATE = 0.97  # the same of their thumbnails, above which the images are compared
NAMED = 20  # pairs that are named
ROWS = 512  # of 65,536 similarities each: 128 MB


@dataclass(frozen=True)
class Pairs:
    """Samples with a copy.

    Arguments:
        count: samples that repeat an earlier one (exact), or that have a near copy.
        named: some pairs by number; of two splits, the training sample comes first.
        compared: how many samples were looked at.
    """

    count: int
    named: tuple[tuple[int, int], ...]
    compared: int


def exact_pairs(digests: Sequence[bytes]) -> Pairs:
    """Samples whose stored values are all those of an earlier one.

    Arguments:
        digests: a hash of each sample.
    """
    first: dict[bytes, int] = {}
    found = []
    for number, digest in enumerate(digests):
        if (earlier := first.setdefault(digest, number)) != number:
            found.append((earlier, number))
    return Pairs(len(found), tuple(found[:NAMED]), len(digests))


def shared(train: Sequence[bytes], test: Sequence[bytes]) -> Pairs:
    """Test samples that are training samples to the bit.

    Arguments:
        train: a hash of each training sample.
        test: a hash of each test sample.
    """
    known: dict[bytes, int] = {}
    for number, digest in enumerate(train):
        known.setdefault(digest, number)
    found = [(known[digest], number) for number, digest in enumerate(test) if digest in known]
    return Pairs(len(found), tuple(found[:NAMED]), len(test))


def near_pairs(data: Data, scan: Scan) -> Pairs:
    """Images with a near copy: the same but for brightness, contrast and little noise.

        ρ(x_i, x_j) > 0.99

    Each image is compared with the one whose thumbnail is most like its own. Copies to the bit are
    left out, as are constant images.

    Arguments:
        data: the images.
        scan: of them.
    """
    thumbs, index = scan.thumbs, scan.thumb_index
    if thumbs is None or len(thumbs) < 2:
        return Pairs(0, (), 0)
    # of copies to the bit the first stands for all, so that it may find a near copy too
    last_first = reversed(list(enumerate(index.tolist())))
    fresh = sorted({scan.digests[number]: place for place, number in last_first}.values())
    thumbs, index = thumbs[fresh], index[fresh]
    partner, alike = _nearest(thumbs)
    places = torch.nonzero(alike > CANDIDATE).flatten()
    mine, other = index[places], index[partner[places]]
    close = _correlations(data, mine, other) > ALIKE
    both = torch.stack([mine[close], other[close]], dim=1).sort(dim=1).values
    pairs = [(a, b) for a, b in torch.unique(both, dim=0).tolist()]
    return Pairs(len({n for pair in pairs for n in pair}), tuple(pairs[:NAMED]), len(index))


def _nearest(thumbs: Tensor) -> tuple[Tensor, Tensor]:
    """For each thumbnail the most similar other one, and their correlation."""
    partner = torch.zeros(len(thumbs), dtype=torch.int64)
    alike = torch.full((len(thumbs),), -2.0)
    for start in range(0, len(thumbs), ROWS):
        block = thumbs[start : start + ROWS] @ thumbs[start:].T
        block.fill_diagonal_(-2.0)  # not itself
        # each pair is computed once, and may be the best for either of the two
        for axis, end in ((1, start + len(block)), (0, len(thumbs))):
            value, place = block.max(axis)
            better = value > alike[start:end]
            alike[start:end] = torch.where(better, value, alike[start:end])
            partner[start:end] = torch.where(better, start + place, partner[start:end])
    return partner, alike


def _correlations(data: Data, a: Tensor, b: Tensor) -> Tensor:
    """The correlation of the values of samples, pair by pair."""
    out = torch.empty(len(a))
    for part in torch.split(torch.arange(len(a)), 256):
        one, other = (standardized(data.batch(index[part])[0]) for index in (a, b))
        out[part] = (one * other).sum(1)
    return out
