"""``scorefield tune``."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from scorefield import InputError, __version__, load
from scorefield.atomic import check_file, check_writable
from scorefield.cli.evaluate import chosen_features, sorted_words
from scorefield.cli.options import Compile, Json, Out, Precision, Weights, Whole
from scorefield.cli.output import bar, say, table
from scorefield.models import store_sampling
from scorefield.recipes import overridden, to_dict
from scorefield.tuning import (
    Point,
    Tuned,
    brief,
    front_picture,
    judge_of,
    own_setting,
    parse_purse,
    tune,
    verdict,
)
from scorefield.viz import check_plots, save_image


def tune_run(
    run: str,
    /,
    *overrides: str,
    budget: str = "5m",
    evaluations: Whole | None = None,
    out: Out | None = None,
    features: str | None = None,
    seed: Whole = 0,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    device: str = "cpu",
    weights: Weights = "ema",
    precision: Precision = "auto",
    compiling: Compile = "auto",
    as_json: Json = False,
) -> None:
    """Find the sampler, steps, grid, noise and guidance that suit a trained model, and make them its own.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    overrides
        Settings of the data or of the features, such as data.root=other or features.size=32.
    budget
        What to spend: a time (90s, 5m, 2h) or samples of all settings together (20k samples).
    evaluations
        Network evaluations that a sample may take; if not given, the fewest whose samples cannot be told
        from the best.
    out
        A picture of quality against network evaluations, .png.
    features
        What samples are compared in: digits, pixels, inception, dinov2 or package.module:callable; what
        fits the data if not given.
    seed
        Seed of the noise, the same for all settings.
    dry_run
        Leave the model as it is.
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
    purse, begin = parse_purse(budget), time.monotonic()
    if out is not None:
        check_file(out, ".png")
        check_plots()
    if not dry_run:
        check_writable(Path(run))
    of_data, of_features, others = sorted_words(overrides)
    if others:
        raise InputError(f"tune finds the sampling itself, got {' '.join(others)}")
    model = load(run, device=device, weights=weights, precision=precision, compile=compiling)
    last = None
    with bar(f"tuning {run}", as_json=as_json) as advance:
        chosen = chosen_features(features, of_features)
        judge = judge_of(model, chosen, overridden(model.recipe, of_data).data)
        left = purse.after(time.monotonic() - begin)
        for last in tune(model, judge, left, asked=evaluations, seed=seed):
            advance(last.share, last.words)
        assert last is not None  # a purse that buys no round is refused
        tuned = verdict(last, judge, own_setting(model), evaluations)
    note = {**tuned.note(), "features": judge.name, "seed": seed, "scorefield": __version__}
    if not dry_run:
        store_sampling(run, tuned.winner.sampling, note, weights)
    if as_json:
        say("", as_json=True, **_facts(tuned, note, run, dry_run))
    else:
        _tell(tuned, run, dry_run)
    if out is not None:
        save_image(front_picture(tuned, run), out)


def _facts(tuned: Tuned, note: dict[str, Any], run: str, dry_run: bool) -> dict[str, Any]:
    """What was found, for programs."""
    return {
        "event": "done",
        "run": run,
        "stored": not dry_run,
        "sampling": to_dict(tuned.winner.sampling),
        "tuned": note,
        "points": [asdict(p) | {"sampling": to_dict(p.sampling)} for p in tuned.points],
        "refused": [{"sampling": to_dict(s), "why": why} for s, why in tuned.refused],
    }


def _tell(tuned: Tuned, run: str, dry_run: bool) -> None:
    """What was found, for people."""
    last = [p for p in tuned.points if p.apart is not None]
    head = ["setting", "evaluations", tuned.measure, "± to the winner", ""]
    table(head, [_row(point, tuned) for point in last])
    if len(last) < len(tuned.points):
        print(f"{len(tuned.points) - len(last)} more were dropped on the way")
    for sampling, why in tuned.refused:
        print(f"refused: {brief(sampling)}: {why}")
    print(f"{brief(tuned.winner.sampling)}: {tuned.words}")
    if dry_run:
        print(f"{run} is left as it is")
    else:
        print(f"stored in {run}; next: scorefield sample {shlex.quote(run)}")


def _row(point: Point, tuned: Tuned) -> list[str]:
    marks = {
        "winner": point == tuned.winner,
        "until now": point == tuned.before,
        "front": point.on_front,
    }
    return [
        brief(point.sampling),
        str(point.evaluations),
        f"{point.distance:.4g}",
        f"{point.apart:.2g}",
        ", ".join(mark for mark, true in marks.items() if true),
    ]
