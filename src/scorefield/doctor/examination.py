"""The examination of a data set, stage by stage, and the diagnosis that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from scorefield.data.base import Data, Dataset, DataSpec, Skipped
from scorefield.doctor.columns import column_findings
from scorefield.doctor.distances import Distance, largest_distance
from scorefield.doctor.duplicates import Pairs, exact_pairs, near_pairs, shared
from scorefield.doctor.findings import Finding
from scorefield.doctor.judgement import judged
from scorefield.doctor.scan import BINS, Scan, Scanner, blocks
from scorefield.errors import InputError

SEEN = 2**22  # numbers that the histogram of real values is drawn of, at most
CHANNELS = 12  # that have a histogram, at most


class Stage(NamedTuple):
    """How far an examination is.

    Arguments:
        words: what is being done.
        share: of the whole that is done, 0 to 1.
    """

    words: str
    share: float


@dataclass(frozen=True)
class Histogram:
    """How often values occur, channel by channel (column by column, for vectors).

    Arguments:
        edges: of the bins, as stored, shape (B + 1,).
        counts: shape (C, B); the first 12 channels at most.
        samples: how many samples were counted.
    """

    edges: Tensor
    counts: Tensor
    samples: int


@dataclass(frozen=True)
class Diagnosis:
    """What was measured of a data set, and what it means.

    Arguments:
        spec: the description that travels with the data.
        count: training samples.
        scan: what a walk over all of them showed.
        distance: the largest between two samples.
        balance: samples of each class; empty if there are no labels.
        exact: copies to the bit.
        near: near copies.
        overlap: test samples that are training samples; none without a test split.
        test: test samples; none without a test split.
        skipped: files that could not be used.
        histogram: of the values.
        findings: what matters, the worst first.
    """

    spec: DataSpec
    count: int
    scan: Scan = field(repr=False)
    distance: Distance
    balance: tuple[int, ...]
    exact: Pairs
    near: Pairs
    overlap: Pairs | None
    test: int | None
    skipped: tuple[Skipped, ...]
    histogram: Histogram = field(repr=False)
    findings: tuple[Finding, ...] = ()


class Examination:
    """The examination of a data set; iterate over it for its stages, then ask for the `diagnosis`.

    Memory is bounded but for 20 bytes a sample and 1 kB for each of up to 65,536 thumbnails.

    Arguments:
        dataset: what to examine; its test split is looked at too, where there is one.

    Raises:
        InputError: for data that cannot be loaded, or fewer than 2 samples.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.data = dataset.load("train")
        if len(self.data) < 2:
            raise InputError(f"a doctor needs at least 2 samples, got {len(self.data)}")
        self.test, self.untested = _test_split(dataset)
        self._diagnosis: Diagnosis | None = None

    @property
    def diagnosis(self) -> Diagnosis:
        """What was found; the examination is made if it has not been."""
        if self._diagnosis is None:
            for _ in self:
                pass
        assert self._diagnosis is not None
        return self._diagnosis

    def __iter__(self) -> Iterator[Stage]:
        data = self.data
        scanner = Scanner(data)
        for share in scanner:
            yield Stage("reading all samples", 0.5 * share)
        scan = scanner.scan
        yield Stage("looking for the largest distance", 0.5)
        distance = largest_distance(data, scan.radius)
        yield Stage("looking for copies", 0.65)
        exact, near = exact_pairs(scan.digests), near_pairs(data, scan)
        overlap = None
        if self.test is not None:
            reader = Scanner(self.test)
            for share in reader:
                yield Stage("reading the test split", 0.8 + 0.15 * share)
            overlap = shared(scan.digests, reader.scan.digests)
        yield Stage("counting", 0.95)
        plain = Diagnosis(
            data.spec,
            len(data),
            scan,
            distance,
            _balance(data),
            exact,
            near,
            overlap,
            None if self.test is None else len(self.test),
            data.skipped,
            _histogram(data, scan),
        )
        more = [] if len(data.spec.shape) > 1 else list(column_findings(data))
        if self.untested:
            more.append(Finding("no test split", "note", self.untested, "keep some samples apart"))
        self._diagnosis = judged(plain, more)
        yield Stage("done", 1.0)


def _test_split(dataset: Dataset) -> tuple[Data | None, str]:
    """The test split, or none and why there is none."""
    try:
        return dataset.load("test"), ""
    except InputError as error:
        return None, str(error)


def _balance(data: Data) -> tuple[int, ...]:
    if data.label is None:
        return ()
    return tuple(torch.bincount(data.label, minlength=data.spec.classes).tolist())


def _histogram(data: Data, scan: Scan) -> Histogram:
    """Of a bounded number of samples, evenly spaced, in bins between the lowest and the highest."""
    spec, count = data.spec, len(data)
    index = torch.arange(0, count, max(1, -(-count * max(1, len(scan.mean)) // SEEN)))
    low, high = scan.low, max(scan.high, scan.low + 1e-6)
    if spec.levels is not None:
        low, high = 0.0, float(spec.levels - 1)
    channels = min(spec.shape[0], CHANNELS)
    counts = torch.zeros(channels, BINS)
    budget = SEEN
    seen = 0
    for part in blocks(index, spec.shape):
        stored = data.stored(part).float().reshape(len(part), spec.shape[0], -1)
        for channel in range(channels):
            counts[channel] += torch.histc(stored[:, channel], BINS, low, high)
        seen += len(part)
        budget -= stored.numel()
        if budget <= 0:
            break
    return Histogram(torch.linspace(low, high, BINS + 1), counts, seen)
