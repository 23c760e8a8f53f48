"""A trained model as one graph in the frame x₀ + σε, for those who know nothing of Scorefield."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from scorefield.core.denoisers import Denoiser


class Exploding(nn.Module):
    """(x₀ + σε, σ, label) ↦ x̂₀, float32, of a denoiser on any schedule."""

    def __init__(self, denoiser: Denoiser, conditional: bool):
        super().__init__()
        self.denoiser, self.conditional = denoiser, conditional

    def forward(self, x: Tensor, sigma: Tensor, label: Tensor) -> Tensor:
        t = self.denoiser.schedule.time(-2 * torch.log(sigma))
        alpha = self.denoiser.schedule.alpha(t).to(x)
        return self.denoiser(alpha * x, t, **({"label": label} if self.conditional else {}))


def export(
    path: Path, denoiser: Denoiser, conditional: bool, shape: tuple[int, ...], batch: int
) -> None:
    """Write the graph, for batches of one size."""
    x, label = torch.zeros(batch, *shape), torch.zeros(batch, dtype=torch.int64)
    example = x, torch.ones((), dtype=torch.float64), label
    graph = torch.export.export(Exploding(denoiser, conditional).eval(), example)
    torch.export.save(graph, path)
