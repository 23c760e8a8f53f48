"""The loss at each noise level, on fixed samples and fixed noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.losses import L2
from scorefield.core.schedule import Schedule
from scorefield.core.times import Times
from scorefield.samplers.noise import stream

LEVELS = 8
TAIL = 0.01  # of the training times lies below the first level, and as many above the last
QUANTILES = 1000  # times that are looked at to find these


def check_times(times: Times, schedule: Schedule) -> Tensor:
    """Times whose levels σ/α are evenly spread in log over where training times lie, shape (8,), float64.

    Arguments:
        times: the distribution of training times.
        schedule: the path.
    """
    u = (torch.arange(QUANTILES, dtype=torch.float64) + 0.5) / QUANTILES
    log_snr = schedule.log_snr(times(schedule, u)).clamp(min=schedule.noisiest)
    share = torch.tensor([1 - TAIL, TAIL], dtype=torch.float64)
    high, low = torch.quantile(log_snr, share).tolist()
    t = schedule.time(torch.linspace(high, low, LEVELS, dtype=torch.float64))
    return t.clamp(schedule.t_min, 1.0)


@dataclass(frozen=True, eq=False)
class Samples:
    """What losses are measured on.

    Arguments:
        x0: clean data, shape (N, ...), in the model's units.
        label: class of each, shape (N,); none for unconditional models.
        seed: of the noise, which is the same at every check and another at every level.
    """

    x0: Tensor
    label: Tensor | None
    seed: int

    def noisy(self, t: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The time of each level and the noise that goes with it, shape (N, ...), on the CPU.

        Arguments:
            t: times, shape (L,).
        """
        generator = torch.Generator()
        for k, time in enumerate(t):
            generator.manual_seed(stream(self.seed, k))
            yield time, torch.randn(self.x0.shape, generator=generator).to(self.x0)


Loss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


@torch.no_grad()
def level_losses(loss: Loss, samples: Samples, t: Tensor, batch: int) -> tuple[float, ...]:
    """The mean loss at each time.

    Arguments:
        loss: of samples x₀, times, noise and labels, the loss of each sample.
        samples: what it is measured on.
        t: times, shape (L,).
        batch: samples at once.
    """
    found = []
    for time, eps in samples.noisy(t):
        total = 0.0
        for rows in torch.split(torch.arange(len(samples.x0)), batch):
            label = None if samples.label is None else samples.label[rows]
            total += float(loss(samples.x0[rows], time.expand(len(rows)), eps[rows], label).sum())
        found.append(total / len(samples.x0))
    return tuple(found)


def network_loss(denoiser: NetworkDenoiser, device: torch.device) -> Loss:
    """The loss of a network, computed where it is.

    Arguments:
        denoiser: the network's.
        device: where it is.
    """

    def loss(x0: Tensor, t: Tensor, eps: Tensor, label: Tensor | None) -> Tensor:
        cond = {} if label is None else {"label": label.to(device)}
        return L2()(denoiser.residual(x0.to(device), t, eps.to(device), **cond))

    return loss


def noise_levels(schedule: Schedule, t: Tensor) -> tuple[float, ...]:
    """σ/α of times.

    Arguments:
        schedule: the path.
        t: times, shape (L,).
    """
    log_snr: Sequence[float] = schedule.log_snr(t).tolist()
    return tuple(math.exp(-value / 2) for value in log_snr)
