"""What the model makes so far, as a picture in the run folder."""

from __future__ import annotations

from pathlib import Path

from scorefield.errors import InputError
from scorefield.models.model import Model
from scorefield.viz.images import save_image
from scorefield.viz.samples import picture

IMAGES, POINTS, STEPS = 36, 2000, 12


def save_preview(model: Model, folder: Path) -> None:
    """Write ``folder/step-N.png`` with a few samples, always from the same noise.

    Points need matplotlib for a picture; without it there is none, and training does not stop for it.

    Arguments:
        model: the model so far.
        folder: the run's folder of samples.
    """
    count = IMAGES if model.spec.is_image else POINTS
    x = model.sample(count, steps=STEPS, seed=0, batch=count)
    try:
        drawn = picture(x, model.spec)
    except InputError:
        return
    save_image(drawn, folder / f"step-{model.step:08d}.png")
