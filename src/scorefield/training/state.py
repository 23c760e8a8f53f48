"""What a run needs to go on, in one safetensors file: weights, average and optimizers.

Nothing random is stored: the order of the data and the noise follow from the seed and the step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scorefield.atomic import whole_file
from scorefield.errors import InputError
from scorefield.training.ema import PowerAverage

FORMAT = 1
KEPT = 2  # state files; the one before the newest is there if the newest is lost


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Arguments:
        step: optimizer steps made.
        seconds: time spent in them.
        precision: what the network computes in, 'fp32' or 'bf16'.
        channels_last: memory layout of the network.
        compiled: whether the network is compiled.
    """

    step: int = 0
    seconds: float = 0.0
    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False


def save_state(
    folder: Path,
    position: Position,
    network: nn.Module,
    average: PowerAverage,
    optimizers: Sequence[torch.optim.Optimizer],
) -> Path:
    """Write the state of a run to ``folder/step-N.safetensors`` and drop the oldest.

    Arguments:
        folder: the run's folder of states.
        position: where the run stands.
        network: the network with its raw weights.
        average: the average of its weights.
        optimizers: with their moments.
    """
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{i}": v for i, v in enumerate(average.averages)}
    for number, optimizer in enumerate(optimizers):
        for index, moments in optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"optimizer.{number}.{index}.{name}"] = torch.as_tensor(value)
    header = {"format": str(FORMAT), "position": json.dumps(asdict(position))}
    path = folder / f"step-{position.step:08d}.safetensors"
    with whole_file(path) as temporary:
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, metadata=header)
    for old in state_files(folder)[:-KEPT]:
        old.unlink()
    return path


def state_files(folder: Path) -> list[Path]:
    """The state files of a run, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def load_newest(
    paths: Sequence[Path],
    network: nn.Module,
    average: PowerAverage,
    optimizers: Sequence[torch.optim.Optimizer],
) -> Position:
    """Put a run back where its newest good state file left it.

    Arguments:
        paths: state files, oldest first; at least 1.
        network: gets its raw weights.
        average: gets the average of the weights.
        optimizers: get their moments.

    Raises:
        InputError: when no file is good, with what is wrong with the newest.
    """
    errors = []
    for path in reversed(paths):
        try:
            return load_state(path, network, average, optimizers)
        except InputError as error:
            errors.append(error)
    raise errors[0]


def load_state(
    path: Path,
    network: nn.Module,
    average: PowerAverage,
    optimizers: Sequence[torch.optim.Optimizer],
) -> Position:
    """Put a run back where a state file left it.

    Arguments:
        path: the state file.
        network: gets its raw weights.
        average: gets the average of the weights.
        optimizers: get their moments.

    Raises:
        InputError: when the file is damaged, of a newer format, or of another recipe.
    """
    try:
        with safe_open(path, framework="pt") as content:
            header = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or not a safetensors file: {error}") from error
    if header.get("format") != str(FORMAT):
        raise InputError(
            f"{path} has state format {header.get('format')}; this version reads {FORMAT}"
        )
    try:
        network.load_state_dict(_part(tensors, "network."))
        averages = _part(tensors, "average.")
        average.restore([averages[str(i)] for i in range(len(averages))])
        for number, optimizer in enumerate(optimizers):
            _restore(optimizer, _part(tensors, f"optimizer.{number}."))
        return Position(**json.loads(header["position"]))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is of another recipe: {reason}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _restore(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for name, value in moments.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    plain = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})
