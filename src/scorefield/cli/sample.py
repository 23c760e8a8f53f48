"""``scorefield sample``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scorefield import InputError, Model, Sampling, Step, load
from scorefield.atomic import check_folder, check_writable, whole_file
from scorefield.cli.options import Batch, Compile, Json, Number, Out, Precision, Weights, Whole
from scorefield.cli.output import bar, say
from scorefield.recipes import ENDINGS, from_dict, override, read_sampling, to_dict
from scorefield.viz import frames, picture, save_animation, save_image, save_images

PICTURES, ANIMATIONS = (".png",), (".gif", ".webp", ".mp4")


def sample(
    run: str,
    /,
    *overrides: str,
    n: Number = 16,
    out: Out = Path("samples.png"),
    sampler: str | None = None,
    steps: Whole | None = None,
    guidance: float | None = None,
    seed: Whole = 0,
    label: Whole | None = None,
    first: Whole = 0,
    batch: Batch = None,
    columns: Whole | None = None,
    fps: float = 12.0,
    device: str = "cpu",
    weights: Weights = "ema",
    precision: Precision = "auto",
    compiling: Compile = "auto",
    as_json: Json = False,
) -> None:
    """Draw samples from a trained model.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    overrides
        Settings of the sampler, such as sampler.order=3 or sampler.grid=karras.
    n
        How many samples.
    out
        Where to: .png a grid, .gif .webp .mp4 an animation, .npz arrays, without ending a folder.
    sampler
        Way from noise to data (see: scorefield list samplers), of which the model's own keeps its settings;
        or a file that scorefield calibrate wrote.
    steps
        Times in the sampler's grid.
    guidance
        Classifier-free guidance: 0 is the unconditional model, 1 the conditional one, more leans on the
        label.
    seed
        Seed of the whole set; sample i is the same however many are drawn.
    label
        The class wanted; every class in turn if not given; -1 for none.
    first
        Place of the first sample in the set.
    batch
        Samples computed at once; what suits the machine if not given.
    columns
        Images in a row of a grid.
    fps
        Pictures a second in an animation.
    device
        Where to compute, such as cpu or cuda.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    precision
        Of the network: fp32, bf16, or auto, which is bf16 for images where the machine has instructions
        for it.
    compiling
        Compile the network: on, off, or auto for where it pays.
    as_json
        Print lines of JSON.
    """
    if out.suffix not in ("", ".npz", *PICTURES, *ANIMATIONS):
        known = ", ".join([".npz", *PICTURES, *ANIMATIONS])
        raise InputError(f"cannot write '{out.name}'; endings are {known}, or none for a folder")
    (check_writable if out.suffix else check_folder)(out)
    model = load(run, device=device, weights=weights, precision=precision, compile=compiling)
    sampling = chosen_sampling(model, sampler, steps, overrides, guidance)
    model = model.drawn_by(sampling).settled(n)
    ask: dict[str, Any] = {"label": label, "seed": seed, "first": first}
    begin = time.perf_counter()
    with bar(f"sampling {run}", as_json=as_json) as advance:
        if out.suffix in ANIMATIONS:
            schedule = model.denoiser.schedule
            walk = watched(model.trajectory(n, **ask), sampling.steps, advance)
            save_animation(frames(walk, schedule, model.spec, columns=columns), out, fps=fps)
        else:
            parts = []
            for share, new in model.draw(n, **ask, batch=batch):
                advance(share, f"{share * n / (time.perf_counter() - begin):.0f} samples/s")
                parts.append(new)
            _write(model, torch.cat(parts), model.labels(n, label, first), out, columns, first)
    seconds = time.perf_counter() - begin
    facts = {"samples": n, **to_dict(sampling), "engine": str(model.engine)}
    say(
        f"{out}: {n} samples in {seconds:.1f} s ({model.engine})",
        as_json=as_json,
        event="done",
        out=str(out),
        seconds=round(seconds, 3),
        seed=seed,
        weights=weights,
        **facts,
    )


def watched(
    walk: Iterator[Step], steps: int, advance: Callable[[float, str], None]
) -> Iterator[Step]:
    """The steps of a walk, with a progress bar moved at each."""
    for made, step in enumerate(walk, 1):
        yield step
        advance(made / (steps + 2), f"t = {float(step.t):.3f}")


def chosen_sampling(
    model: Model,
    sampler: str | None,
    steps: int | None,
    overrides: Sequence[str],
    guidance: float | None = None,
) -> Sampling:
    """The model's own sampling with what was asked for on top; the sampler it has keeps its settings.

    A sampler that is the path of a file brings its own steps and guidance.
    """
    sampling = model.sampling
    words = []
    if sampler is not None and Path(sampler).suffix in ENDINGS:
        sampling = read_sampling(Path(sampler))
    elif sampler not in (None, to_dict(sampling.sampler)["kind"]):
        words = [f"sampler={sampler}"]
    words += [f"steps={steps}"] if steps is not None else []
    words += [f"guidance={guidance}"] if guidance is not None else []
    for word in [*words, *overrides]:
        sampling = from_dict(Sampling, override(to_dict(sampling), word))
    if sampling.guidance is not None:
        model.recipe.check_guidance(model.spec)
    return sampling


def _write(
    model: Model, x: Tensor, labels: Tensor | None, out: Path, columns: int | None, first: int
) -> None:
    """Write samples in the form that the ending of the path says."""
    if out.suffix in PICTURES:
        save_image(picture(x, model.spec, columns=columns), out)
        return
    arrays = model.spec.to_arrays(x)
    if out.suffix == ".npz":
        stored: dict[str, Any] = {"images" if model.spec.is_image else "samples": arrays}
        stored |= {} if labels is None else {"labels": labels.numpy()}
        stored |= {"columns": np.array(model.spec.columns)} if model.spec.columns else {}
        with whole_file(out) as temporary:
            np.savez_compressed(temporary, **stored)
        return
    if not model.spec.is_image:
        raise InputError(f"a folder of pictures needs images; write these samples to {out}.npz")
    names = [f"{first + i:06d}" for i in range(len(x))]
    if labels is not None:
        names = [f"{name}-{int(label)}" for name, label in zip(names, labels, strict=True)]
    save_images(arrays, out, names)  # type: ignore[arg-type]
