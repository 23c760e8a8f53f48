"""How numbers are spread: histograms that were counted elsewhere, and bars of counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from scorefield.viz.figures import new_figure, rendered

COLORS = {"gray": "#444444", "red": "#c1121f", "green": "#2d6a4f", "blue": "#2a6f97"}
NAMED = 30  # bars whose names fit below


def plot_histograms(edges: Tensor, counts: Mapping[str, Tensor]) -> Image.Image:
    """Histograms over common bins, as outlines over each other.

    Arguments:
        edges: of the bins, shape (B + 1,).
        counts: by the name to show, each of shape (B,).
    """
    figure, (axes,) = new_figure()
    for name, count in counts.items():
        share = (count / count.sum().clamp(min=1)).numpy()
        axes.stairs(share, edges.numpy(), label=name, color=COLORS.get(name), linewidth=1.2)
    axes.set(xlabel="stored value", ylabel="share of the values")
    axes.set_yscale("log")
    axes.legend(loc="upper right")
    return rendered(figure)


def plot_bars(names: Sequence[str], counts: Sequence[int]) -> Image.Image:
    """Counts as bars.

    Arguments:
        names: what each is called.
        counts: how many there are of each.
    """
    figure, (axes,) = new_figure()
    axes.bar(range(len(counts)), counts, color="#2a6f97")
    if len(names) <= NAMED:
        turned = 0 if max(map(len, names)) < 4 else 60
        axes.set_xticks(range(len(names)), names, rotation=turned)
    axes.set(xlabel="class", ylabel="samples")
    return rendered(figure)
