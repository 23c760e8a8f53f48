"""``scorefield calibrate``."""

from __future__ import annotations

from scorefield import GaussianResidual, calibrate, load
from scorefield.cli.options import Json, Number, Weights, Whole
from scorefield.cli.output import bar, say


def calibrate_run(
    run: str,
    /,
    *,
    steps: Whole = 10,
    n: Number = 64,
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
    n
        How many samples; half lead the search, half judge it.
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
    model = load(run, device=device, weights=weights)
    labels = model.labels(n, label)
    cond = {} if labels is None else {"label": labels}
    x = model.noise(n, seed).to(device)
    sampler = GaussianResidual.for_networks("denoise" if model.spec.is_image else "integrate")
    with bar(f"calibrating {run}", as_json=as_json) as advance:
        for found in calibrate(model.guided(), x, steps, sampler, **cond):
            advance(found.share, f"error {found.error:.3g}")
    best = found.sampler
    words = [f"sampler.final={best.final}"]
    if best == sampler:
        words += ["sampler.rule=network", "sampler.grid.rule=network"]
    else:
        words += [f"sampler.offset={best.offset:.4g}"]
        fitted = ("first", "last", "crowding")
        words += [f"sampler.grid.{key}={getattr(best.grid, key):.4g}" for key in fitted]
    say(
        f"error {found.error:.4g} on noise that the search has not seen, {found.before:.4g} by the rule\n"
        f"use: scorefield sample {run} --sampler gaussian-residual --steps {steps} {' '.join(words)}",
        as_json=as_json,
        event="done",
        error=found.error,
        before=found.before,
        settings=words,
    )
