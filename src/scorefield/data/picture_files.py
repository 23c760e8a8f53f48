"""The bytes of picture files as pixels, by several threads; what is broken or hostile is named."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from scorefield.data.ahead import ahead
from scorefield.data.pictures import COLOUR, DEEP, GRAY, Kind
from scorefield.data.places import Place
from scorefield.data.streamed import THREADS

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "TIFF",
    "BMP",
    "GIF",
    "PPM",
)  # Pillow's names; others run programs
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # the tag of EXIF, and its values for a quarter turn
GROUP = 32  # files that a thread takes at a time, of large pictures fewer:
LARGE = 1 << 22  # bytes of pixels in them


class Header(NamedTuple):
    """What a file says of its picture before it is decoded.

    Arguments:
        mode: Pillow's name of its pixels' form.
        size: width and height, upright.
    """

    mode: str
    size: tuple[int, int]


def read_header(content: bytes) -> Header:
    """The header of a picture file; nothing is decoded.

    Arguments:
        content: the file's bytes.

    Raises:
        ValueError: for a mode that cannot be used; Pillow raises what it likes for other troubles.
    """
    with _opened(content) as picture:
        if picture.mode not in GRAY | DEEP | COLOUR:
            raise ValueError(f"pixels of the form {picture.mode} are not supported")
        turned = _orientation(picture, content) in SIDEWAYS
        width, height = picture.size
        return Header(picture.mode, (height, width) if turned else (width, height))


def read_pixels(content: bytes, kind: Kind) -> Tensor:
    """The pixels of a picture file, upright, shape (C, H, W).

    Arguments:
        content: the file's bytes.
        kind: what it is brought to.

    Raises:
        ValueError: when it cannot be brought to it; Pillow raises what it likes for other troubles.
    """
    from PIL import ImageOps

    with _opened(content) as picture:
        if kind.fit:  # a JPEG need not be decoded to more than twice what is asked for
            side = 2 * max(kind.height, kind.width)
            picture.draft(None, (side, side))
        picture.load()
        ImageOps.exif_transpose(picture, in_place=True)
        return kind.pixels(picture)


def _opened(content: bytes) -> ImageFile:
    from PIL import Image

    if not content:
        raise ValueError("the file is empty")
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _orientation(picture: ImageFile, content: bytes) -> int:
    if picture.format == "TIFF":  # Pillow turns it on its own
        return 1
    # To look for EXIF behind the pixels of a PNG, Pillow decodes them: only if it is there.
    if picture.format == "PNG" and b"eXIf" not in content:
        return 1
    return int(picture.getexif().get(ORIENTATION, 1))


class Outcome(NamedTuple):
    """What became of a file.

    Arguments:
        name: its path inside the place.
        header: of the picture, if that was asked for and could be had.
        pixels: of the picture, if they were asked for and could be had.
        problem: what is wrong with it, in a few words; '' if it could be had.
    """

    name: str
    header: Header | None = None
    pixels: Tensor | None = None
    problem: str = ""


def all_headers(place: Place, names: Sequence[str], workers: int) -> Iterator[Outcome]:
    """The headers of files, in their order.

    Arguments:
        place: where they are.
        names: their paths inside.
        workers: threads; 0 for as many as there are processors.
    """

    def one(name: str) -> Outcome:
        return Outcome(name, header=read_header(place.read(name)))

    return _outcomes(one, names, GROUP, workers)


def all_pixels(place: Place, names: Sequence[str], kind: Kind, workers: int) -> Iterator[Outcome]:
    """The pixels of files, in their order; a bounded number is under way.

    Arguments:
        place: where they are.
        names: their paths inside.
        kind: what they are brought to.
        workers: threads; 0 for as many as there are processors.
    """

    def one(name: str) -> Outcome:
        return Outcome(name, pixels=read_pixels(place.read(name), kind))

    return _outcomes(one, names, max(1, min(GROUP, LARGE // kind.bytes)), workers)


def _outcomes(
    one: Callable[[str], Outcome], names: Sequence[str], group: int, workers: int
) -> Iterator[Outcome]:
    """What a function makes of files, in their order; a thread takes a group of them at a time."""
    threads = workers or THREADS
    groups = [names[begin : begin + group] for begin in range(0, len(names), group)]

    def safely(names: Sequence[str]) -> list[Outcome]:
        return [_safely(one, name) for name in names]

    with _bombs_refused():
        for done in ahead(safely, groups, threads=threads, depth=2 * threads):
            yield from done


def _safely(one: Callable[[str], Outcome], name: str) -> Outcome:
    from PIL import Image, UnidentifiedImageError

    try:
        return one(name)
    except UnidentifiedImageError:
        return Outcome(name, problem="not a picture, or damaged")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Outcome(name, problem=f"refused, too large: {error}")
    except Exception as error:  # files that are made to do harm make decoders raise anything
        reason = " ".join(str(error).split())[:100]
        return Outcome(name, problem=reason or type(error).__name__)


@contextmanager
def _bombs_refused() -> Iterator[None]:
    """Pictures of more pixels than Pillow takes for honest are errors; small oddities are not told."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
