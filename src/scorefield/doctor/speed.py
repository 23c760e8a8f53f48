"""How fast recipes train here: one is measured for a second, others follow by counting."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import lru_cache

import torch

from scorefield.data.base import DataSpec
from scorefield.nets.base import NetworkConfig
from scorefield.recipes.budget import Budget
from scorefield.recipes.recipe import Recipe

SECONDS = 1.0  # of measuring

Measure = Callable[[Recipe, DataSpec], float]


class Pace:
    """Training samples a second of recipes, and how many a budget shows.

    The first recipe that is asked for is timed; the speed of others follows from it in inverse
    proportion to the operations of their networks.

    Arguments:
        spec: the description of the data.
        measure: samples a second of a recipe.
    """

    def __init__(self, spec: DataSpec, measure: Measure) -> None:
        self.spec, self.measure = spec, measure
        self._operations: float | None = None  # a second

    def rate(self, recipe: Recipe) -> float:
        """Training samples a second."""
        count = operations(recipe.network, self.spec)
        if self._operations is None:
            self._operations = self.measure(recipe, self.spec) * count
        return self._operations / count

    def seen(self, recipe: Recipe) -> int:
        """How many samples the recipe's budget shows; at least 1."""
        budget = Budget.parse(recipe.training.budget)
        if budget.unit == "seconds":
            return max(1, int(budget.amount * self.rate(recipe)))
        each = recipe.training.batch if budget.unit == "steps" else 1
        return max(1, int(budget.amount * each))


def training_rate(recipe: Recipe, spec: DataSpec, *, device: str = "auto") -> float:
    """Samples a second of forward and backward passes, eager and in float32.

    Arguments:
        recipe: what would be trained.
        spec: the description of the data; noise of their shape stands for them.
        device: 'auto' for the best there is, or 'cpu'.
    """
    best = None if device == "cpu" else torch.accelerator.current_accelerator()
    place = best or torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = recipe.build(spec).to(place)
    # what fits in memory at once is what is timed
    batch = recipe.training.batch // recipe.training.accumulate
    x = torch.randn(batch, *spec.shape, generator=generator).to(place)
    label = torch.zeros(batch, dtype=torch.int64, device=place) if spec.classes else None
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - begin < SECONDS and len(times) < 200):
        start = time.perf_counter()
        loss = recipe.objective(denoiser, x, generator=generator, label=label).mean()
        torch.autograd.backward(loss)
        if place.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times[1:])


def operations(network: NetworkConfig, spec: DataSpec) -> int:
    """Multiplications and additions of a forward pass of one sample, without computing any.

    Arguments:
        network: the network's description.
        spec: the description of the data.
    """
    return _counted(network, spec.shape, spec.classes)


@lru_cache(64)
def _counted(network: NetworkConfig, shape: tuple[int, ...], classes: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = network.build(shape, classes)
        x, noise = torch.empty(1, *shape), torch.empty(1)
        label = torch.zeros(1, dtype=torch.int64) if classes else None
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(x, noise, label)
    return int(counter.get_total_flops())
