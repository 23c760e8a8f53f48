"""An evaluation as one page that needs nothing else: no network, no files beside it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from scorefield.atomic import whole_file
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.evaluation.figures import MEANING
from scorefield.evaluation.result import Histogram, Result
from scorefield.evaluation.table import caution, figure_rows, floor_words, setting, verdict
from scorefield.viz.html import document, picture_figure, table
from scorefield.viz.images import image_grid
from scorefield.viz.samples import picture

WORDS = (
    "In brackets: the 95 % interval of what chance leaves open, where it is known. The floor is what real "
    "samples get that the reference does not hold: samples as good as the data come out there, not at 0. "
    "Figures of other features, of another count of samples or of other data mean something else; "
    "scorefield compare refuses them."
)

HEAD = ["figure", "samples", "floor", "better", "what it says"]
PAIRS = (
    "pairs of a sample (left) and the training image nearest to it (right), the closest pairs first"
)


def write_page(result: Result, spec: DataSpec, title: str, path: Path) -> None:
    """Write the page; it appears whole or not at all.

    Arguments:
        result: what was found.
        spec: the description of the data.
        title: what was evaluated.
        path: where.

    Raises:
        InputError: when it cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(page(result, spec, title), encoding="utf-8")


def page(result: Result, spec: DataSpec, title: str) -> str:
    """The page as HTML.

    Arguments:
        result: what was found.
        spec: the description of the data.
        title: what was evaluated.
    """
    about, name = result.about, escape(title)
    parts = [
        f"<h1>Evaluation of {name}</h1>",
        f"<p>{_introduction(about)}</p>",
        "<h2>Figures</h2>",
        table(HEAD, [[*row, MEANING[row[0]]] for row in figure_rows(result.plain())], right=(1, 2)),
        f"<p><strong>{escape(caution(result.plain()))}</strong></p>",
        f"<p class='dim'>{escape(WORDS)}</p>",
        "<h2>Samples</h2>",
        _pictures(result, spec),
        "<h2>Are training samples repeated?</h2>",
        f"<p>{escape(verdict(result.memory))}</p>",
    ]
    if spec.is_image:
        parts.append(_figure(nearest_pairs(result), PAIRS))
    if result.classes is not None:
        parts += ["<h2>Classes that are read</h2>", _bars(result.classes)]
    parts += [
        "<h2>How this was made</h2>",
        table([], [[key, setting(value)] for key, value in about.items()]),
    ]
    return document(title, parts)


def _introduction(about: dict[str, Any]) -> str:
    data, features = about["data"], about["features"]
    return escape(
        f"{about['count']:,} samples, drawn with the sampler {about['sampler']['kind']} in "
        f"{about['steps']} steps, compared with {data['reference']:,} real ones in the features "
        f"'{features['name']}'. The floor is that of {floor_words(about)}."
    )


def _pictures(result: Result, spec: DataSpec) -> str:
    shown = [("samples", result.gallery.samples), ("real, held out", result.gallery.real)]
    return "".join(_figure(_picture(x, spec), words) for words, x in shown)


def nearest_pairs(result: Result) -> Image.Image:
    """Pairs of a sample and, on its right, the training image nearest to it; the closest pairs first.

    Arguments:
        result: what was found of a model of images.
    """
    pairs = torch.stack([result.gallery.near, result.gallery.nearest], 1).flatten(0, 1)
    return image_grid(pairs.numpy(), 8)


def _picture(x: Tensor, spec: DataSpec) -> Image.Image | None:
    if spec.is_image:
        return image_grid(x.numpy())
    try:
        return picture(x, spec)
    except InputError:  # no matplotlib, or nothing to draw
        return None


def _figure(image: Image.Image | None, words: str) -> str:
    return "" if image is None else picture_figure(image, words)


def _bars(classes: Histogram) -> str:
    counts = {"samples": classes.samples, "real, held out": classes.held_out}
    shares = {name: [n / max(1, sum(c)) for n in c] for name, c in counts.items()}
    most = max(max(one) for one in shares.values())
    rows = []
    for place, name in enumerate(classes.names):
        bars = "".join(
            f"<div class='bar{' real' if kind != 'samples' else ''}' "
            f"style='width: {20 * share[place] / most:.3f}rem'></div>"
            for kind, share in shares.items()
        )
        words = ", ".join(f"{share[place]:.1%}" for share in shares.values())
        rows.append(f"<tr><td>{escape(name)}</td><td>{bars}</td><td class='n'>{words}</td></tr>")
    return "<table>" + "".join(rows) + "</table><p class='dim'>blue: samples; gray: real</p>"
