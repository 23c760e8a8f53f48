"""Charts of lines as SVG for a page: no plotting library, and colours that the page's style gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 34, 40  # margins: for numbers, title, and the name of the axis
MOST = (
    300  # points in a line, about one for a pixel and a half; of each stretch the extremes are kept
)
LEGEND = 17  # height of its lines

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Arguments:
        words: its name in the legend; empty for none.
        points: (x, y); what is not finite is left out.
        colour: the number of its colour, from 0 to 3.
        dash: as in SVG, such as '5 3'; empty for a solid line.
    """

    words: str
    points: Sequence[Point]
    colour: int = 0
    dash: str = ""


def chart(
    title: str,
    lines: Sequence[Line],
    x_words: str,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """A chart as an SVG element; empty if there is no line of two points.

    Arguments:
        title: written above.
        lines: what to draw.
        x_words: the name of the axis below.
        log_x: logarithmic from left to right; only points above 0 are drawn.
        log_y: logarithmic upwards; only points above 0 are drawn.
    """
    drawn = [
        Line(line.words, thinned(_drawable(line.points, log_x, log_y)), line.colour, line.dash)
        for line in lines
    ]
    drawn = [line for line in drawn if len(line.points) > 1]
    if not drawn:
        return ""
    ranges = [
        _range([p[k] for one in drawn for p in one.points], (log_x, log_y)[k]) for k in (0, 1)
    ]
    legend = [line for line in drawn if line.words]
    height = HEIGHT + LEGEND * len(legend)
    place_x = _scale(ranges[0], LEFT, WIDTH - RIGHT, log_x)
    place_y = _scale(ranges[1], HEIGHT - BOTTOM, TOP, log_y)
    parts = [
        f"<svg viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' role='img' "
        f"aria-label='{escape(title)}'>",
        f"<text x='{LEFT}' y='18' font-size='13' font-weight='bold'>{escape(title)}</text>",
        *_grid(ranges, place_x, place_y, (log_x, log_y)),
        f"<text x='{(LEFT + WIDTH - RIGHT) / 2}' y='{HEIGHT - 6}' text-anchor='middle'>"
        f"{escape(x_words)}</text>",
    ]
    for line in drawn:
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in line.points)
        parts.append(f"<polyline points='{path}' {_stroke(line)}/>")
    for row, line in enumerate(legend):
        y = HEIGHT + LEGEND * row + 6
        parts.append(f"<line x1='{LEFT}' x2='{LEFT + 26}' y1='{y}' y2='{y}' {_stroke(line)}/>")
        parts.append(f"<text x='{LEFT + 34}' y='{y + 4}'>{escape(line.words)}</text>")
    return "".join([*parts, "</svg>"])


def thinned(points: Sequence[Point], most: int = MOST) -> list[Point]:
    """The lowest and the highest point of each of as many stretches as needed: no spike is lost.

    Arguments:
        points: from left to right.
        most: how many are wanted; a few more may come.
    """
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    kept = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Round numbers in a range, some three to seven of them.

    Arguments:
        low: its lower end.
        high: its upper end, above the lower.
        log: for a logarithmic axis.
    """
    if log and high / low > 4:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        every = max(1, (last - first) // 6)
        steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
        found = [m * 10.0**e for e in range(first, last + 1, every) for m in steps]
    else:
        rough = (high - low) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
        found = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [tick for tick in found if low <= tick <= high]


def number(value: float) -> str:
    """A tick in few letters: 0.05, 200, 20k, 3M, 1e-05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.4g}{letter}"
    return f"{value:.4g}"


def _drawable(points: Sequence[Point], log_x: bool, log_y: bool) -> list[Point]:
    def can(value: float, log: bool) -> bool:
        return math.isfinite(value) and (value > 0 or not log)

    return [(x, y) for x, y in points if can(x, log_x) and can(y, log_y)]


def _range(values: Sequence[float], log: bool) -> Point:
    """The ends of an axis: those of the values with a little room if they are close."""
    low, high = min(values), max(values)
    if log:
        return (low / 1.05, high * 1.05)
    room = 0.03 * (high - low) or 0.05 * abs(high) or 1.0
    return (low - room if low < 0 or low > room else 0.0, high + room)


def _scale(ends: Point, first: float, last: float, log: bool) -> Callable[[float], float]:
    low, high = map(math.log, ends) if log else ends

    def place(value: float) -> float:
        at = math.log(value) if log else value
        return first + (at - low) / (high - low) * (last - first)

    return place


def _grid(
    ranges: Sequence[Point],
    place_x: Callable[[float], float],
    place_y: Callable[[float], float],
    logs: tuple[bool, bool],
) -> list[str]:
    parts = []
    for tick in ticks(*ranges[0], log=logs[0]):
        x = f"{place_x(tick):.1f}"
        parts.append(
            f"<line class='grid' x1='{x}' x2='{x}' y1='{TOP}' y2='{HEIGHT - BOTTOM}'/>"
            f"<text x='{x}' y='{HEIGHT - BOTTOM + 15}' text-anchor='middle'>{number(tick)}</text>"
        )
    for tick in ticks(*ranges[1], log=logs[1]):
        y = place_y(tick)
        parts.append(
            f"<line class='grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>"
            f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{number(tick)}</text>"
        )
    return parts


def _stroke(line: Line) -> str:
    dash = f" stroke-dasharray='{line.dash}'" if line.dash else ""
    return f"class='line' style='stroke: var(--c{line.colour})'{dash}"
