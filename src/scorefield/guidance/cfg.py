"""Classifier-free guidance: away from the unconditional estimate, along the conditional one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.objective import NULL_LABEL
from scorefield.core.schedule import as_time
from scorefield.errors import InputError


class CFG(Denoiser):
    """Classifier-free guidance of a denoiser that knows labels and was trained with some dropped.

        x̂₀ = x̂₀(x, no label) + w [ x̂₀(x, label) - x̂₀(x, no label) ]

    w = 0 is the unconditional model, w = 1 the conditional one, w > 1 leans on the label. For w other
    than 0 and 1 the samples follow neither p(x|c)ʷ p(x)¹⁻ʷ nor any other simple law. Below a least noise
    level w is 1, which takes one evaluation in place of two.

    Arguments:
        denoiser: takes ``label`` of shape (B,), in which -1 is "no label".
        scale: w, a finite number.
        least: σ/α from which on w counts; 0 for everywhere.

    Raises:
        InputError: for a scale that is not finite, or a least noise level below 0.

    Reference: Ho & Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6 (w there is w - 1 here);
        Kynkäänniemi et al. 2024, Applying Guidance in a Limited Interval Improves Sample and Distribution
        Quality in Diffusion Models, section 3, for a least noise level. arXiv:2207.12598, arXiv:2404.07724
    """

    def __init__(self, denoiser: Denoiser, scale: float, least: float = 0.0) -> None:
        known = denoiser.moments
        super().__init__(denoiser.schedule, None if known is None else known.led(scale))
        if not math.isfinite(scale):
            raise InputError(f"scale must be a finite number, got {scale}")
        if not 0 <= least < math.inf:
            raise InputError(f"least must be at least 0 and finite, got {least}")
        self.denoiser = denoiser
        self.scale = scale
        self.least = least

    def counts(self, t: Tensor) -> Tensor:
        """Whether w counts at times t, of their shape: σ/α is at least the least noise level.

        Arguments:
            t: times.
        """
        alpha, sigma = self.schedule(as_time(t))
        return sigma >= self.least * alpha

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        label = cond.get("label")
        if label is None or self.scale == 1:
            plain: Tensor = self.denoiser(x, t, **cond)
            return plain
        null = torch.full_like(label, NULL_LABEL)
        if self.least > 0:
            counts = self.counts(t).to(label.device)
            if not bool(counts.any()):
                led: Tensor = self.denoiser(x, t, **cond)
                return led
            null = torch.where(counts, null, label)  # a sample below the level keeps its label
        free: Tensor = self.denoiser(x, t, **cond | {"label": null})
        if self.scale == 0:
            return free
        led = self.denoiser(x, t, **cond)
        return free + self.scale * (led - free)
