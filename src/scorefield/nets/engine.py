"""A way to compute a network (precision, memory layout, compilation), and a network that is computed so."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


class Computed(nn.Module):
    """A network that is computed in a way of its own, and itself left as it is.

    Compiled code is for a fixed number of rows. Other batches are cut into parts of so many, the last of
    them filled up with zeros, so that nothing is compiled again; one row alone is compiled for itself.

    Arguments:
        network: the network, its weights laid out.
        engine: how to compute it.
        rows: samples in a batch of compiled code; at least 1.
    """

    def __init__(self, network: nn.Module, engine: Engine, rows: int) -> None:
        super().__init__()
        self.engine, self.rows = engine, rows
        # Networks of one description share their compiled code, to which weights are given.
        self.network = torch.compile(network, dynamic=False) if engine.compiled else network

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        with self.engine.autocast(x.device):
            if not self.engine.compiled:
                out: Tensor = self.network(x, c_noise, label=label)
                return out
            rows = self.rows if len(x) > 1 else 1
            parts = [
                self._part(x[some], c_noise[some], None if label is None else label[some], rows)
                for some in (slice(start, start + rows) for start in range(0, len(x), rows))
            ]
        return torch.cat(parts)

    def _part(self, x: Tensor, c_noise: Tensor, label: Tensor | None, rows: int) -> Tensor:
        known = {} if label is None else {"label": filled(label, rows)}
        out: Tensor = self.network(filled(x, rows), filled(c_noise, rows), **known)
        return out[: len(x)]


def filled(x: Tensor, rows: int) -> Tensor:
    """x of shape (B, ...) with rows of 0 below, in memory of its own in the usual order.

    Arguments:
        x: at most so many rows.
        rows: how many there are to be.
    """
    out = x.new_zeros((rows, *x.shape[1:]))
    out[: len(x)] = x
    return out
