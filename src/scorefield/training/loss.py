"""What a step calls for its loss: denoiser and objective, and what an objective learns while training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.objective import Objective
from scorefield.nets.layers import SinusoidalFeatures
from scorefield.training.history import LossHistory
from scorefield.training.state import ModulePart, Part

FEATURES, SLOW, FAST = (
    16,
    0.5,
    16.0,
)  # sines and cosines of c_noise, and their radians per unit of it


class LogLoss(nn.Module):
    """The logarithm u of the loss that is expected at a noise level, learned; 0 at first.

        u(c) = Σ_k a_k sin(f_k c) + b_k cos(f_k c) + const

    Reference: Karras et al. 2024, eq. 14 and 15; they draw the frequencies. arXiv:2312.02696
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = SinusoidalFeatures(FEATURES, SLOW, FAST)
        self.weight = nn.Parameter(torch.zeros(FEATURES))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, c_noise: Tensor) -> Tensor:
        waves: Tensor = self.features(c_noise)
        return (waves * self.weight).sum(1) + self.bias


class LossModule(nn.Module):
    """Denoiser and objective as one module, so that wrappers for many processes see its forward pass.

    Arguments:
        denoiser: what is trained.
        objective: the loss.
    """

    def __init__(self, denoiser: NetworkDenoiser, objective: Objective) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.chosen = objective
        device = next((p.device for p in denoiser.parameters()), None)
        self.log_loss = LogLoss().to(device) if objective.weighting.learned else None
        times = objective.times
        self.history = LossHistory(times, denoiser.schedule) if times.stretches else None

    @property
    def objective(self) -> Objective:
        """The objective, with the times that are to be drawn now."""
        if self.history is None:
            return self.chosen
        return replace(self.chosen, times=self.history.times)

    @property
    def learned(self) -> list[nn.Parameter]:
        """What is trained beside the network."""
        return [] if self.log_loss is None else list(self.log_loss.parameters())

    @property
    def parts(self) -> dict[str, Part]:
        """What a run goes on from beside the network, by name."""
        learned = {"log_loss": ModulePart(self.log_loss)} if self.log_loss else {}
        return {**learned, "history": self.history} if self.history else {**learned}

    def begin(self) -> None:
        """Forget a step that was not finished."""
        if self.history is not None:
            self.history.forget()

    def finish(self, summed: Callable[[Tensor], Tensor]) -> None:
        """Learn from the losses of a step.

        Arguments:
            summed: the sum of a tensor over all processes.
        """
        if self.history is not None:
            self.history.take(summed)

    def forward(
        self, x0: Tensor, t: Tensor, eps: Tensor, label: Tensor | None, augment: Tensor | None
    ) -> Tensor:
        objective, schedule = self.objective, self.denoiser.schedule
        losses = objective.losses(self.denoiser, x0, t, eps, label, augment)
        if self.log_loss is not None:
            condition = self.denoiser.parameterization.condition(schedule, t)
            u = self.log_loss(condition.to(losses))
            losses = losses * torch.exp(-u) + u
        if self.history is not None:
            self.history.note(t, losses)
        return (objective.times.correction(schedule, t).to(losses) * losses).mean()
