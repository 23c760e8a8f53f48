"""The table and the plot of the comparison side by side, and how they get into a document."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

BEGIN = "<!-- side by side, written by scripts/bench: begin -->"
END = "<!-- side by side: end -->"
PICTURE = "side-by-side.png"
NAMED = ("diffusers", "denoising-diffusion-pytorch", "k-diffusion", "torch")
FEW = 100  # samples below which a distance says more about their number than about the model
HEADS = (
    "parameters",
    "training, images/s",
    "sampling in {evaluations} evaluations, images/s",
    "Fréchet distance (that of as many test images; samples)",
    "its customary way: images/s; distance",
    "memory, training and sampling, MB",
    "start, s",
)


def rates(ends: Sequence[float], batch: int, rounds: int = 9) -> list[float]:
    """Images a second in each of some rounds of about as many steps.

    Arguments:
        ends: when each step ended, in seconds from the beginning.
        batch: images in a step.
        rounds: how many, if there are as many steps.
    """
    rounds, times = min(rounds, len(ends)), [0.0, *ends]
    cuts = [round(i * len(ends) / rounds) for i in range(rounds + 1)]
    return [batch * (b - a) / (times[b] - times[a]) for a, b in pairwise(cuts)]


def spread(values: Sequence[float]) -> str:
    """The median, and the quartiles where there are enough to have some."""
    median = number(statistics.median(values))
    if len(values) < 4:
        return median
    low, _, high = statistics.quantiles(values)
    return f"{median} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    """Three figures that count, and no more."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def sampling_rate(found: dict) -> str:
    """Images a second; of several batches the first, which warms up, does not count."""
    times = [b - a for a, b in pairwise([0.0, *found["ends"]])]
    return spread([found["batch"] / t for t in times[1:] or times])


def distance(found: dict) -> str:
    if found["count"] < FEW:
        return f"{found['count']} samples, too few"
    if "distance" not in found:
        return "not scored"
    return f"{found['distance']:.2f} ({found['floor']:.2f}; {found['count']:,})"


def cells(row: dict) -> Iterator[str]:
    """A row's cells after its title; what failed has the reason in the first of its own."""
    train, compared, own = (row.get(stage) for stage in ("train", "compared", "own"))
    if train is None or "failed" in train:
        yield from ("–", "–" if train is None else f"failed: {train['failed']}")
    else:
        yield from (f"{train['parameters']:,}", spread(rates(train["ends"], train["batch"])))
    if compared is None or "failed" in compared:
        yield from ("–" if compared is None else f"failed: {compared['failed']}", "–")
    else:
        yield from (f"{sampling_rate(compared)}, {row['compared_way']}", distance(compared))
    if own is None or "failed" in own:
        yield "–" if own is None else f"{row['own_way']} failed: {own['failed']}"
    else:
        yield f"{row['own_way']}: {sampling_rate(own)}; {distance(own)}"
    found = [each or {} for each in (train, compared)]
    peaks = [f"{each['memory_mb']:.0f}" if "memory_mb" in each else "–" for each in found]
    yield ", ".join(peaks)
    yield f"{train['start_seconds']:.1f}" if train and "start_seconds" in train else "–"


def table(results: dict) -> str:
    """All rows as Markdown."""
    heads = [head.format(**results) for head in HEADS]
    lines = [["", *heads], ["---"] * (len(heads) + 1)]
    lines += [[row["title"], *cells(row)] for row in results["rows"]]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines
    )


INTRO = """\
`sh scripts/bench`, {budget:g} s of training each, {threads} threads; {versions}. One after the other, each
stage in a process of its own; medians, with quartiles over rounds. The peers get as long for training as
Scorefield's whole run without labels took: checks, checkpoints and choosing how to compute included. Their
images come from memory, which is faster than their own readers. Sampling stops after half of the budget,
two minutes or 10,000 samples, whichever comes first; batches are of 100, and in customary ways of 16 (the
tutorial's: 64). Scorefield's network computes in bf16 where the machine can, compiled, for k-diffusion
too; compiling is not counted. diffusers tuned samples in bf16, the others in fp32, as they were trained.
The preset with labels is guided by 1.5: 10 steps of two evaluations. Distances are in the features of the
package's digit classifier, to the training images. Few samples make a distance too large, so that of as
many test images stands beside it, and none is given for fewer than {few}. The start goes from launching
the process to the end of its first step, but for choosing how to compute."""


def notes(results: dict) -> Iterator[str]:
    """How each trained, and what went wrong with all."""
    for row in results["rows"]:
        train = row.get("train", {})
        if "network" in train:
            steps, settling = len(train["ends"]), train.get("settling_seconds", 0)
            apart = f"{settling:.0f} s of choosing how to compute, compiling included, then "
            yield (
                f"- {row['title']}: {train['network']}; {train['settings']}; {apart if settling else ''}"
                f"{steps:,} steps, {steps * train['batch']:,} images"
            )
    if results["unscored"]:
        yield f"\nThe samples could not be scored: {results['unscored']}"


def section(results: dict, picture: str) -> str:
    """What stands between the markers."""
    versions = ", ".join(f"{name} {results['versions'][name]}" for name in NAMED)
    intro = INTRO.format(**{**results, "versions": versions, "few": FEW})
    lines = "\n".join(notes(results))
    return f"{intro}\n\n{table(results)}\n\n{lines}\n\n![quality and speed side by side]({picture})"


def replaced(text: str, new: str) -> str:
    """The document with what stands between its markers replaced; the same again changes nothing.

    Raises:
        ValueError: for a document without the two markers in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the document must have one line {BEGIN} and below it one {END}")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{new}\n{END}{rest.split(END)[1]}"


def plot(results: dict, picture: Path) -> None:
    """Bars of quality and of speed in training, a colour for each contestant."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.55 * len(results["rows"]) + 1.6))
    titles, labels = [], results["evaluations"]
    for place, row in enumerate(results["rows"]):
        titles.append(row["title"])
        for stage, shift, colour in (("compared", -0.2, "C0"), ("own", 0.2, "C1")):
            found = row.get(stage, {})
            if "distance" in found and found["count"] >= FEW:
                left.barh(place + shift, found["distance"], 0.36, color=colour)
                left.text(
                    found["distance"], place + shift, f" {number(found['distance'])}", va="center"
                )
        if "ends" in row.get("train", {}):
            speed = statistics.median(rates(row["train"]["ends"], row["train"]["batch"]))
            right.barh(place, speed, 0.6, color="C2")
            right.text(speed, place, f" {number(speed)}", va="center")
    for axes in (left, right):
        axes.set_yticks(range(len(titles)), titles if axes is left else [])
        axes.set_ylim(len(titles) - 0.5, -0.5)
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_xscale("log")
    left.set_xlabel(
        f"Fréchet distance after {results['budget']:g} s of training, lower is better\n"
        f"blue: {labels} evaluations; orange: its customary way"
    )
    right.set_xlabel("training, images/s, higher is better")
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def write(results: dict, document: Path, picture: Path) -> None:
    """Draw the plot, and put the table into the document."""
    text = document.read_text(encoding="utf-8")
    path = picture.relative_to(document.parent).as_posix()
    new = replaced(text, section(results, path))
    plot(results, picture)
    document.write_text(new, encoding="utf-8")
