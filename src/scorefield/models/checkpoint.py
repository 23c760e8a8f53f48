"""Model files: safetensors whose header says everything, and nothing in them is ever executed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scorefield.core.moments import moments_from
from scorefield.data.base import DataSpec
from scorefield.errors import InputError, unknown
from scorefield.models.computing import Compile, Computing, Precision
from scorefield.models.model import Model
from scorefield.models.tensors import write_tensors
from scorefield.nets.base import lay_out
from scorefield.recipes.config import from_dict, to_dict
from scorefield.recipes.recipe import Recipe, Sampling

FORMAT = 2  # 1 had no moments of the data
MOMENTS = "moments."  # begins the names of their tensors
MODEL_FILE = "model.safetensors"  # of a run: the averaged weights
RAW_FILE = "raw.safetensors"  # the weights of the last step

Weights = Literal["ema", "raw"]

Header = dict[str, str]


def save(path: str | Path, model: Model) -> None:
    """Write a model to one file; it appears there whole or not at all.

    Arguments:
        path: a .safetensors file.
        model: what to save.

    Raises:
        InputError: when the path cannot be written, or the recipe could not be read from there.
    """
    from scorefield import __version__

    recipe = to_dict(model.recipe)
    from_dict(Recipe, recipe, "recipe")  # as `load` will
    header = {
        "format": str(FORMAT),
        "scorefield": __version__,
        "recipe": json.dumps(recipe),
        "spec": json.dumps(asdict(model.spec)),
        "step": str(model.step),
    }
    tensors = model.denoiser.network.state_dict()
    if model.denoiser.moments is not None:
        known = model.denoiser.moments.tensors()
        tensors |= {MOMENTS + name: values for name, values in known.items()}
    write_tensors(Path(path), tensors, header)


def store_sampling(
    path: str | Path, sampling: Sampling, tuned: Mapping[str, Any], weights: Weights = "ema"
) -> None:
    """Make a way of sampling a model's own; its file is there whole, before or after, and its weights stay.

    Arguments:
        path: a run folder, or a model.safetensors file.
        sampling: the way.
        tuned: how it was found, plain; `read_card` gives it back.
        weights: of a run folder, those averaged over training ('ema') or the last ('raw').

    Raises:
        InputError: for a file that cannot be read or written, or a guidance that the model cannot have.
    """
    file, card = model_file(path, weights), read_card(path, weights)
    if sampling.guidance is not None:
        card.recipe.check_guidance(card.spec)
    recipe = to_dict(replace(card.recipe, sampling=sampling))
    note = json.dumps(dict(tuned), allow_nan=False)
    header = _header(file) | {"recipe": json.dumps(recipe), "tuned": note}
    write_tensors(file, _tensors(file), header)


def load(
    path: str | Path,
    *,
    device: str = "cpu",
    weights: Weights = "ema",
    precision: Precision = "auto",
    compile: Compile = "auto",
) -> Model:
    """A trained model from its file or its run folder.

    Arguments:
        path: a run folder, or a model.safetensors file.
        device: where the model computes, such as 'cpu' or 'cuda'.
        weights: of a run folder, those averaged over training ('ema') or the last ('raw').
        precision: of the network when samples are drawn, 'fp32', 'bf16', or 'auto', which is 'bf16' for
            images where the machine has instructions for it.
        compile: compile the network for drawing samples, 'on', 'off', or 'auto' for where it pays.

    Raises:
        InputError: when the file is missing, cut off, of another program, of a newer format, or says
            something that this version does not know.

    Examples:
        >>> load("runs/nowhere")
        Traceback (most recent call last):
        ...
        scorefield.errors.InputError: ...
    """
    check_device(device)
    computing = Computing(precision, compile)
    card = read_card(path, weights)
    recipe, spec = card.recipe, card.spec
    tensors = _tensors(model_file(path, weights))
    known = {
        name.removeprefix(MOMENTS): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(MOMENTS)
    }
    moments = moments_from(known, spec.shape) if known else None
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
        denoiser = recipe.build(spec, moments)
    try:
        denoiser.network.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"the weights in {path} do not fit its recipe: {reason}") from None
    # Convolutions are faster with the channels innermost, on processors as on GPUs.
    lay_out(denoiser.network, torch.channels_last)
    denoiser.to(device).eval().requires_grad_(False)
    return Model(denoiser, recipe, spec, card.step, computing)


@dataclass(frozen=True)
class Card:
    """What the header of a model file says.

    Arguments:
        recipe: what the model was made from.
        spec: the description of its data.
        step: optimizer steps it was trained for.
        scorefield: the version that wrote it.
        tuned: how its way of sampling was found; none if it is the recipe's from the start.
    """

    recipe: Recipe
    spec: DataSpec
    step: int
    scorefield: str
    tuned: dict[str, Any] | None = None


def read_card(path: str | Path, weights: Weights = "ema") -> Card:
    """What a model file says of itself, without loading a tensor.

    Arguments:
        path: a run folder, or a model.safetensors file.
        weights: of a run folder, those averaged over training ('ema') or the last ('raw').

    Raises:
        InputError: when the file is missing, cut off, of another program, of a newer format, or says
            something that this version does not know.
    """
    file = model_file(path, weights)
    header = _header(file)
    if not re.fullmatch(r"[0-9]{1,18}", header["step"]):
        raise InputError(f"the header of {file} is damaged: step is '{header['step']}'")
    recipe = from_dict(Recipe, _plain(file, header, "recipe"), "recipe")
    spec = from_dict(DataSpec, _plain(file, header, "spec"), "spec")
    tuned = _plain(file, header, "tuned") if "tuned" in header else None
    if tuned is not None and not isinstance(tuned, dict):
        raise InputError(f"the header of {file} is damaged: tuned is {tuned!r}")
    return Card(recipe, spec, int(header["step"]), header["scorefield"], tuned)


def _plain(file: Path, header: Header, key: str) -> object:
    try:
        return json.loads(header[key])
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"the header of {file} is damaged: {key} is not JSON: {error}") from None


def _tensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as content:
        return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118


def _header(file: Path) -> Header:
    try:
        with safe_open(file, framework="pt") as content:
            header: Header = content.metadata() or {}
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InputError(f"{file} is damaged or not a safetensors file: {error}") from error
    if not {"format", "scorefield", "recipe", "spec", "step"} <= header.keys():
        raise InputError(f"{file} was not written by Scorefield: its header has no recipe")
    if header["format"] not in map(str, range(1, FORMAT + 1)):
        raise InputError(
            f"{file} has format {header['format']}, written by Scorefield {header['scorefield']}; "
            f"this version reads up to {FORMAT}"
        )
    return header


def model_file(path: str | Path, weights: Weights = "ema") -> Path:
    """The model file of a run folder, or the file itself.

    Arguments:
        path: a run folder, or a file.
        weights: which of a run folder's; a file has only one set.

    Raises:
        InputError: when there is none, and for weights that are neither 'ema' nor 'raw'.
    """
    files = {"ema": MODEL_FILE, "raw": RAW_FILE}
    if weights not in files:
        raise unknown("weights", weights, files)
    file = Path(path)
    if weights == "raw" and file.is_file():
        raise InputError(f"weights can be chosen of a run folder, and {file} is a file of one set")
    file = file / files[weights] if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"no model at {path}; a run folder or a {files[weights]} is needed")
    return file


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Arguments:
        device: such as 'cpu' or 'cuda'.

    Raises:
        InputError: when it cannot be used.
    """
    try:
        torch.empty(0, device=device).cpu()  # 'meta' has no numbers to give
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"device '{device}' cannot be used ({reason}); 'cpu' can") from None
