"""Decoded pictures of one data set as arrays of one shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from scorefield.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

GRAY = {"1", "L"}
DEEP = {"I;16", "I;16B", "I;16L", "I"}
COLOUR = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "LA", "La", "CMYK", "YCbCr", "LAB", "HSV"}


@dataclass(frozen=True)
class Kind:
    """What all pictures of a data set are brought to.

    Arguments:
        mode: 'L' for gray, 'RGB', or 'I;16' for gray of 16 bits.
        height: of all pictures.
        width: of all pictures.
        fit: cut out of the middle and resized, not only converted.
    """

    mode: str
    height: int
    width: int
    fit: bool = False

    @property
    def levels(self) -> int:
        """Levels of a stored value."""
        return 65536 if self.mode == "I;16" else 256

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a sample."""
        return 3 if self.mode == "RGB" else 1, self.height, self.width

    def pixels(self, picture: Image) -> Tensor:
        """A picture as levels, shape (C, H, W). What is transparent is laid on white.

        Arguments:
            picture: decoded, of any mode that was surveyed.
        """
        from PIL import Image, ImageOps

        if self.mode == "I;16":
            return torch.from_numpy(np.array(picture).astype(np.uint16))[None]
        if self.mode == "RGB" and picture.has_transparency_data:
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture.convert("RGBA"))
        picture = picture.convert(self.mode)
        if self.fit:
            size = (self.width, self.height)
            picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        array = np.array(picture)
        return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())


def kind_of(seen: Iterable[tuple[str, tuple[int, int]]], side: int) -> Kind:
    """What the pictures of a data set are brought to: gray only if all are gray.

    Arguments:
        seen: mode and size (width, height) of each picture; at least one.
        side: side of the squares that are cut out of the middle; 0 for none.

    Raises:
        InputError: for modes that do not go together, or sizes that differ when no side is given.
    """
    modes, sizes = Counter[str](), Counter[tuple[int, int]]()
    for mode, size in seen:
        modes[mode] += 1
        sizes[size] += 1
    known = next((m for m, of in (("L", GRAY), ("I;16", DEEP)) if modes.keys() <= of), "RGB")
    if known == "RGB" and not modes.keys() <= GRAY | COLOUR:
        raise InputError(f"pictures of the modes {', '.join(sorted(modes))} do not go together")
    if side:
        if known == "I;16":
            raise InputError("side is for pictures of 8 bits, these have 16")
        return Kind(known, side, side, True)
    if len(sizes) > 1:
        (one, _), (other, _) = sizes.most_common(2)
        raise InputError(
            f"the pictures have {len(sizes)} sizes, such as {one[0]}×{one[1]} and "
            f"{other[0]}×{other[1]}; bring them to one, as in data.side=32"
        )
    ((width, height),) = sizes
    return Kind(known, height, width)
