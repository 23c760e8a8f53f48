"""Decoded pictures of one data set as arrays of one shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorefield.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

GRAY = {"1", "L", "LA", "La"}
DEEP = {"I;16", "I;16B", "I;16L", "I"}
COLOUR = {"RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "HSV"}

Channels = Literal["auto", "gray", "rgb", "rgba"]
Fit = Literal["crop", "pad", "stretch"]


@dataclass(frozen=True)
class Kind:
    """What all pictures of a data set are brought to.

    Arguments:
        mode: 'L' for gray, 'RGB', 'RGBA', or 'I;16' for gray of 16 bits.
        height: of all pictures.
        width: of all pictures.
        fit: how pictures of other sizes are brought to this one; none if there are no others.
    """

    mode: str
    height: int
    width: int
    fit: Fit | None = None

    @property
    def levels(self) -> int:
        """Levels of a stored value."""
        return 65536 if self.mode == "I;16" else 256

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a sample."""
        return {"RGB": 3, "RGBA": 4}.get(self.mode, 1), self.height, self.width

    @property
    def dtype(self) -> torch.dtype:
        """Type of a stored value."""
        return torch.uint8 if self.levels == 256 else torch.uint16

    @property
    def bytes(self) -> int:
        """Bytes of a sample as stored."""
        channels, height, width = self.shape
        return channels * height * width * self.dtype.itemsize

    def pixels(self, picture: Image) -> Tensor:
        """A picture as levels, shape (C, H, W). What is transparent is laid on white, unless RGBA is kept.

        Arguments:
            picture: decoded, of any mode that was surveyed.

        Raises:
            ValueError: for a picture of another size, or values that 16 bits do not hold.
        """
        from PIL import Image

        if self.mode != "I;16":
            if self.mode != "RGBA" and picture.has_transparency_data:
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture.convert("RGBA"))
            if picture.mode != self.mode:
                picture = picture.convert(self.mode)
            return self._channels_first(np.array(self._fitted(picture)))
        deep = np.array(picture)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("values do not fit into 16 bits")
        if self.fit:  # the filter overshoots, so it must not wrap around
            real = self._fitted(Image.fromarray(deep.astype(np.float32)))
            deep = np.rint(np.array(real)).clip(0, 65535)
        return self._channels_first(deep.astype(np.uint16))

    def _fitted(self, picture: Image) -> Image:
        from PIL import ImageOps
        from PIL.Image import Resampling

        size, smooth = (self.width, self.height), Resampling.LANCZOS
        if self.fit == "crop":
            return ImageOps.fit(picture, size, smooth)
        if self.fit == "pad":
            return ImageOps.contain(picture, size, smooth)
        return picture.resize(size, smooth) if self.fit == "stretch" else picture

    def _channels_first(self, array: NDArray[Any]) -> Tensor:
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        if self.fit == "pad":
            room = [want - have for want, have in zip(self.shape, array.shape, strict=True)]
            array = np.pad(array, [(more // 2, more - more // 2) for more in room], mode="edge")
        if array.shape != self.shape:
            _, height, width = array.shape
            raise ValueError(f"is {width}×{height}, the others are {self.width}×{self.height}")
        return torch.from_numpy(np.ascontiguousarray(array))


def kind_of(
    seen: Iterable[tuple[str, tuple[int, int]]],
    size: tuple[int, int] | None,
    fit: Fit = "crop",
    channels: Channels = "auto",
    key: str = "size",
) -> Kind:
    """What the pictures of a data set are brought to.

    Arguments:
        seen: mode and size (width, height) of each picture; at least one.
        size: height and width that all are to have; none for those they have.
        fit: how pictures of other sizes are brought to it.
        channels: what they are to have; 'auto' is gray if all are gray, else RGB.
        key: what the setting of the size is called, for errors.

    Raises:
        InputError: for modes that do not go together, or sizes that differ when none is given.
    """
    modes, sizes = Counter[str](), Counter[tuple[int, int]]()
    for mode, has in seen:
        modes[mode] += 1
        sizes[has] += 1
    known = _mode(modes.keys(), channels)
    if size is not None:
        return Kind(known, *size, fit)
    if len(sizes) > 1:
        (one, _), (other, _) = sizes.most_common(2)
        raise InputError(
            f"the pictures have {len(sizes)} sizes, such as {one[0]}×{one[1]} and "
            f"{other[0]}×{other[1]}; bring them to one, as in data.{key}=32"
        )
    ((width, height),) = sizes
    return Kind(known, height, width)


def _mode(modes: Iterable[str], channels: Channels) -> str:
    found = set(modes)
    if found <= DEEP:
        if channels in ("rgb", "rgba"):
            raise InputError(f"pictures of 16 bits are gray, got channels={channels}")
        return "I;16"
    if not found <= GRAY | COLOUR:
        raise InputError(f"pictures of the modes {', '.join(sorted(found))} do not go together")
    if channels == "auto":
        return "L" if found <= GRAY else "RGB"
    return {"gray": "L", "rgb": "RGB", "rgba": "RGBA"}[channels]
