"""What a run goes on from: where it stands, and the tensors of its parts.

Nothing random is part of it: the order of the data and the noise follow from the seed and the step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Position:
    """Where a run stands.

    Arguments:
        step: optimizer steps made.
        seconds: time spent in them.
        precision: what the network computes in, 'fp32', 'bf16' or 'fp16'.
        channels_last: memory layout of the network.
        compiled: whether the network is compiled.
        split: parts a batch is computed in, more than the recipe says where memory is short.
        left_out: steps in a row, up to here, whose numbers were not finite.
        lr_factor: what roll-backs have brought the learning rate to, as a factor.
        roll_backs: roll-backs since the run has got further than before.
        furthest: the step from which the run was last rolled back.
    """

    step: int = 0
    seconds: float = 0.0
    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False
    split: int = 1
    left_out: int = 0
    lr_factor: float = 1.0
    roll_backs: int = 0
    furthest: int = 0


class Part(ABC):
    """Something whose tensors a run must have back to go on."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What to save, by name."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave.

        Arguments:
            tensors: by the same names.

        Raises:
            KeyError: for a name that is missing.
            RuntimeError: for a tensor of another shape.
        """


@dataclass(frozen=True)
class ModulePart(Part):
    """The weights and buffers of a module.

    Arguments:
        module: the module.
    """

    module: nn.Module

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(dict(tensors))


@dataclass(frozen=True)
class OptimizerPart(Part):
    """What an optimizer remembers of each parameter.

    Arguments:
        optimizer: the optimizer.
    """

    optimizer: torch.optim.Optimizer

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{index}.{name}": torch.as_tensor(value)
            for index, remembered in self.optimizer.state_dict()["state"].items()
            for name, value in remembered.items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, value in tensors.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        plain = self.optimizer.state_dict()
        self.optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})
