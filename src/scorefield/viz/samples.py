"""Samples of any kind as a picture: a grid of images, a scatter of points, curves, a histogram."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from PIL import Image
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.schedule import Schedule
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.samplers.base import Step
from scorefield.viz.figures import new_figure, rendered
from scorefield.viz.images import image_grid

SIGNALS = 24  # drawn over one another


def picture(
    x: Tensor, spec: DataSpec, *, columns: int | None = None, title: str = ""
) -> Image.Image:
    """Samples as one picture.

    Arguments:
        x: samples in the model's units, shape (N, ...).
        spec: the description of the data.
        columns: images in a row; about a square if not given.
        title: written above points and histograms; images have none.
    """
    arrays = spec.to_arrays(x)
    if spec.is_image:
        return image_grid(arrays, columns)  # type: ignore[arg-type]
    figure, (axes,) = new_figure(5, 5)
    if spec.shape == (1,):
        axes.hist(arrays[:, 0], bins=80, range=_reach(spec)[0], density=True, color="#2a6f97")
        axes.set_xlabel("x")
    elif len(spec.shape) == 2:
        axes.plot(arrays[:SIGNALS, 0].T, color="#2a6f97", linewidth=0.8, alpha=0.6)
        axes.set(xlabel="place", ylabel="x₁")
    elif spec.shape[0] >= 2:
        axes.scatter(arrays[:, 0], arrays[:, 1], s=3, color="#2a6f97", linewidths=0)
        alike = len(set(spec.scale[:2])) < 2  # or one unit is another length than the other
        wide, high = _reach(spec)[:2]
        axes.set(xlim=wide, ylim=high, xlabel="x₁", ylabel="x₂")
        axes.set_aspect("equal" if alike else "auto")
    else:
        raise InputError(f"samples of shape {spec.shape} have no picture")
    axes.set_title(title)
    return rendered(figure)


def frames(
    steps: Iterable[Step], schedule: Schedule, spec: DataSpec, *, columns: int | None = None
) -> Iterator[Image.Image]:
    """A picture of the state at each step of a sampler, and of the samples at the end.

    Arguments:
        steps: from `trajectory`.
        schedule: the path.
        spec: the description of the data.
        columns: images in a row; about a square if not given.
    """
    last: Step | None = None
    for step in steps:
        title = f"t = {float(step.t):.3f}"
        yield picture(to_data_scale(step, schedule, spec), spec, columns=columns, title=title)
        last = step
    if last is not None:
        yield picture(last.x0, spec, columns=columns, title="samples")


def to_data_scale(step: Step, schedule: Schedule, spec: DataSpec) -> Tensor:
    """The state of a step with the mean and the standard deviation of the data at every time.

        m + (x - α m) / √(α² + σ²/s²),   s = σ_data

    Arguments:
        step: from `trajectory`.
        schedule: the path.
        spec: the description of the data.
    """
    alpha, sigma = schedule(step.t)
    mean = torch.tensor(spec.mean).reshape(-1, *[1] * (step.x.ndim - 2)).to(step.x)
    spread = torch.sqrt(alpha**2 + (sigma / spec.sigma_data) ** 2)
    return mean + (step.x - expand(alpha, step.x) * mean) / expand(spread, step.x)


def _reach(spec: DataSpec) -> list[tuple[float, float]]:
    """Three standard deviations to either side of the mean of each number, in the data's units."""
    mean = torch.tensor(spec.mean).expand(spec.shape)
    ends = torch.stack([mean - 3 * spec.sigma_data, mean + 3 * spec.sigma_data])
    return [(float(low), float(high)) for low, high in spec.to_arrays(ends).T]
