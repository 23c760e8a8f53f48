"""What the model makes so far, as a picture in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from scorefield.errors import InputError
from scorefield.models.model import Model
from scorefield.training.stepfiles import step_file
from scorefield.viz.images import save_image
from scorefield.viz.samples import picture

IMAGES, POINTS, STEPS = 25, 2000, 10
ENDING = ".png"
AVERAGED, RAW = "averaged (EMA)", "raw"
LETTERS, MARGIN, GAP = 24, 8, 16  # pixels: height of letters, about them, and between pictures


def save_preview(folder: Path, models: Mapping[str, Model]) -> None:
    """Write ``folder/step-N.png`` with a few samples of each model, always from the same noise.

    Points need matplotlib for a picture; without it there is none, and training does not stop for it, nor
    for a sampler that cannot draw from a young model or in few steps.

    Arguments:
        folder: the run's folder of samples.
        models: by what to write above; the same run's, after the same steps.
    """
    drawn = {}
    for words, model in models.items():
        count = IMAGES if model.spec.is_image else POINTS
        steps = min(STEPS, model.sampling.steps)
        try:
            x = model.sample(count, steps=steps, seed=0, batch=count)
            drawn[words] = picture(x, model.spec)
        except InputError:
            return
    save_image(side_by_side(drawn), preview_file(folder, model.step))


def preview_file(folder: Path, step: int) -> Path:
    """Where the picture of a checkpoint is.

    Arguments:
        folder: the run's folder of samples.
        step: optimizer steps made.
    """
    return step_file(folder, step, ENDING)


def side_by_side(pictures: Mapping[str, Image.Image]) -> Image.Image:
    """Pictures in a row on white, each with its words above.

    Arguments:
        pictures: by their words; at least one.
    """
    top = LETTERS + 2 * MARGIN
    width = sum(p.width for p in pictures.values()) + GAP * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, top + max(p.height for p in pictures.values())), "white")
    pen, font, left = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS), 0
    for words, drawn in pictures.items():
        pen.text((left + MARGIN, MARGIN), words, fill="black", font=font)
        sheet.paste(drawn.convert("RGB"), (left, top))
        left += drawn.width + GAP
    return sheet
