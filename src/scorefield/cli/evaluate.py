"""``scorefield evaluate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scorefield import InputError, load
from scorefield.atomic import check_file, check_writable
from scorefield.cli.options import Batch, Compile, Json, Number, Out, Precision, Weights, Whole
from scorefield.cli.output import bar, remark, say, table
from scorefield.cli.sample import chosen_sampling
from scorefield.evaluation import (
    Drawing,
    Evaluation,
    Features,
    Result,
    caution,
    evaluate,
    figure_rows,
    find_features,
    floor_words,
    nearest_pairs,
    verdict,
    write_page,
    write_result,
)
from scorefield.recipes import overridden, override
from scorefield.viz import save_image

SAMPLES = "evaluation"  # the folder of a run that keeps them


def evaluate_run(
    run: str,
    /,
    *overrides: str,
    n: Number = 10_000,
    sampler: str | None = None,
    steps: Whole | None = None,
    guidance: float | None = None,
    seed: Whole = 0,
    label: Whole | None = None,
    features: str | None = None,
    batch: Batch = None,
    out: Out | None = None,
    device: str = "cpu",
    weights: Weights = "ema",
    precision: Precision = "auto",
    compiling: Compile = "auto",
    as_json: Json = False,
) -> None:
    """Tell how good a model's samples are: figures beside their floor, pictures, copies of training data.

    Writes evaluation.json, evaluation.html and, for images, evaluation.png: samples beside the training
    images nearest to them. Samples are kept in the folder evaluation beside the model, so that an
    evaluation that was stopped goes on where it was.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    overrides
        Settings of the sampler, of the data or of the features, such as sampler.order=3, data=mnist or
        features.weights=inception.pth.
    n
        How many samples.
    sampler
        Way from noise to data (see: scorefield list samplers), of which the model's own keeps its settings;
        or a file that scorefield calibrate wrote.
    steps
        Times in the sampler's grid.
    guidance
        Classifier-free guidance: 0 is the unconditional model, 1 the conditional one, more leans on the
        label.
    seed
        Seed of the samples.
    label
        The class wanted; every class in turn if not given; -1 for none.
    features
        What samples are compared in: digits, pixels, inception, dinov2 or package.module:callable; what
        fits the data if not given.
    batch
        Samples computed at once; what suits the machine if not given.
    out
        The .json file; the page and the picture get its name with .html and .png. If not given, in the
        run's folder: evaluation.json, evaluation-raw.json, or evaluation-NAME.json of another model file.
    device
        Where samples are drawn, such as cpu or cuda.
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
    home = folder_of(Path(run))
    out = home / f"evaluation{which(Path(run), weights)}.json" if out is None else out
    check_file(out, ".json")
    check_writable(home / SAMPLES)
    model = load(run, device=device, weights=weights, precision=precision, compile=compiling)
    of_data, of_features, of_sampling = sorted_words(overrides)
    sampling = chosen_sampling(model, sampler, steps, of_sampling, guidance)
    asked = Evaluation(
        drawing=Drawing(sampling=sampling, seed=seed, label=label, batch=batch),
        count=n,
        features=chosen_features(features, of_features),
        data=overridden(model.recipe, of_data).data,
    )
    found = None
    with bar(f"evaluating {run}", as_json=as_json) as advance:
        for stage in evaluate(model, asked, home / SAMPLES):
            advance(stage.share, stage.name)
            found = stage.result
    assert found is not None  # the last stage has it
    write_result(found, out)
    page = out.with_suffix(".html")
    write_page(found, model.spec, run, page)
    if model.spec.is_image:
        save_image(nearest_pairs(found), out.with_suffix(".png"))
    _tell(found, out, page, as_json=as_json)


def sorted_words(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Overrides of the data, of the features and of the sampling.

    Arguments:
        words: key=value, in any order.
    """
    data = [w for w in words if w.split("=")[0].split(".")[0] == "data"]
    features = [w for w in words if w.startswith("features.")]
    return data, features, [w for w in words if w not in (*data, *features)]


def chosen_features(name: str | None, words: Sequence[str]) -> Features | None:
    """The features asked for; none for those that fit the data.

    Arguments:
        name: what they are called.
        words: their settings.

    Raises:
        InputError: for settings without a name, or either that there is not.
    """
    if name is None:
        if words:
            raise InputError(f"{words[0]} needs features to set, as in --features pixels")
        return None
    if ":" in name:
        sys.path.insert(0, "")  # a module of the user's own lies where they are
    plain: dict[str, Any] = {"features": {}}
    for word in words:
        plain = override(plain, word)
    return find_features(name, plain["features"])


def folder_of(run: Path) -> Path:
    """A run's folder, or that of a model's file."""
    return run if run.is_dir() else run.parent


def which(run: Path, weights: Weights) -> str:
    """What tells a file about other weights from that about a run's own."""
    if run.is_file() and run.stem != "model":
        return f"-{run.stem}"
    return "-raw" if weights == "raw" else ""


def _tell(found: Result, out: Path, page: Path, *, as_json: bool) -> None:
    plain, about = found.plain(), found.about
    if caution(plain):
        remark(caution(plain), as_json=as_json, warning=True)
    if not as_json:
        features = about["features"]
        table(["figure", "samples", "floor", "better"], figure_rows(plain))
        print(f"features: {features['name']} ({features['hash']})")
        print(f"floor: {floor_words(about)}")
        print(f"copies: {verdict(found.memory)}")
    seconds = sum(about["seconds"].values())
    say(
        f"{out} and {page}: {about['count']:,} samples in {seconds:.0f} s",
        as_json=as_json,
        event="done",
        out=str(out),
        page=str(page),
        **plain,
    )
