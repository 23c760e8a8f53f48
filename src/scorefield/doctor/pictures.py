"""What data look like: some of them side by side, and how their values and classes are spread."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from scorefield.data.base import Data
from scorefield.doctor.examination import Diagnosis
from scorefield.viz import picture, plot_bars, plot_histograms, save_image

SHOWN, POINTS = 100, 5000  # images in a contact sheet, points in a scatter plot
LARGEST = 1600  # pixels a side of a contact sheet, about


def contact_sheet(data: Data) -> Image.Image | None:
    """Some of the data as a picture, evenly spaced by number; none for what has no picture.

    Images are sorted by class where there are classes, a row of ten for each of the first ten.

    Arguments:
        data: what to show.
    """
    spec = data.spec
    if len(spec.shape) == 2:
        return None
    if not spec.is_image:
        return picture(data.batch(_spaced(torch.arange(len(data)), POINTS))[0], spec)
    columns = max(1, min(10, LARGEST // spec.shape[2]))
    shown = min(SHOWN, columns * max(1, LARGEST // spec.shape[1]))
    index = _spaced(torch.arange(len(data)), shown)
    if data.label is not None and spec.classes > 1:
        there = torch.unique(data.label)[: -(-shown // columns)]
        each = [_spaced(torch.nonzero(data.label == c).flatten(), columns) for c in there]
        index = torch.cat(each)
    return picture(data.batch(index)[0], spec, columns=columns)


def _spaced(index: torch.Tensor, count: int) -> torch.Tensor:
    """Some of the numbers, evenly spaced; all if they are fewer."""
    if len(index) <= count:
        return index
    return index[torch.linspace(0, len(index) - 1, count).round().long()]


def histograms(diagnosis: Diagnosis) -> Image.Image:
    """How values are spread in each channel; with classes, how many samples each has beside it.

    Arguments:
        diagnosis: of the data.

    Raises:
        InputError: when matplotlib is not installed.
    """
    spec, found = diagnosis.spec, diagnosis.histogram
    names = (
        {1: ("gray",), 3: ("red", "green", "blue")}.get(spec.shape[0], ()) if spec.is_image else ()
    )
    channels = len(found.counts)
    labels = names or tuple(
        f"{'channel' if spec.is_image else 'column'} {c}" for c in range(channels)
    )
    values = plot_histograms(found.edges, dict(zip(labels, found.counts, strict=True)))
    if not diagnosis.balance:
        return values
    called = spec.class_names or tuple(map(str, range(len(diagnosis.balance))))
    bars = plot_bars(called, diagnosis.balance)
    both = Image.new("RGB", (values.width + bars.width, max(values.height, bars.height)), "white")
    both.paste(values, (0, 0))
    both.paste(bars, (values.width, 0))
    return both


def write_pictures(folder: Path, data: Data, diagnosis: Diagnosis) -> None:
    """Write contact.png, where the data have a picture, and histograms.png.

    Arguments:
        folder: where; made if need be.
        data: what was examined.
        diagnosis: of the data.

    Raises:
        InputError: when matplotlib is not installed.
    """
    if (sheet := contact_sheet(data)) is not None:
        save_image(sheet, folder / "contact.png")
    save_image(histograms(diagnosis), folder / "histograms.png")
