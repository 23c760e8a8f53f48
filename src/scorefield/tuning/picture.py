"""Quality against network evaluations, drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Sampling
from scorefield.tuning.verdict import Point, Tuned
from scorefield.viz.figures import new_figure, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FRONT, OTHERS, OWN = "#2a6f97", "#9aa5b1", "#c1121f"


def front_picture(tuned: Tuned, title: str = "") -> Image.Image:
    """Every setting by its network evaluations and its distance, and the Pareto front through the best.

    Full points were drawn to the end, with a 95 % interval of their difference to the winner; hollow ones
    were dropped on the way.

    Arguments:
        tuned: what a race found.
        title: written above.

    Raises:
        InputError: when matplotlib is not installed.
    """
    figure, (axes,) = new_figure(8, 5)
    last = [p for p in tuned.points if p.apart is not None]
    front = [p for p in last if p.on_front]
    dropped = [p for p in tuned.points if p.apart is None]
    axes.scatter(*_places(dropped), s=18, facecolors="none", edgecolors=OTHERS, label="dropped")
    _with_bars(axes, [p for p in last if not p.on_front], OTHERS, "drawn to the end")
    level = replace(front[-1], evaluations=max(p.evaluations for p in last))
    axes.step(*_places([*front, level]), where="post", color=FRONT, linewidth=1.2)
    _with_bars(axes, front, FRONT, "best for so many evaluations")
    for point in front:
        at, words = (point.evaluations, point.distance), brief(point.sampling)
        axes.annotate(words, at, (6, 6), textcoords="offset points", fontsize=7, color=FRONT)
    if tuned.before is not None:
        _with_bars(axes, [tuned.before], OWN, "until now")
    axes.scatter(*_places([tuned.winner]), s=140, marker="*", color=FRONT, zorder=4, label="winner")
    axes.set(xlabel="network evaluations a sample", ylabel=f"{tuned.measure} (lower is better)")
    _scales(axes, last)
    axes.set_title(title)
    axes.legend(fontsize=8)
    return rendered(figure)


def _scales(axes: Axes, last: list[Point]) -> None:
    """Logarithmic where that can be, with plain numbers; what is far worse is cut off."""
    axes.set_xscale("log")
    ticks = sorted({p.evaluations for p in last})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    low, high = min(p.distance for p in last), max(p.distance for p in last)
    axes.set_xlim(ticks[0] / 1.1, ticks[-1] * 1.6)  # room for the words beside the last
    if low > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.set_ylim(low / 1.3, high * 2)


def brief(sampling: Sampling) -> str:
    """A way of sampling in a few words, those that `scorefield sample` takes.

    Arguments:
        sampling: the way.
    """
    sampler = to_dict(sampling.sampler)
    plain = to_dict(type(sampling.sampler)())
    words = [sampler["kind"]]
    for key, value in sampler.items():
        if key == "grid" and value["kind"] != plain["grid"]["kind"]:
            words.append(value["kind"])
        elif key not in ("kind", "grid") and value != plain[key]:
            words.append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    led = [] if sampling.guidance is None else [f"guidance {sampling.guidance:g}"]
    if led and sampling.guidance_least > 0:
        led.append(f"guidance_least={sampling.guidance_least:g}")
    return ", ".join([" ".join(words), f"{sampling.steps} steps", *led])


def _with_bars(axes: Axes, points: list[Point], colour: str, label: str) -> None:
    spreads = [p.apart or 0.0 for p in points]
    look: dict[str, Any] = {"fmt": "o", "markersize": 5, "capsize": 2}
    axes.errorbar(*_places(points), yerr=spreads, color=colour, label=label, **look)


def _places(points: list[Point]) -> tuple[list[int], list[float]]:
    return [p.evaluations for p in points], [p.distance for p in points]
