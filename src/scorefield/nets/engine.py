"""A way to compute a network: precision, memory layout, compilation."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from scorefield.nets.base import Network, lay_out

LOW = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Engine:
    """A way to compute.

    Arguments:
        precision: 'fp32', or 'bf16' or 'fp16' for autocast to bfloat16 or float16.
        channels_last: keep images with their channels innermost.
        compiled: run the network through torch.compile.
    """

    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the network is called."""
        low = LOW.get(self.precision)
        return torch.autocast(device.type, low, enabled=low is not None)

    def apply(self, network: Network) -> None:
        """Lay out the network's weights, and compile it or undo that."""
        lay_out(network, torch.channels_last if self.channels_last else torch.contiguous_format)
        if self.compiled:
            # Batches have one shape; a second network of the class would be compiled for any shape at all.
            network.compile(dynamic=False)
        else:
            network._compiled_call_impl = None

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        return f"{self.precision}, {layout}, {'compiled' if self.compiled else 'eager'}"
