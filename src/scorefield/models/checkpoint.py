"""Model files: safetensors whose header says everything, and nothing in them is ever executed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from scorefield.atomic import whole_file
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.models.model import Model
from scorefield.nets.base import lay_out
from scorefield.recipes.config import from_dict, to_dict
from scorefield.recipes.recipe import Recipe

FORMAT = 1
MODEL_FILE = "model.safetensors"

Header = dict[str, str]


def save(path: str | Path, model: Model) -> None:
    """Write a model to one file; it appears there whole or not at all.

    Arguments:
        path: a .safetensors file.
        model: what to save.

    Raises:
        InputError: when the path cannot be written.
    """
    from scorefield import __version__

    header = {
        "format": str(FORMAT),
        "scorefield": __version__,
        "recipe": json.dumps(to_dict(model.recipe)),
        "spec": json.dumps(asdict(model.spec)),
        "step": str(model.step),
    }
    weights = {k: v.contiguous() for k, v in model.denoiser.network.state_dict().items()}
    with whole_file(Path(path)) as temporary:
        save_file(weights, temporary, metadata=header)


def load(path: str | Path, *, device: str = "cpu") -> Model:
    """A trained model from its file or its run folder.

    Arguments:
        path: a run folder, or a model.safetensors file.
        device: where the model computes, such as 'cpu' or 'cuda'.

    Raises:
        InputError: when the file is missing, cut off, of another program, of a newer format, or says
            something that this version does not know.

    Examples:
        >>> load("runs/nowhere")
        Traceback (most recent call last):
        ...
        scorefield.errors.InputError: ...
    """
    _check_device(device)
    header, weights = read(path)
    recipe = from_dict(Recipe, json.loads(header["recipe"]), "recipe")
    spec = spec_from(json.loads(header["spec"]))
    denoiser = recipe.build(spec)
    try:
        denoiser.network.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"the weights in {path} do not fit its recipe: {error}") from error
    # Convolutions are faster with the channels innermost, on processors as on GPUs.
    lay_out(denoiser.network, torch.channels_last)
    denoiser.to(device).eval().requires_grad_(False)
    return Model(denoiser, recipe, spec, int(header["step"]))


def read(path: str | Path) -> tuple[Header, dict[str, Tensor]]:
    """The header and the tensors of a model file, checked to be ours.

    Arguments:
        path: a run folder, or a model.safetensors file.
    """
    file = model_file(path)
    header = read_header(file)
    with safe_open(file, framework="pt") as content:
        return header, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118


def read_header(path: str | Path) -> Header:
    """The header of a model file, without loading a tensor.

    Arguments:
        path: a run folder, or a model.safetensors file.
    """
    file = model_file(path)
    try:
        with safe_open(file, framework="pt") as content:
            header: Header = content.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is damaged or not a safetensors file: {error}") from error
    if not {"format", "scorefield", "recipe", "spec", "step"} <= header.keys():
        raise InputError(f"{file} was not written by Scorefield: its header has no recipe")
    if not header["format"].isdigit() or int(header["format"]) > FORMAT:
        raise InputError(
            f"{file} has format {header['format']}, written by Scorefield {header['scorefield']}; "
            f"this version reads up to {FORMAT}"
        )
    return header


def model_file(path: str | Path) -> Path:
    """The model file of a run folder, or the file itself."""
    file = Path(path)
    file = file / MODEL_FILE if file.is_dir() else file
    if not file.is_file():
        raise InputError(f"no model at {path}; a run folder or a {MODEL_FILE} is needed")
    return file


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(f"device '{device}' cannot be used ({reason}); 'cpu' can") from None


def spec_from(plain: dict[str, Any]) -> DataSpec:
    """The data's description from its JSON."""
    return from_dict(DataSpec, plain, "spec")
