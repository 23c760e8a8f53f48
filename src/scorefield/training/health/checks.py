"""The checks of a run, on a copy of its network and with noise of their own: training is not disturbed."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.data.base import Data
from scorefield.data.blocks import spread
from scorefield.errors import InputError
from scorefield.nets.engine import Engine
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.noise import stream
from scorefield.training.health.floors import gaussian_loss, ideal_loss
from scorefield.training.health.losses import (
    Samples,
    check_times,
    level_losses,
    network_loss,
    noise_levels,
)
from scorefield.training.health.noise_scale import estimates, half_gradients, noise_scale
from scorefield.training.health.record import Health
from scorefield.training.order import HEALTH

# Each at 8 levels, thrice: 2304 passes forward, which cost what 768 images of training do.
SAMPLES = 96
KNOWN = 10_000  # training samples that the ideal denoiser knows, of large ones fewer:
NUMBERS = 1 << 23  # in all of these
NOISE_BATCH = 256  # images for the noise scale at most


@dataclass
class Checks:
    """The checks of a run, each a `Health`; to be made by one process only.

    Arguments:
        recipe: what is trained, fitted to its data.
        data: the training data.
        denoiser: whose network is trained.
        device: where it is.
        gradients: the estimates of ‖G‖² and tr Σ of the checks so far.
    """

    recipe: Recipe
    data: Data
    denoiser: NetworkDenoiser
    device: torch.device
    gradients: list[tuple[float, ...]] = field(default_factory=list)

    def __call__(
        self, step: int, average: Mapping[str, Tensor], engine: Engine, rows: int
    ) -> Health:
        """Measure the weights of now, which are left alone, as are torch's random numbers.

        Arguments:
            step: steps made, which fixes the samples that the noise scale is measured on.
            average: the averaged weights, by the names of the network's state dict.
            engine: how to compute.
            rows: samples whose gradients fit into memory at once.
        """
        network = copy.deepcopy(self.denoiser.network).eval()
        lag = ema_lag(average, network)
        forward = 4 * rows  # as nothing is kept for gradients
        # Of float16 without the scale that training has for it, small gradients would be lost.
        exact = replace(engine, precision="fp32") if engine.precision == "fp16" else engine
        gradient: tuple[float, ...] = ()
        if self.recipe.training.batch > 1 and self._is_plain:
            with exact.autocast(self.device):
                gradient = self._gradient(network, step, rows)
        with engine.autocast(self.device):
            raw = self._losses(network, self.held_out, forward)
        network.load_state_dict(average)
        with engine.autocast(self.device):  # anew: within one, weights are cast once and kept
            ema, train = (
                self._losses(network, samples, forward) for samples in (self.held_out, self.train)
            )
        if gradient:
            self.gradients.append(gradient)
        return replace(
            self.fixed,
            ema=ema,
            raw=raw,
            train=train,
            gradient=gradient,
            noise_scale=noise_scale(self.gradients),
            ema_lag=lag,
        )

    @property
    def _is_plain(self) -> bool:
        """Whether the recipe alone says what loss is trained: its gradient has a noise scale."""
        objective = self.recipe.objective
        return not objective.weighting.learned and objective.times.stretches == 0

    @cached_property
    def train(self) -> Samples:
        """The training samples that losses are measured on."""
        return self._samples(self.data, spread(len(self.data), SAMPLES))

    @cached_property
    def held_out(self) -> Samples | str:
        """As many held-out samples, or why there are none."""
        try:
            data = self.recipe.data.load("test")
        except InputError as error:
            return str(error)
        if data.spec.shape != self.data.spec.shape or (self._conditional and data.label is None):
            return "the test split has another shape, or no labels"
        return self._samples(data, spread(len(data), SAMPLES))

    @property
    def remark(self) -> str:
        """What there is to say before the first check; empty if all can be measured."""
        if not isinstance(self.held_out, str):
            return ""
        return (
            f"no held-out loss, so that memorising is hard to tell from learning: {self.held_out}"
        )

    @cached_property
    def times(self) -> Tensor:
        """The times of the levels, shape (8,)."""
        return check_times(self.recipe.objective.times, self.recipe.schedule)

    @cached_property
    def fixed(self) -> Health:
        """What is the same at every check: levels and what losses are held against."""
        way = (self.denoiser.schedule, self.denoiser.parameterization)
        most = min(KNOWN, max(NUMBERS // math.prod(self.data.spec.shape), SAMPLES))
        which = [spread(len(self.data), most), spread(len(self.data), SAMPLES)]
        known = self._samples(self.data, torch.unique(torch.cat(which)))
        ideal = ideal_loss(known.x0, known.label, *way)
        moments = self.denoiser.moments
        return Health(
            noise_levels(way[0], self.times),
            ideal=level_losses(ideal, self.train, self.times, SAMPLES),
            gaussian=()
            if moments is None
            else gaussian_loss(moments.given(self.train.label), *way, self.times),
        )

    @property
    def _conditional(self) -> bool:
        return self.recipe.classes(self.data.spec) > 0

    def _samples(self, data: Data, indices: Tensor) -> Samples:
        # In the units of the training data, whatever was measured of others.
        x0 = self.data.spec.to_model(data.stored(indices))
        label = data.label[indices] if self._conditional and data.label is not None else None
        return Samples(x0, label, stream(self.recipe.training.seed, HEALTH))

    def _losses(self, network: nn.Module, samples: Samples | str, rows: int) -> tuple[float, ...]:
        if isinstance(samples, str):
            return ()
        loss = network_loss(self.denoiser.with_network(network), self.device)
        return level_losses(loss, samples, self.times, rows)

    def _gradient(self, network: nn.Module, step: int, rows: int) -> tuple[float, float]:
        """Estimates of ‖G‖² and tr Σ, on samples, times and noise that are independent of one another."""
        objective, denoiser = self.recipe.objective, self.denoiser.with_network(network)
        half = min(self.recipe.training.batch, NOISE_BATCH) // 2
        generator = torch.Generator().manual_seed(
            stream(self.recipe.training.seed, HEALTH, step, 1)
        )
        indices = torch.randint(len(self.data), (2 * half,), generator=generator)
        samples = self._samples(self.data, indices)
        u = torch.rand(2 * half, generator=generator, dtype=torch.float64)
        t = objective.times(denoiser.schedule, u)
        eps = torch.randn(samples.x0.shape, generator=generator)

        def loss(part: Tensor) -> Tensor:
            label = None if samples.label is None else samples.label[part].to(self.device)
            x0, noise = samples.x0[part].to(self.device), eps[part].to(self.device)
            return objective.losses(denoiser, x0, t[part], noise, label)

        weights = [p for p in network.parameters() if p.requires_grad]
        return estimates(half_gradients(loss, weights, half, rows), half)


@torch.no_grad()
def ema_lag(average: Mapping[str, Tensor], network: nn.Module) -> float:
    """How far the averaged weights are from the weights as they are, ‖θ_ema - θ‖ / ‖θ‖.

    Arguments:
        average: the averaged weights, by name.
        network: whose parameters they average.
    """
    now: Sequence[tuple[str, Tensor]] = list(network.named_parameters())
    apart = sum(float((average[name] - p).square().sum()) for name, p in now)
    return math.sqrt(apart / sum(float(p.square().sum()) for _, p in now))
