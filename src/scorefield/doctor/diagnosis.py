"""What was measured of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field

from scorefield.data.base import DataSpec, Skipped
from scorefield.doctor.distances import Distance
from scorefield.doctor.duplicates import Pairs
from scorefield.doctor.findings import Finding
from scorefield.doctor.histogram import Histogram
from scorefield.doctor.scan import Scan


@dataclass(frozen=True, kw_only=True)
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
