"""What a network is to the rest: a light config that builds a heavy module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Network(nn.Module):
    """A module of a `NetworkConfig`, which says of its layers what a trainer needs to know."""

    outer: ClassVar[tuple[str, ...]] = ()  # names of the layers that meet the data
    recompute: bool = False  # in training, keep of a block what goes in, and compute the rest again

    def through(self, block: nn.Module, *given: Tensor) -> Tensor:
        """What a block makes of tensors, its inner ones kept for the gradient or computed again for it.

        Dropout draws the same again.

        Arguments:
            block: a part of this network.
            given: what it is called with.

        Reference: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, section 4.
            arXiv:1604.06174
        """
        if self.recompute and self.training and torch.is_grad_enabled():
            out: Tensor = checkpoint(block, *given, use_reentrant=False)
        else:
            out = block(*given)
        return out


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
