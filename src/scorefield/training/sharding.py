"""Weights that are cut up among processes (FSDP), and put together again for files and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scorefield.errors import InputError
from scorefield.training.state import Part

if TYPE_CHECKING:
    from accelerate import Accelerator

# Takes a module and its optimizers, and gives those whose weights are cut up.
Sharder = Callable[..., Sequence[Any]]


def sharder(accelerator: Accelerator) -> Sharder | None:
    """What cuts up weights, if the launcher asks for it (accelerate launch --use_fsdp --fsdp_version 2).

    Arguments:
        accelerator: Accelerate's.

    Raises:
        InputError: for the first version of FSDP.
    """
    if str(accelerator.distributed_type.value) != "FSDP":
        return None
    if not accelerator.is_fsdp2:
        raise InputError("fsdp_version must be 2, got 1")
    prepare: Sharder = accelerator.prepare
    return prepare


def check_shardable(optimizer: str) -> None:
    """Refuse an optimizer that looks at whole matrices.

    Arguments:
        optimizer: its name in the recipe.

    Raises:
        InputError: for 'muon'.
    """
    if optimizer == "muon":
        raise InputError(
            "training.optimizer=muon needs whole matrices, which FSDP cuts up; use adamw, or no FSDP"
        )


def sharded(
    cut: Sharder, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    """A module and its optimizers with cut-up weights, and what the optimizers remember cut alike.

    Arguments:
        cut: what cuts up weights.
        module: the module.
        optimizers: of its parameters; they may have whole tensors from a state file.
    """
    remembered = [optimizer.state_dict()["state"] for optimizer in optimizers]
    module, *made = cut(module, *optimizers)
    for optimizer, state in zip(made, remembered, strict=True):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.state.clear()
        for index, values in state.items():
            like = parameters[index]
            optimizer.state[like] = {name: shared_like(v, like) for name, v in values.items()}
    return module, made


def shared_like(value: Any, like: Tensor) -> Any:  # noqa: ANN401
    """A tensor cut up as another is, if that is cut up and of its shape.

    Arguments:
        value: a whole tensor, the same in all processes; other things stay what they are.
        like: the other tensor.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    if getattr(value, "shape", None) != like.shape:
        return value
    return distribute_tensor(value.contiguous(), like.device_mesh, like.placements)


def whole(value: Tensor) -> Tensor:
    """A tensor put together, in all processes, which have to ask together.

    Arguments:
        value: a tensor that may be cut up.
    """
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


@dataclass(frozen=True)
class WholePart(Part):
    """A part of a run's state whose tensors are cut up; all processes ask for them together.

    Arguments:
        part: the part.
    """

    part: Part

    def tensors(self) -> dict[str, Tensor]:
        return {name: whole(value) for name, value in self.part.tensors().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        mine = self.part.tensors()
        self.part.restore({k: shared_like(v, mine.get(k, v)) for k, v in tensors.items()})


@dataclass(frozen=True)
class HeldPart(Part):
    """A part as it was when all processes put it together, for one of them to write.

    Arguments:
        part: the part.
        held: its tensors.
    """

    part: Part
    held: dict[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        return self.held

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.part.restore(tensors)
