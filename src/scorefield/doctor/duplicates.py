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
ROWS = 2048


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
    seen = set[bytes]()
    fresh = []
    for place, number in enumerate(index.tolist()):
        if scan.digests[number] not in seen:
            seen.add(scan.digests[number])
            fresh.append(place)
    thumbs, index = thumbs[fresh], index[fresh]
    if len(fresh) < 2:
        return Pairs(0, (), len(fresh))
    partner, alike = _nearest(thumbs)
    places = torch.nonzero(alike > CANDIDATE).flatten()
    mine, other = index[places], index[partner[places]]
    close = torch.cat([torch.zeros(0), *_correlations(data, mine, other)]) > ALIKE
    both = torch.stack([mine[close], other[close]], dim=1)
    pairs = sorted({(min(a, b), max(a, b)) for a, b in both.tolist()})
    return Pairs(len({n for pair in pairs for n in pair}), tuple(pairs[:NAMED]), len(index))


def _nearest(thumbs: Tensor) -> tuple[Tensor, Tensor]:
    """For each thumbnail the most similar other one, and their correlation."""
    partners, values = [], []
    for start in range(0, len(thumbs), ROWS):
        block = thumbs[start : start + ROWS] @ thumbs.T
        rows = torch.arange(len(block))
        block[rows, start + rows] = -2.0  # not itself
        value, partner = block.max(1)
        partners.append(partner)
        values.append(value)
    return torch.cat(partners), torch.cat(values)


def _correlations(data: Data, a: Tensor, b: Tensor) -> list[Tensor]:
    """The correlation of the values of samples, pair by pair, in parts."""
    return [
        (standardized(data.batch(i)[0]) * standardized(data.batch(j)[0])).sum(1)
        for i, j in zip(torch.split(a, 256), torch.split(b, 256), strict=True)
        if len(i)
    ]
