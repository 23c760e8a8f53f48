"""What a network is to the rest: a light config that builds a heavy module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn


class Network(nn.Module):
    """A module of a `NetworkConfig`, which says of its layers what a trainer needs to know."""

    outer: ClassVar[tuple[str, ...]] = ()  # names of the layers that meet the data


@dataclass(frozen=True)
class NetworkConfig(ABC):
    """A description of a network; `build` makes the module for data of a given shape.

    The module is called as ``module(x, c_noise, label=None, augment=None)``: x of shape (B, ...) with unit
    variance, c_noise of shape (B,), label of shape (B,) with -1 for "no label", augment of shape (B, K)
    with what was done to the data in training, 0 for nothing. It returns the shape of x.
    """

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int, augment: int = 0) -> Network:
        """The module for samples of a shape.

        Arguments:
            shape: (C, H, W) or (D,).
            classes: number of classes, 0 for none.
            augment: K, the numbers that tell what was done to a sample, 0 for none.
        """


def lay_out(network: nn.Module, layout: torch.memory_format) -> None:
    """Store the kernels of a network in a memory layout; what it computes stays the same.

    Arguments:
        network: changed in place; only its weights of four axes have a layout.
        layout: ``torch.channels_last`` or ``torch.contiguous_format``.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=layout)
