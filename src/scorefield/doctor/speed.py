"""How fast a recipe trains on this machine: measured for a second, and carried over by counting."""

from __future__ import annotations

import statistics
import time

import torch

from scorefield.data.base import DataSpec
from scorefield.nets.base import NetworkConfig
from scorefield.recipes.recipe import Recipe

SECONDS = 1.0  # of measuring


def training_rate(recipe: Recipe, spec: DataSpec, seconds: float = SECONDS) -> float:
    """Images a second of forward and backward passes, eager and in float32, on the fastest device.

    Arguments:
        recipe: what would be trained.
        spec: the description of the data; noise of their shape stands for them.
        seconds: how long to measure, about; the first pass is not counted.
    """
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = recipe.build(spec).to(device or "cpu")
    # what fits in memory at once is what is timed
    batch = recipe.training.batch // recipe.training.accumulate
    x = torch.randn(batch, *spec.shape, generator=generator).to(device or "cpu")
    label = torch.zeros(batch, dtype=torch.int64, device=device or "cpu") if spec.classes else None
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - begin < seconds and len(times) < 200):
        start = time.perf_counter()
        loss = recipe.objective(denoiser, x, generator=generator, label=label).mean()
        torch.autograd.backward(loss)
        if device is not None:
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times[1:])


def operations(network: NetworkConfig, spec: DataSpec) -> int:
    """Multiplications and additions of a forward pass of one sample, without computing any.

    Arguments:
        network: the network's description.
        spec: the description of the data.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = network.build(spec.shape, spec.classes)
        x, noise = torch.empty(1, *spec.shape), torch.empty(1)
        label = torch.zeros(1, dtype=torch.int64) if spec.classes else None
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(x, noise, label)
    return int(counter.get_total_flops())
