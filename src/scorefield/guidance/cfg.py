"""Classifier-free guidance: away from the unconditional estimate, along the conditional one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.objective import NULL_LABEL
from scorefield.errors import InputError


class CFG(Denoiser):
    """Classifier-free guidance of a denoiser that knows labels and was trained with some dropped.

        x̂₀ = x̂₀(x, no label) + w [ x̂₀(x, label) - x̂₀(x, no label) ]

    w = 0 is the unconditional model, w = 1 the conditional one, w > 1 leans on the label. For w other
    than 0 and 1 the samples follow neither p(x|c)ʷ p(x)¹⁻ʷ nor any other simple law.

    Arguments:
        denoiser: takes ``label`` of shape (B,), in which -1 is "no label".
        scale: w, a finite number.

    Raises:
        InputError: for a scale that is not finite.

    Reference: Ho & Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6 (w there is w - 1 here).
        arXiv:2207.12598
    """

    def __init__(self, denoiser: Denoiser, scale: float) -> None:
        known = denoiser.moments
        super().__init__(denoiser.schedule, None if known is None else known.led(scale))
        if not math.isfinite(scale):
            raise InputError(f"scale must be a finite number, got {scale}")
        self.denoiser = denoiser
        self.scale = scale

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        label = cond.get("label")
        if label is None or self.scale == 1:
            plain: Tensor = self.denoiser(x, t, **cond)
            return plain
        free: Tensor = self.denoiser(x, t, **cond | {"label": torch.full_like(label, NULL_LABEL)})
        if self.scale == 0:
            return free
        led: Tensor = self.denoiser(x, t, **cond)
        return free + self.scale * (led - free)
