"""``scorefield calibrate``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scorefield import (
    CFG,
    DataSpec,
    Denoiser,
    GaussianResidual,
    InputError,
    Model,
    Sampling,
    calibrate,
    load,
)
from scorefield.atomic import check_file
from scorefield.cli.evaluate import folder_of, which
from scorefield.cli.options import Json, Number, Out, Weights, Whole
from scorefield.cli.output import bar, say
from scorefield.cli.sample import chosen_sampling
from scorefield.recipes import write_sampling


def calibrate_run(
    run: str,
    /,
    *,
    steps: Whole = 8,
    out: Out | None = None,
    n: Number = 512,
    guidance: float | None = None,
    guidance_least: float | None = None,
    seed: Whole = 0,
    label: Whole | None = None,
    device: str = "cpu",
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Fit the Gaussian-residual sampler to a trained model and a number of evaluations.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    steps
        Evaluations to calibrate for.
    out
        The file to write, .yaml; beside the model if not given.
    n
        How many samples; three quarters lead the search, the others judge it.
    guidance
        Classifier-free guidance: 0 is the unconditional model, 1 the conditional one, more leans on the
        label; the model's own if not given.
    guidance_least
        σ/α below which the network is asked with the label only, which is half the work; what guidance
        would have added there is made good by the weights. The model's own if not given.
    seed
        Seed of their noise.
    label
        The class of all of them; every class in turn if not given; -1 for none.
    device
        Where to compute, such as cpu or cuda.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    if out is None:
        out = folder_of(Path(run)) / f"calibrated-{steps}{which(Path(run), weights)}.yaml"
    check_file(out, ".yaml")
    # Differences of walks that are nearly the same are lost in bfloat16.
    model = load(run, device=device, weights=weights, precision="fp32")
    labels = model.labels(n, label)
    cond: dict[str, Any] = {} if labels is None else {"label": labels}
    x = model.noise(n, seed).to(device)
    way = _way(model, guidance, guidance_least)
    led = model.drawn_by(way).guided()
    whole = model.drawn_by(replace(way, guidance_least=0.0)).guided()
    sampler = _sampler(model.spec)
    with bar(f"calibrating {run}", as_json=as_json) as advance:
        search = calibrate(led, x, steps, sampler, batch=model.batch, teacher=whole, **cond)
        for found in search:
            advance(found.share, f"error {found.error:.3g}, {found.before:.3g} before")
    write_sampling(out, replace(way, sampler=found.sampler, steps=steps))
    words = f"{run} --weights raw" if weights == "raw" else run
    evaluations = steps + _second_ones(led, found.sampler, steps)
    say(
        f"error {found.error:.4g} on noise that only chose between rounds, {found.before:.4g} by the rule\n"
        f"{steps} steps, {evaluations} evaluations of the network for a sample\n"
        f"use: scorefield sample {words} --sampler {out}",
        as_json=as_json,
        event="done",
        error=found.error,
        before=found.before,
        evaluations=evaluations,
        out=str(out),
    )


def _sampler(spec: DataSpec) -> GaussianResidual:
    """What is calibrated for data of this kind, with their bound if it is known and even."""
    if not spec.is_image:
        return GaussianResidual.for_networks("integrate")
    even = spec.low is not None and spec.high == -spec.low
    return GaussianResidual.for_networks("denoise", spec.high if even else None)


def _way(model: Model, guidance: float | None, least: float | None) -> Sampling:
    """The model's own sampling with the guidance that was asked for."""
    words = [] if least is None else [f"guidance_least={least}"]
    way = chosen_sampling(model, None, None, words, guidance)
    if words and way.guidance is None:
        raise InputError(
            f"--guidance-least {least:g} needs guidance, and the model is drawn without; --guidance sets it"
        )
    return way


def _second_ones(led: Denoiser, sampler: GaussianResidual, steps: int) -> int:
    """How many steps ask the network without the label too."""
    if not isinstance(led, CFG) or led.scale in (0, 1):
        return 0
    assert led.moments is not None  # it was calibrated
    # The first time is the start, which is crossed without an evaluation.
    _, *times = sampler.times(led.schedule, steps, 1.0, led.moments.sigma_data)
    return int(led.counts(torch.stack(times)).sum())
