"""From measures to findings: what is wrong, what is only worth knowing, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from scorefield.doctor.diagnosis import Diagnosis
from scorefield.doctor.findings import Finding, plural, some

FEW, SMALL = 1_000, 5_000  # images below which a network learns them by heart, and may
SPARSE = 50  # samples of a class below which it has too few to learn from
UNEVEN = 10.0  # ratio of the largest class to the smallest
COARSE = 16  # levels at or below which data are all but discrete
NARROW = 0.25  # share of the range below which it is not made use of
ORDER = {"problem": 0, "warning": 1, "note": 2}


def worst_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings in the order in which they matter."""
    return tuple(sorted(found, key=lambda finding: ORDER[finding.severity]))


def findings_of(diagnosis: Diagnosis) -> Iterator[Finding]:
    """What matters in the measures of data of any kind.

    Arguments:
        diagnosis: what was measured.
    """
    yield from _count(diagnosis)
    yield from _files(diagnosis)
    yield from _range(diagnosis)
    yield from _blank(diagnosis)
    yield from _copies(diagnosis)
    yield from _overlap(diagnosis)
    yield from _classes(diagnosis)


def _count(d: Diagnosis) -> Iterator[Finding]:
    different = d.count - d.exact.count
    if d.spec.is_image and different < SMALL:
        few = different < FEW
        yield Finding(
            "few samples",
            "problem" if few else "warning",
            f"{plural(different, 'different image')}",
            "a network learns so few by heart and gives them back; "
            + (
                "collect thousands" if few else "look at the nearest training images of its samples"
            ),
        )
    elif d.count < 20 * math.prod(d.spec.shape) and not d.spec.is_image:
        vectors = len(d.spec.shape) == 1
        yield Finding(
            "few samples",
            "warning",
            f"{plural(d.count, 'sample')} of {plural(math.prod(d.spec.shape), 'number')} each",
            "a network learns so few by heart; collect more" + ", or keep fewer columns" * vectors,
        )


def _files(d: Diagnosis) -> Iterator[Finding]:
    if d.skipped:
        named = "; ".join(f"{name} ({reason})" for name, reason in d.skipped[:5])
        yield Finding(
            "broken files",
            "warning",
            f"{plural(len(d.skipped), 'file')} could not be used: {named}",
            "mend or remove them; training goes on without",
        )


def _range(d: Diagnosis) -> Iterator[Finding]:
    scan = d.scan
    used = scan.levels_used
    if d.spec.levels is None or used is None:
        return
    top = d.spec.levels - 1
    if scan.high <= 1 < top:
        yield Finding(
            "wrong range",
            "problem",
            f"no value is above {scan.high:g}, of 0 to {top}",
            f"the files seem to hold 0 … 1 cut down to whole numbers; multiply by {top} before saving",
        )
    elif scan.high - scan.low < NARROW * top:
        yield Finding(
            "narrow range",
            "warning",
            f"values lie in {scan.low:g} to {scan.high:g}, of 0 to {top}",
            "stretch them to the whole range, unless the images are meant to be so flat",
        )
    if 1 < used <= COARSE < d.spec.levels and scan.high > 1:
        yield Finding(
            "few levels",
            "warning",
            f"only {used} of {d.spec.levels} levels occur",
            "samples will have levels between them; round them to those that occur",
        )


def _blank(d: Diagnosis) -> Iterator[Finding]:
    blank = d.scan.constant
    if blank:
        yield Finding(
            "blank samples",
            "warning",
            f"{plural(len(blank), 'sample')} of one value all over: {some(blank)}",
            "remove them; the network learns to draw them",
            blank[:10],
        )


def _copies(d: Diagnosis) -> Iterator[Finding]:
    if d.exact.count:
        share = d.exact.count / d.count
        yield Finding(
            "copies",
            "problem" if share > 0.2 else "warning" if share > 0.001 else "note",
            f"{plural(d.exact.count, 'copy')} of an earlier sample, to the bit: {_pairs(d.exact.named)}",
            "remove them; what is there twice is drawn twice as often and learnt by heart first",
        )
    if d.near.count:
        yield Finding(
            "near copies",
            "warning" if d.near.count > 0.001 * d.count else "note",
            f"{plural(d.near.count, 'image')} with a near copy (correlation above 0.99): "
            f"{_pairs(d.near.named)}",
            "look at them; keep one of each pair if it is the same picture",
        )


def _overlap(d: Diagnosis) -> Iterator[Finding]:
    if d.overlap is not None and d.overlap.count:
        yield Finding(
            "test in train",
            "problem" if d.overlap.count > 0.01 * d.overlap.compared else "warning",
            f"{plural(d.overlap.count, 'test sample')} found in the training split too (its number, "
            f"the test sample's): {_pairs(d.overlap.named)}",
            "remove them from one split; figures on the test split flatter a model that remembers",
        )


def _classes(d: Diagnosis) -> Iterator[Finding]:
    if not d.balance:
        return
    names = d.spec.class_words
    empty = [names[c] for c, count in enumerate(d.balance) if count == 0]
    if empty:
        yield Finding(
            "empty classes",
            "problem",
            f"{plural(len(empty), 'class')} without a sample: {', '.join(empty[:10])}",
            "asked for such a class, the model draws noise; number the classes without gaps",
        )
    there = {names[c]: count for c, count in enumerate(d.balance) if count}
    least, most = min(there, key=there.__getitem__), max(there, key=there.__getitem__)
    if there[most] > UNEVEN * there[least]:
        yield Finding(
            "uneven classes",
            "warning",
            f"class {most} has {there[most]:,} samples, class {least} has {there[least]:,}",
            "samples of the rare classes will look worse; collect more of them",
        )
    sparse = [name for name, count in there.items() if count < SPARSE]
    if sparse:
        yield Finding(
            "sparse classes",
            "warning",
            f"fewer than {SPARSE} samples in {plural(len(sparse), 'class')}: {', '.join(sparse[:10])}",
            "collect more of them, join them with others, or set network.conditional to false",
        )


def _pairs(pairs: Sequence[tuple[int, int]]) -> str:
    more = " …" if len(pairs) > 5 else ""
    return ", ".join(f"{a} and {b}" for a, b in pairs[:5]) + more
