"""The examination of a data set, stage by stage, and the diagnosis that comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch

from scorefield.data.base import Data, Dataset
from scorefield.doctor.columns import column_findings
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.distances import largest_distance
from scorefield.doctor.duplicates import exact_pairs, near_pairs, shared
from scorefield.doctor.findings import Finding
from scorefield.doctor.histogram import histogram
from scorefield.doctor.judgement import findings_of, worst_first
from scorefield.doctor.scan import Scanner
from scorefield.errors import InputError


class Stage(NamedTuple):
    """How far an examination is.

    Arguments:
        words: what is being done.
        share: of the whole that is done, 0 to 1.
    """

    words: str
    share: float


class Examination:
    """The examination of a data set; iterate over it for its stages, then ask for the `diagnosis`.

    Memory is bounded but for 70 bytes a sample and 1 kB for each of up to 65,536 thumbnails.

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
        yield Stage("counting", 0.96)
        plain = Diagnosis(
            spec=data.spec,
            count=len(data),
            scan=scan,
            distance=distance,
            balance=_balance(data),
            exact=exact,
            near=near,
            overlap=overlap,
            test=None if self.test is None else len(self.test),
            skipped=data.skipped,
            histogram=histogram(data, scan.low, scan.high),
        )
        self._diagnosis = replace(plain, findings=worst_first(self._findings(plain)))
        yield Stage("done", 1.0)

    def _findings(self, diagnosis: Diagnosis) -> Iterator[Finding]:
        yield from findings_of(diagnosis)
        if len(self.data.spec.shape) == 1:
            yield from column_findings(self.data)
        if self.untested:
            yield Finding("no test split", "note", self.untested)


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
