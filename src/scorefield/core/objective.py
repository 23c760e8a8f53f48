"""What training minimizes: which times, which weight on each, which error, and how noise meets data.

E_t E_x₀ E_ε [ w(t) ‖F_θ(x_t) - F‖² ]
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.core.couplings import Coupling, Independent
from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.losses import L2, Loss
from scorefield.core.schedule import Schedule
from scorefield.core.times import Times, UniformTimes
from scorefield.core.weightings import Unit, Weighting
from scorefield.errors import InputError

NULL_LABEL = -1  # the label that stands for "no label"


@dataclass(frozen=True)
class Objective:
    """The training loss of a denoiser.

        E [ w(t) ℓ(F_θ(x_t, t) - F) ],   x_t = α x₀ + σ ε

    Arguments:
        times: the distribution of t; one stratified uniform is drawn for each sample of a batch.
        weighting: the weight on the network's own target.
        coupling: which noise goes with which data.
        drop: the share of labels replaced by "no label", for guidance; from 0 to 1.
        loss: ℓ, the cost of an error.

    Reference: Song et al. 2021, eq. 7; Ho & Salimans 2022, Algorithm 1, for the dropped labels.
        arXiv:2011.13456, arXiv:2207.12598
    """

    times: Times = UniformTimes()
    weighting: Weighting = Unit()
    coupling: Coupling = Independent()
    drop: float = 0.1
    loss: Loss = L2()

    def __post_init__(self) -> None:
        if not 0 <= self.drop <= 1:
            raise InputError(f"drop must lie between 0 and 1, got {self.drop}")

    def __call__(
        self,
        denoiser: NetworkDenoiser,
        x0: Tensor,
        *,
        generator: torch.Generator,
        label: Tensor | None = None,
    ) -> Tensor:
        """The weighted loss of each sample, shape (B,), corrected for how often its time is drawn.

        Arguments:
            denoiser: what is trained.
            x0: clean data, shape (B, ...), as the denoiser expects it.
            generator: the source of all randomness, on the CPU.
            label: class of each sample, shape (B,), int64; none for unconditional models.
        """
        t, eps, kept = self.draw(denoiser.schedule, x0, label, generator)
        losses = self.losses(denoiser, x0, t, self.coupling(x0, eps, kept), kept)
        return self.times.correction(denoiser.schedule, t).to(losses) * losses

    def draw(
        self,
        schedule: Schedule,
        x0: Tensor,
        label: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The random part of a step: times (B,), noise (B, ...) not yet coupled, labels with some dropped.

        Arguments:
            schedule: the path.
            x0: anything of the shape and dtype of the batch; data are not looked at.
            label: class of each sample, shape (B,), int64; none for unconditional models.
            generator: the source of all randomness, on the CPU.
        """
        size = len(x0)
        jitter = torch.rand(size, generator=generator, dtype=torch.float64)
        # One uniform in each of B equal strata, in random order: less noise in the loss.
        u = (torch.randperm(size, generator=generator) + jitter) / size
        eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype).to(x0.device)
        if label is not None and self.drop > 0:
            dropped = torch.rand(size, generator=generator) < self.drop
            label = torch.where(dropped.to(label.device), NULL_LABEL, label)
        return self.times(schedule, u), eps, label

    def losses(
        self,
        denoiser: NetworkDenoiser,
        x0: Tensor,
        t: Tensor,
        eps: Tensor,
        label: Tensor | None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """The weighted loss of each sample, shape (B,), with nothing random left in it."""
        weight = self.weighting(denoiser.schedule, denoiser.parameterization, t)
        given = {"label": label, "augment": augment}
        cond = {name: value for name, value in given.items() if value is not None}
        return weight.to(x0) * self.loss(denoiser.residual(x0, t, eps, **cond))
