"""Pictures in a row: GIF and WebP by Pillow, MP4 by PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from scorefield.atomic import whole_file
from scorefield.errors import InputError

FORMATS = (".gif", ".webp", ".mp4")
LONGEST = 655.0  # seconds that a picture of a GIF can stay
FASTEST = 1000.0  # pictures a second; the three formats count in milliseconds or coarser


def save_animation(
    pictures: Iterable[Image.Image], path: str | Path, *, fps: float = 12.0, hold: float = 1.5
) -> None:
    """Write pictures of one size as an animation that repeats (GIF, WebP) or a film (MP4).

    Arguments:
        pictures: in order; at least 1.
        path: where; the ending gives the format: .gif, .webp or .mp4.
        fps: pictures a second; above 0, at most 1000.
        hold: seconds that the last picture stays.

    Raises:
        InputError: for another ending, no pictures, pictures that stay too long or short, or a missing PyAV
            for MP4.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"an animation ends in {', '.join(FORMATS)}, got '{path.name}'")
    if not 0 < fps <= FASTEST:
        raise InputError(f"fps must be above 0 and at most {FASTEST:g}, got {fps}")
    if not 0 <= hold <= LONGEST - 1 / fps:
        raise InputError(
            f"a picture can stay for 0 to {LONGEST:g} s, got fps {fps:g} and hold {hold:g}"
        )
    shown = list(pictures)
    if not shown:
        raise InputError("an animation needs at least 1 picture, got 0")
    with whole_file(path) as temporary:
        if path.suffix == ".mp4":
            _film(shown, temporary, fps, hold)
        else:
            each, last = round(1000 / fps), round(1000 * (hold + 1 / fps))
            times = [each] * (len(shown) - 1) + [last]
            shown[0].save(temporary, save_all=True, append_images=shown[1:], duration=times, loop=0)


def _film(shown: list[Image.Image], path: Path, fps: float, hold: float) -> None:
    try:
        import av
    except ImportError as error:
        raise InputError(
            "MP4 needs PyAV; install it with: pip install scorefield[video]"
        ) from error
    shown = shown + [shown[-1]] * round(hold * fps)
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        # H.264 in its common form needs even sides.
        stream.width, stream.height = (side - side % 2 for side in shown[0].size)
        stream.pix_fmt = "yuv420p"
        for image in shown:
            cropped = image.convert("RGB").crop((0, 0, stream.width, stream.height))
            frame = av.VideoFrame.from_ndarray(np.asarray(cropped), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
