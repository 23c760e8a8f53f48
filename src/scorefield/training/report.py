"""The report of a run: one page with the verdict, the curves, the latest samples and the recipe."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from scorefield.atomic import DAMAGED, whole_file
from scorefield.errors import InputError
from scorefield.recipes.config import to_dict
from scorefield.recipes.recipe import Recipe
from scorefield.training.folder import REPORT_FILE, SAMPLES, stored_recipe
from scorefield.training.health.record import Health, Losses, mean
from scorefield.training.log import read_log
from scorefield.training.preview import ENDING
from scorefield.training.stepfiles import step_files, step_of
from scorefield.training.trackers import flat
from scorefield.training.verdict import Verdict, judge
from scorefield.viz.curves import smoothed
from scorefield.viz.html import document, png_figure, table
from scorefield.viz.svg import Line, Point, chart

BYTES, WIDEST = (
    300_000,
    900,
)  # of the picture within the page; a larger file is made this many pixels wide
NOTES = 200  # the last of them: a page is to be read
LOSSES = (
    "All in units of the network's own target, on the same samples and noise at every check. Held-out "
    "above training is memorised. Gaussian is what mean and covariance alone would get; ideal knows the "
    "training samples by heart, and is no goal."
)
FLOOR = "4 4"  # dashes of what a run is held against
# Of a target's unit variance: one who knows the data by heart is at 1e-30, off any chart.
LEAST = 1e-3


def verdict_of(out: str | Path) -> Verdict:
    """How a run is doing, by its log and the recipe that it is trained by now.

    Arguments:
        out: the run folder.

    Raises:
        InputError: when there is no run or no log.
    """
    return judge(read_log(out), _recipe(Path(out)).training)


def write_report(out: str | Path, path: Path | None = None) -> Path:
    """Write the report of a run; it appears whole or not at all. Returns where.

    Arguments:
        out: the run folder.
        path: where; ``report.html`` in the folder if not given.

    Raises:
        InputError: when there is no run or no log, or the page cannot be written.
    """
    folder = Path(out)
    recipe = _recipe(folder)
    page = report(read_log(folder), recipe, folder.name, _latest(folder / SAMPLES))
    path = path or folder / REPORT_FILE
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _recipe(folder: Path) -> Recipe:
    recipe = stored_recipe(folder, resume=True)
    if recipe is None:
        raise InputError(f"there is no run in {folder}")
    return recipe


def report(
    lines: Sequence[Mapping[str, Any]], recipe: Recipe, title: str, preview: str = ""
) -> str:
    """The page as HTML.

    Arguments:
        lines: the lines of the log.
        recipe: what is trained.
        title: the run's name.
        preview: a picture of samples, in HTML.
    """
    points = [line for line in lines if "loss" in line]
    checks = [
        (float(line["images"]), Health.of(line["health"])) for line in lines if "health" in line
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        _verdict(judge(lines, recipe.training)),
        f"<p>{_went(points)}</p>" if points else "",
        *_losses(points, checks),
        f"<p class='dim'>{escape(LOSSES)}</p>" if checks else "",
        f"<h2>Samples</h2>{preview}" if preview else "",
        "<h2>Training</h2>",
        *_course(points, checks),
        "<h2>Recipe</h2>",
        table([], [[key, str(value)] for key, value in flat(to_dict(recipe)).items()]),
        _notes(lines),
    ]
    return document(f"{title}: report", parts)


def _verdict(found: Verdict) -> str:
    colour = {"good": " good", "over-fitting": " bad", "diverging": " bad", "starved": " bad"}
    return (
        f"<div class='verdict{colour.get(found.kind, '')}'><strong>{escape(found.kind)}</strong>: "
        f"{escape(found.reason)}.<br>{escape(found.advice)}.</div>"
    )


def _went(points: Sequence[Mapping[str, Any]]) -> str:
    last = points[-1]
    rate = last["images"] / max(last["seconds"], 1e-9)
    return (
        f"{last['step']:,} steps, {last['images']:,} images in {last['seconds']:,.0f} s "
        f"({rate:,.0f} images/s)"
    )


def _losses(
    points: Sequence[Mapping[str, Any]], checks: Sequence[tuple[float, Health]]
) -> list[str]:
    """The curves of losses: in training, at checks, and by noise level."""
    images = [float(line["images"]) for line in points]
    each = _finite(points, "loss")
    smooth = list(zip(images, smoothed([line["loss"] for line in points]), strict=True))
    training = [Line("each 20 steps", each, 0, "1 2"), Line("smoothed", smooth)]
    above = all(loss > 0 for _, loss in each)  # a learned weight makes losses below 0
    charts = [chart("Training loss", training, "images", log_x=True, log_y=above)]
    kinds: list[tuple[str, Callable[[Health], Losses], int, str]] = [
        ("held-out, averaged weights", lambda h: h.ema, 0, ""),
        ("held-out, raw weights", lambda h: h.raw, 3, "5 3"),
        ("training samples, averaged weights", lambda h: h.train, 2, ""),
        ("Gaussian", lambda h: h.gaussian, 1, FLOOR),
        ("ideal", lambda h: h.ideal, 2, FLOOR),
    ]
    over_time = [
        Line(words, _known(checks, lambda h, of=of: mean(of(h))), colour, dash)  # type: ignore[misc]
        for words, of, colour, dash in kinds
    ]
    charts.append(chart("Loss at checks, mean over levels", over_time, "images", log_y=True))
    if checks:
        last = checks[-1][1]
        by_level = [
            Line(words, _by_level(last, of(last)), colour, dash)
            for words, of, colour, dash in kinds
        ]
        first = checks[0][1]
        earlier = first.ema or first.train
        by_level.append(Line("at the first check", _by_level(first, earlier), 0, "1 3"))
        words = "noise level σ/α"
        charts.append(chart("Loss by noise level", by_level, words, log_x=True, log_y=True))
    return charts


def _by_level(health: Health, losses: Losses) -> list[Point]:
    pairs = zip(health.levels, losses, strict=False)
    return [(level, loss) for level, loss in pairs if loss is not None and loss > LEAST]


def _course(
    points: Sequence[Mapping[str, Any]], checks: Sequence[tuple[float, Health]]
) -> list[str]:
    """The curves of all else."""

    def one(title: str, found: list[Point], *, log: bool = False) -> str:
        return chart(title, [Line("", found)], "images", log_y=log)

    return [
        one("Learning rate", _finite(points, "lr")),
        one("Gradient norm, before clipping", _finite(points, "grad_norm"), log=True),
        one("Images a second", _finite(points, "rate")),
        one("Gradient noise scale, images", _known(checks, lambda h: h.noise_scale), log=True),
        one("EMA lag, ‖θ_ema − θ‖ / ‖θ‖", _known(checks, lambda h: h.ema_lag)),
        one("Share of time waiting for data", _known(checks, lambda h: h.data_share)),
    ]


def _finite(points: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    return [(line["images"], line[key]) for line in points if line.get(key) is not None]


def _known(
    checks: Sequence[tuple[float, Health]], of: Callable[[Health], float | None]
) -> list[Point]:
    found = [(images, of(health)) for images, health in checks]
    return [(images, value) for images, value in found if value is not None]


def _notes(lines: Sequence[Mapping[str, Any]]) -> str:
    notes = [[f"{line['step']:,}", str(line["note"])] for line in lines if "note" in line]
    shown = table(["step", "note"], notes[-NOTES:], right=(0,))
    return f"<h2>Notes</h2>{shown}" if notes else ""


def _latest(folder: Path) -> str:
    """The picture of the last checkpoint, in HTML; empty if there is none that can be read."""
    files = step_files(folder, ENDING)
    if not files:
        return ""
    try:
        png = files[-1].read_bytes()
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            if len(png) > BYTES:
                image.thumbnail((WIDEST, WIDEST))
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                png = buffer.getvalue()
    except DAMAGED:
        return ""
    return png_figure(png, f"after {step_of(files[-1]):,} steps", wide=True)
