"""Classifier guidance: the gradient of a log-probability added to a denoiser's estimate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.denoisers import Denoiser
from scorefield.core.schedule import as_time
from scorefield.errors import InputError


class ClassifierGuidance(Denoiser):
    """A denoiser led by the gradient of log p(c | x_t), of a class or of any other fact about x₀.

        x̂₀ = x̂₀(x) + w (σ²/α) ∇ log p(c | x_t),   that is   ∇ log p(x_t | c) for w = 1

    For w = 1 and the true p(c | x_t) this is Bayes' rule, and exact.

    Arguments:
        denoiser: what is led.
        log_prob: called as ``log_prob(x, t, **cond)``, gives log p(c | x_t) of shape (B,); row i may
            depend on sample i only.
        scale: w, a finite number; 0 leaves the denoiser as it is.

    Raises:
        InputError: for a scale that is not finite.

    Reference: Song et al. 2021, eq. 14; Dhariwal & Nichol 2021, Algorithm 1, for w.
        arXiv:2011.13456, arXiv:2105.05233
    """

    def __init__(
        self, denoiser: Denoiser, log_prob: Callable[..., Tensor], scale: float = 1.0
    ) -> None:
        super().__init__(denoiser.schedule, denoiser.moments)
        if not math.isfinite(scale):
            raise InputError(f"scale must be a finite number, got {scale}")
        self.denoiser = denoiser
        self.log_prob = log_prob
        self.scale = scale

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        x0: Tensor = self.denoiser(x, t, **cond)
        if self.scale == 0:
            return x0
        alpha, sigma = self.schedule(as_time(t))
        # Where no signal is left x_t says nothing of c: the gradient is 0, and σ²/α infinite.
        lever = torch.where(alpha > 0, sigma**2 / alpha, 0)
        # func.grad, unlike autograd.grad, works inside torch.no_grad and under torch.func.jvp.
        lead: Tensor = torch.func.grad(lambda x: self.log_prob(x, t, **cond).sum())(x)
        return x0 + expand(self.scale * lever, x) * lead
