"""``scorefield plot``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from numpy.typing import NDArray

from scorefield import InputError, Schedule, find_recipe, load
from scorefield.atomic import check_writable, reading_arrays
from scorefield.cli.options import Json, Number, Out, Weights, Whole
from scorefield.cli.output import bar, say
from scorefield.cli.sample import chosen_sampling, watched
from scorefield.errors import unknown
from scorefield.recipes import CATALOG, from_dict
from scorefield.training import read_log
from scorefield.viz import (
    frames,
    image_grid,
    picture,
    plot_loss,
    plot_paths,
    plot_schedules,
    save_animation,
    save_image,
)

app = App(name="plot", help="Draw grids, animations, paths, schedules, losses, augmentations.")

VERSIONS = 9  # of an image, beside the image itself


@app.command
def grid(
    source: str,
    /,
    *,
    n: Number = 100,
    out: Out = Path("grid.png"),
    columns: Whole | None = None,
    as_json: Json = False,
) -> None:
    """Draw the first images of a data set, or of an .npz file of samples.

    Parameters
    ----------
    source
        A data set (see: scorefield list datasets), or an .npz file that `sample` wrote.
    n
        How many.
    out
        The picture.
    columns
        Images in a row; about a square if not given.
    as_json
        Print one line of JSON.
    """
    check_writable(out)
    if n < 1:
        raise InputError(f"the number of images must be at least 1, got {n}")
    datasets = next(kinds for noun, kinds in CATALOG.values() if noun == "dataset")
    if source in datasets:
        data = datasets[source]().load("train")
        x, _ = data.batch(torch.arange(min(n, len(data))))
        drawn = picture(x, data.spec, columns=columns, title=source)
    elif source.endswith(".npz"):
        drawn = image_grid(_images(Path(source))[:n], columns)
    elif Path(source).is_dir():
        raise InputError(
            f"{source} is a folder, neither data set nor .npz file; samples of a run are drawn by: "
            f"scorefield sample {source} -o {out}"
        )
    else:
        raise unknown("data set or .npz file", source, datasets)
    save_image(drawn, out)
    say(str(out), as_json=as_json, event="done", out=str(out))


def _images(path: Path) -> NDArray[np.uint8]:
    """The images in a file that `sample` wrote."""
    with reading_arrays(path), path.open("rb") as file, zipfile.ZipFile(file) as archive:
        if "images.npy" not in archive.namelist():
            raise InputError(f"{path} has no 'images'; it has {', '.join(archive.namelist())}")
        with archive.open("images.npy") as member:
            images: NDArray[np.uint8] = np.lib.format.read_array(member, allow_pickle=False)
    return images


@app.command
def augmentation(
    recipe: str,
    /,
    *overrides: str,
    n: Number = 6,
    out: Out = Path("augmentation.png"),
    seed: Whole = 0,
    as_json: Json = False,
) -> None:
    """Draw images as training sees them: in a row one image as it is, then augmented.

    Parameters
    ----------
    recipe
        A preset (see: scorefield list recipes), or a .yaml or .json file.
    overrides
        Dotted keys with values, such as augmentation.told=0.12.
    n
        How many images.
    out
        The picture.
    seed
        Seed of the augmentation.
    as_json
        Print one line of JSON.
    """
    check_writable(out)
    if n < 1:
        raise InputError(f"the number of images must be at least 1, got {n}")
    chosen = find_recipe(recipe, overrides)
    data = chosen.data.load("train")
    chosen.augmentation.check(data.spec)
    x, _ = data.batch(torch.arange(min(n, len(data))))
    generator = torch.Generator().manual_seed(seed)
    changes = chosen.augmentation.draw(len(x) * VERSIONS, data.spec, generator)
    many = changes(x.repeat_interleave(VERSIONS, 0))
    rows = torch.cat([x[:, None], many.reshape(len(x), VERSIONS, *x.shape[1:])], dim=1)
    save_image(picture(rows.flatten(0, 1), data.spec, columns=VERSIONS + 1), out)
    say(str(out), as_json=as_json, event="done", out=str(out))


@app.command
def animation(
    run: str,
    /,
    *overrides: str,
    n: Number = 64,
    out: Out = Path("animation.gif"),
    sampler: str | None = None,
    steps: Whole | None = None,
    seed: Whole = 0,
    label: Whole | None = None,
    fps: float = 12.0,
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Draw noise turning into samples.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    overrides
        Settings of the sampler, such as sampler.grid=karras.
    n
        How many samples.
    out
        The animation: .gif, .webp or .mp4.
    sampler
        Way from noise to data (see: scorefield list samplers), of which the model's own keeps its settings;
        or a file that scorefield calibrate wrote.
    steps
        Times in the sampler's grid.
    seed
        Seed of the samples.
    label
        The class wanted; every class in turn if not given; -1 for none.
    fps
        Pictures a second.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    check_writable(out)
    model = load(run, weights=weights)
    use = chosen_sampling(model, sampler, steps, overrides)
    with bar(f"sampling {run}", as_json=as_json) as advance:
        walk = model.drawn_by(use).trajectory(n, label=label, seed=seed)
        shown = frames(watched(walk, use.steps, advance), model.denoiser.schedule, model.spec)
        save_animation(shown, out, fps=fps)
    say(str(out), as_json=as_json, event="done", out=str(out))


@app.command
def paths(
    run: str,
    /,
    *overrides: str,
    n: Number = 5,
    out: Out = Path("paths.png"),
    sampler: str | None = None,
    steps: Whole | None = None,
    seed: Whole = 0,
    label: Whole | None = None,
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Draw the paths x(t) of every number of some samples, from noise to data.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    overrides
        Settings of the sampler, such as sampler.grid=karras.
    n
        How many samples.
    out
        The picture.
    sampler
        Way from noise to data (see: scorefield list samplers), of which the model's own keeps its settings;
        or a file that scorefield calibrate wrote.
    steps
        Times in the sampler's grid.
    seed
        Seed of the samples.
    label
        The class wanted; every class in turn if not given; -1 for none.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    check_writable(out)
    model = load(run, weights=weights)
    use = chosen_sampling(model, sampler, steps, overrides)
    with bar(f"sampling {run}", as_json=as_json) as advance:
        walk = model.drawn_by(use).trajectory(n, label=label, seed=seed)
        walked = watched(walk, use.steps, advance)
        title = f"{type(use.sampler).__name__}, {use.steps} steps"
        drawn = plot_paths(walked, model.denoiser.schedule, model.spec, title)
    save_image(drawn, out)
    say(str(out), as_json=as_json, event="done", out=str(out))


@app.command
def schedule(*names: str, out: Out = Path("schedules.png"), as_json: Json = False) -> None:
    """Draw α, σ and log-SNR of schedules over time.

    Parameters
    ----------
    names
        Schedules (see: scorefield list schedules); all of them if none is given.
    out
        The picture.
    as_json
        Print one line of JSON.
    """
    check_writable(out)
    interface: type[Any] = Schedule
    kinds = CATALOG[interface][1]
    chosen = {name: from_dict(interface, name) for name in names or kinds}
    save_image(plot_schedules(chosen), out)
    say(str(out), as_json=as_json, event="done", out=str(out))


@app.command
def loss(*runs: str, out: Out = Path("loss.png"), as_json: Json = False) -> None:
    """Draw the training loss of runs over the images seen.

    Parameters
    ----------
    runs
        Run folders.
    out
        The picture.
    as_json
        Print one line of JSON.
    """
    check_writable(out)
    if not runs:
        raise InputError("a run folder is needed, such as runs/demo")
    save_image(plot_loss({run: read_log(run) for run in runs}), out)
    say(str(out), as_json=as_json, event="done", out=str(out))
