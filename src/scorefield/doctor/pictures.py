"""What data look like: some of them side by side, and how their values and classes are spread."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from scorefield.data.base import Data
from scorefield.doctor.diagnosis import Diagnosis
from scorefield.viz import picture, plot_spread, save_image

COLUMNS, POINTS = 10, 5000  # images in a row of a contact sheet, points in a scatter plot
TILE = 160  # pixels a side of an image in a contact sheet, at most


def contact_sheet(data: Data) -> Image.Image:
    """Some of the data as a picture, evenly spaced by number.

    Up to 100 images, ten in a row, large ones reduced; with labels, whole rows of up to ten classes.

    Arguments:
        data: what to show.
    """
    spec = data.spec
    if not spec.is_image:
        index = _spaced(torch.arange(len(data)), POINTS)
        return picture(data.batch(index)[0], spec)
    index = _spaced(torch.arange(len(data)), COLUMNS**2)
    if data.label is not None:
        there = _spaced(torch.unique(data.label), COLUMNS)
        each = COLUMNS * max(1, COLUMNS // len(there))
        index = torch.cat([_spaced(torch.nonzero(data.label == c).flatten(), each) for c in there])
    tiles = [reduced(data.batch(part)[0]) for part in torch.split(index, COLUMNS)]
    return picture(torch.cat(tiles), spec, columns=COLUMNS)


def reduced(x: Tensor) -> Tensor:
    """Images whose longer side is no more than a tile's."""
    longer = max(x.shape[-2:])
    if longer <= TILE:
        return x
    height, width = (max(1, round(side * TILE / longer)) for side in x.shape[-2:])
    return functional.adaptive_avg_pool2d(x, (height, width))


def _spaced(index: Tensor, count: int) -> Tensor:
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
    channels = range(len(found.counts))
    names = spec.columns or tuple(f"channel {c}" for c in channels)
    if spec.is_image:
        names = {1: ("gray",), 3: ("red", "green", "blue")}.get(spec.shape[0], names)
    return plot_spread(
        found.edges,
        {names[c]: found.counts[c] for c in channels},
        dict(zip(spec.class_words, diagnosis.balance, strict=False)),
    )


def write_pictures(folder: Path, data: Data, diagnosis: Diagnosis) -> None:
    """Write contact.png and histograms.png.

    Arguments:
        folder: where; made if need be.
        data: what was examined.
        diagnosis: of the data.

    Raises:
        InputError: when matplotlib is not installed.
    """
    save_image(contact_sheet(data), folder / "contact.png")
    save_image(histograms(diagnosis), folder / "histograms.png")
