"""Arrays of images as one picture, and as a folder of pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scorefield.atomic import whole_file
from scorefield.errors import InputError

GAP = 2  # pixels between images
COMFORTABLE = 600  # pixels; smaller grids are enlarged by about that, a whole factor


def image_grid(images: NDArray[np.uint8], columns: int | None = None) -> Image.Image:
    """Images side by side in rows, enlarged by a whole factor when they are small.

    Arguments:
        images: shape (N, H, W, C), uint8; C is 1, 3 or 4, of other counts the first channel is shown.
        columns: images in a row; about a square if not given.
    """
    if images.ndim != 4 or len(images) == 0:
        raise InputError(f"a grid needs images (N, H, W, C), got shape {images.shape}")
    if images.dtype != np.uint8:
        raise InputError(f"a grid needs images of uint8, from 0 to 255, got {images.dtype}")
    if columns is not None and columns < 1:
        raise InputError(f"columns must be at least 1, got {columns}")
    count, height, width, channels = images.shape
    if channels not in (1, 3, 4):
        images, channels = images[..., :1], 1
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full(
        (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), 40, np.uint8
    )
    for i, image in enumerate(images):
        top = GAP + (i // columns) * (height + GAP)
        left = GAP + (i % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    factor = max(1, round(COMFORTABLE / max(picture.size)))
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def save_image(picture: Image.Image, path: str | Path) -> None:
    """Write a picture; it appears there whole or not at all.

    Arguments:
        picture: what to write.
        path: where; the ending gives the format.
    """
    path = Path(path)
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise InputError(
            f"cannot write a picture '{path.name}'; .png, .jpg and .webp can be written"
        )
    with whole_file(path) as temporary:
        picture.save(temporary)


def save_images(images: NDArray[np.uint8], folder: str | Path, names: Sequence[str]) -> None:
    """Write one PNG an image.

    Arguments:
        images: shape (N, H, W, C), uint8.
        folder: where; made if need be.
        names: a file name for each, without ending.
    """
    for image, name in zip(images, names, strict=True):
        one = image[..., 0] if image.shape[-1] not in (3, 4) else image
        save_image(Image.fromarray(one), Path(folder) / f"{name}.png")
