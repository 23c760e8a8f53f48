"""How the network computes here: precision, memory layout and compilation, chosen by measuring."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import nn

from scorefield.nets.base import lay_out
from scorefield.recipes.recipe import Training

SHORT_RUN = 30.0  # seconds of training below which measuring does not pay
COMPILE_PAYS = 120.0  # seconds of training above which compiling may pay


@dataclass(frozen=True)
class Engine:
    """A way to compute.

    Arguments:
        precision: 'fp32', or 'bf16' for autocast to bfloat16.
        channels_last: keep images with their channels innermost.
        compiled: run the network through torch.compile.
    """

    precision: str = "fp32"
    channels_last: bool = False
    compiled: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the network is called."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def apply(self, network: nn.Module) -> None:
        """Lay out the network's weights, and compile it or undo that."""
        lay_out(network, torch.channels_last if self.channels_last else torch.contiguous_format)
        if self.compiled:
            network.compile()
        else:
            network._compiled_call_impl = None

    def __str__(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        return f"{self.precision}, {layout}, {'compiled' if self.compiled else 'eager'}"


@dataclass(frozen=True)
class Trial:
    """A measured way to compute.

    Arguments:
        engine: the way.
        seconds: median time of a forward and backward pass of a batch; infinite if it failed.
        preparation: time of the first pass, which is where compiling happens.
        failure: why it failed, if it did.
    """

    engine: Engine
    seconds: float
    preparation: float
    failure: str = ""


def measured(
    engine: Engine, network: nn.Module, run: Callable[[Engine], None], n: int = 3
) -> Trial:
    """Time a way to compute.

    Arguments:
        engine: the way.
        network: what it is applied to, and left so.
        run: one forward and backward pass.
        n: passes to time after the first; 0 to take the time of the first.
    """
    times = []
    try:
        engine.apply(network)
        for _ in range(n + 1):
            begin = time.perf_counter()
            run(engine)
            times.append(time.perf_counter() - begin)
    except (
        Exception
    ) as error:  # a compiler that is missing or fails in any way is no reason to stop
        if not engine.compiled:
            raise
        replace(engine, compiled=False).apply(network)
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        return Trial(engine, float("inf"), 0.0, reason)
    return Trial(engine, statistics.median(times[1:] or times), times[0])


def trials(
    training: Training,
    network: nn.Module,
    run: Callable[[Engine], None],
    remaining: Callable[[float], float],
) -> Iterator[Trial]:
    """Measure the ways worth trying, cheapest first; the fastest is the one to use.

    Arguments:
        training: what the recipe leaves open; nothing is measured that it settles.
        network: the network, which is left laid out as last tried.
        run: one forward and backward pass of a batch.
        remaining: seconds of training left, given the seconds of a step.
    """
    images = any(p.ndim == 4 for p in network.parameters())
    fixed = "bf16" if training.precision == "bf16" else "fp32"
    first = Engine(fixed, channels_last=images)
    if training.precision != "auto" and training.compile == "off":
        yield Trial(first, 0.0, 0.0)
        return
    best = measured(first, network, run, n=1)
    yield best
    if remaining(best.seconds) > SHORT_RUN and training.precision == "auto":
        for engine in [replace(first, channels_last=False), replace(first, precision="bf16")]:
            trial = measured(engine, network, run)
            best = min(best, trial, key=lambda t: t.seconds)
            yield trial
    pays = training.compile == "auto" and remaining(best.seconds) > COMPILE_PAYS
    if pays or training.compile == "on":
        yield measured(replace(best.engine, compiled=True), network, run)
