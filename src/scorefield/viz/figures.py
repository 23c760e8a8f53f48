"""Matplotlib, imported where it is used: figures that become pictures, without a global state."""

from __future__ import annotations

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


def literal(text: str) -> str:
    """A text as a label that shows it as it is: no mathematics, and in legends even with a leading '_'.

    Arguments:
        text: what someone called something.
    """
    shown = text.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def rendered(figure: Figure) -> Image.Image:
    """The figure as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Drawn once and not by `savefig`, which draws all twice to lay it out, and packs it as a PNG.
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    size = canvas.get_width_height()
    return Image.frombuffer("RGBA", size, canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert("RGB")
