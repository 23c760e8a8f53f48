"""Matplotlib, imported where it is used: figures that become pictures, without a global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from scorefield.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def check_plots() -> None:
    """Refuse to begin what ends in a plot where there can be none.

    Raises:
        InputError: when matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise InputError(
            "plots need matplotlib; install it with: pip install scorefield[plot]"
        ) from error


def new_figure(
    width: float = 7.0, height: float = 4.5, panels: int = 1
) -> tuple[Figure, list[Axes]]:
    """An empty figure with panels side by side.

    Arguments:
        width: inches.
        height: inches.
        panels: number of panels.

    Raises:
        InputError: when matplotlib is not installed.
    """
    check_plots()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, [figure.add_subplot(1, panels, i + 1) for i in range(panels)]


def rendered(figure: Figure) -> Image.Image:
    """The figure as a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    with Image.open(buffer) as picture:
        return picture.convert("RGB")
