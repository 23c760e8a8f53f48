"""``scorefield latent``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from torch import Tensor

from scorefield import DormandPrince, InputError, Model, load
from scorefield.atomic import check_file, reading_arrays, whole_file
from scorefield.cli.options import Json, Number, Out, Weights, Whole
from scorefield.cli.output import bar, say
from scorefield.models import between, codes, data_of, decoded
from scorefield.viz import picture, save_image

app = App(name="latent", help="Encode data to noise, decode noise, go from one code to another.")


@app.command(name="encode")
def encode_data(
    run: str,
    /,
    *,
    split: str = "test",
    n: Number = 16,
    out: Out = Path("latents.npz"),
    rtol: float = 1e-4,
    atol: float = 1e-4,
    label: str = "data",
    batch: Whole = 64,
    device: str = "cpu",
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Find the latent codes of data, and tell how well they lead back.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    split
        Which data: train or test.
    n
        How many samples, from the first.
    out
        The codes, an .npz file.
    rtol
        Relative tolerance of the solver.
    atol
        Absolute tolerance of the solver.
    label
        What a conditional model is told: data for the samples' own classes, or none.
    batch
        Samples computed at once.
    device
        Where to compute, such as cpu or cuda.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    check_file(out, ".npz")
    solver, model = DormandPrince(rtol, atol), load(run, device=device, weights=weights)
    x, labels = data_of(model, split, n, label)  # type: ignore[arg-type]
    with bar(f"encoding with {run}", as_json=as_json) as advance:
        parts = codes(model, x, labels, solver=solver, batch=batch)
        z = _gathered(parts, len(x), lambda share: advance(share / 2, "to noise"))
        parts = decoded(model, z, labels, solver=solver, batch=batch)
        back = _gathered(parts, len(x), lambda share: advance((1 + share) / 2, "and back"))
    stored = {"latents": z.numpy()} | ({} if labels is None else {"labels": labels.numpy()})
    with whole_file(out) as temporary:
        np.savez_compressed(temporary, **stored)  # type: ignore[arg-type]
    wrong = (back - x).abs()
    facts = {"mean": float(wrong.square().mean().sqrt()), "largest": float(wrong.max())}
    say(
        f"{out}: {len(x)} codes; the way back misses by {facts['mean']:.2g} "
        f"(root mean square; {facts['largest']:.2g} at most) of a σ_data of "
        f"{model.spec.sigma_data:.2g}",
        as_json=as_json,
        event="done",
        out=str(out),
        samples=len(x),
        round_trip=facts,
    )


@app.command(name="decode")
def decode_codes(
    run: str,
    latents: Path,
    /,
    *,
    out: Out = Path("decoded.png"),
    rtol: float = 1e-4,
    atol: float = 1e-4,
    batch: Whole = 64,
    columns: Whole | None = None,
    device: str = "cpu",
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Draw the data of latent codes.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    latents
        An .npz file that `latent encode` wrote.
    out
        The picture.
    rtol
        Relative tolerance of the solver.
    atol
        Absolute tolerance of the solver.
    batch
        Codes computed at once.
    columns
        Images in a row of the grid.
    device
        Where to compute, such as cpu or cuda.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    check_file(out, ".png")
    solver, model = DormandPrince(rtol, atol), load(run, device=device, weights=weights)
    z, labels = _stored(latents, model)
    with bar(f"decoding with {run}", as_json=as_json) as advance:
        parts = decoded(model, z, labels, solver=solver, batch=batch)
        x = _gathered(parts, len(z), lambda share: advance(share, ""))
    save_image(picture(x, model.spec, columns=columns), out)
    say(str(out), as_json=as_json, event="done", out=str(out), samples=len(x))


@app.command
def interpolate(
    run: str,
    /,
    *,
    split: str | None = None,
    n: Number = 4,
    columns: Whole = 8,
    out: Out = Path("interpolation.png"),
    rtol: float = 1e-4,
    atol: float = 1e-4,
    seed: Whole = 0,
    label: Whole | None = None,
    batch: Whole = 64,
    device: str = "cpu",
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Draw the way from one sample to another through the codes on the sphere between theirs.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    split
        Between data of this split, train or test; between samples of the model if not given.
    n
        How many pairs, each a row.
    columns
        Pictures in a row, the ends among them.
    out
        The picture.
    rtol
        Relative tolerance of the solver.
    atol
        Absolute tolerance of the solver.
    seed
        Seed of the samples.
    label
        The class that a conditional model is told; if not given, none, or 0 for a model that was trained
        with a label everywhere.
    batch
        Codes computed at once.
    device
        Where to compute, such as cpu or cuda.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    check_file(out, ".png")
    solver, model = DormandPrince(rtol, atol), load(run, device=device, weights=weights)
    if n < 1:
        raise InputError(f"the number of pairs must be at least 1, got {n}")
    labels = model.labels(2 * n, model.neutral if label is None and model.classes else label)
    with bar(f"interpolating with {run}", as_json=as_json) as advance:
        ends = _ends(model, split, n, seed, labels, solver, batch)
        z = between(ends[:n], ends[n:], columns)
        told = None if labels is None else labels[:1].expand(len(z))
        parts = decoded(model, z, told, solver=solver, batch=batch)
        x = _gathered(parts, len(z), lambda share: advance(share, ""))
    save_image(picture(x, model.spec, columns=columns), out)
    say(str(out), as_json=as_json, event="done", out=str(out), samples=len(x))


def _ends(
    model: Model,
    split: str | None,
    n: int,
    seed: int,
    labels: Tensor | None,
    solver: DormandPrince,
    batch: int,
) -> Tensor:
    """2n codes: of data, or noise of the level that sampling starts from."""
    if split is None:
        return model.noise(2 * n, seed)
    x, _ = data_of(model, split, 2 * n)  # type: ignore[arg-type]
    if len(x) < 2 * n:
        raise InputError(f"{n} pairs need {2 * n} samples, {split} has {len(x)}")
    return torch.cat(list(codes(model, x, labels, solver=solver, batch=batch)))


def _gathered(parts: Iterator[Tensor], total: int, advance: Any) -> Tensor:  # noqa: ANN401
    """The parts as one tensor, with a progress bar moved at each."""
    found: list[Tensor] = []
    for part in parts:
        found.append(part)
        advance(sum(map(len, found)) / total)
    return torch.cat(found)


def _stored(path: Path, model: Model) -> tuple[Tensor, Tensor | None]:
    """The codes in a file that `latent encode` wrote, and their labels."""
    with reading_arrays(path), path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            raise InputError(
                f"{path} is one array; codes are in an .npz that `latent encode` wrote"
            )
        if "latents" not in found:
            raise InputError(f"{path} has no 'latents'; it has {', '.join(found)}")
        z, labels = found["latents"], found.get("labels")
    if z.ndim == 0 or len(z) == 0:
        raise InputError(f"{path} holds no codes")
    if z.dtype.kind not in "fiu":
        raise InputError(f"{path}: latents must be numbers, got {z.dtype}")
    told = None if labels is None else torch.from_numpy(_checked(path, labels, len(z), model))
    return torch.from_numpy(z.astype(np.float32)), told


def _checked(path: Path, labels: np.ndarray, count: int, model: Model) -> np.ndarray:
    """The labels of so many codes, int64, if a model knows them."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"{path}: labels must be {count} whole numbers, got {labels.dtype} of shape {labels.shape}"
        )
    if model.classes == 0:
        raise InputError(f"{path} has labels, and the model knows none")
    if not all(model.neutral <= label < model.classes for label in labels.tolist()):
        raise InputError(
            f"{path}: labels must lie in {model.neutral} to {model.classes - 1}, got "
            f"{labels.min()} to {labels.max()}"
        )
    return labels.astype(np.int64)
