"""How numbers are spread: histograms that were counted elsewhere, and counts of classes."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image
from torch import Tensor

from scorefield.viz.figures import literal, new_figure, rendered

COLORS = {"gray": "#444444", "red": "#c1121f", "green": "#2d6a4f", "blue": "#2a6f97"}
NAMED = 30  # classes whose names fit below


def plot_spread(
    edges: Tensor, counts: Mapping[str, Tensor], classes: Mapping[str, int]
) -> Image.Image:
    """Histograms as outlines over each other, and beside them a bar for each class.

    Arguments:
        edges: of the bins, shape (B + 1,).
        counts: by the name to show, each of shape (B,).
        classes: samples by the name of their class; empty for no bars.
    """
    figure, panels = new_figure(*((11, 4) if classes else (6, 4)), panels=2 if classes else 1)
    for name, count in counts.items():
        share = (count / count.sum().clamp(min=1)).numpy()
        panels[0].stairs(
            share, edges.numpy(), label=literal(name), color=COLORS.get(name), linewidth=1.2
        )
    panels[0].set(xlabel="stored value", ylabel="share of the values", yscale="log")
    panels[0].legend(loc="upper right")
    if classes:
        panels[1].bar(range(len(classes)), list(classes.values()), color=COLORS["blue"])
        if len(classes) <= NAMED:
            turned = 0 if max(map(len, classes)) < 4 else 60
            panels[1].set_xticks(range(len(classes)), list(map(literal, classes)), rotation=turned)
        panels[1].set(xlabel="class", ylabel="samples")
    return rendered(figure)
