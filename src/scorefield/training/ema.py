"""The average of the weights over training, whose width grows with the run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scorefield.errors import InputError
from scorefield.training.sharding import shared_like
from scorefield.training.state import Part


def exponent(width: float) -> float:
    """γ of the power-function average whose standard deviation is ``width`` of the run.

        width² = (γ + 1) / ((γ + 2)² (γ + 3))

    Arguments:
        width: σ_rel, above 0 and below 0.28.

    Reference: Karras et al. 2024, Analyzing and Improving the Training Dynamics of Diffusion Models,
        eq. 126 and Algorithm 2. arXiv:2312.02696
    """
    if not 0 < width < 0.28:
        raise InputError(f"the width of an average must lie above 0 and below 0.28, got {width}")
    low, high = 0.0, 1e6
    for _ in range(100):
        mid = (low + high) / 2
        wider = (mid + 1) / ((mid + 2) ** 2 * (mid + 3)) > width**2
        low, high = (mid, high) if wider else (low, mid)
    return (low + high) / 2


class PowerAverage(Part):
    """The power-function average of a module's parameters; buffers are copied, not averaged.

        θ̂_t = β_t θ̂_{t-1} + (1 - β_t) θ_t,   β_t = (1 - 1/t)^{γ+1}

    θ̂₁ = θ₁, so there is no bias to warm up from, and the width of the average is a fixed share of the
    run, however long that becomes.

    Arguments:
        module: whose weights are averaged.
        width: σ_rel, the standard deviation of the average relative to the run; 0 keeps the last weights.

    Reference: Karras et al. 2024, eq. 121 and eq. 127. arXiv:2312.02696
    """

    def __init__(self, module: nn.Module, width: float) -> None:
        self.module = module
        self.power = exponent(width) + 1 if width else None
        self.averages = [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights of optimizer step ``step``, counted from 1, into the average."""
        keep = (1 - 1 / step) ** self.power if self.power else 0.0
        torch._foreach_lerp_(self.averages, list(self.module.parameters()), 1 - keep)

    @torch.no_grad()
    def shard(self) -> None:
        """Cut the averages up as the module's weights are, if these are."""
        weights = self.module.parameters()
        self.averages = [
            shared_like(a, p.detach()) for a, p in zip(self.averages, weights, strict=True)
        ]

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights with the module's buffers, by the names of its state dict."""
        named = dict(self.module.state_dict())
        names = [name for name, _ in self.module.named_parameters()]
        return {**named, **dict(zip(names, self.averages, strict=True))}

    def tensors(self) -> dict[str, Tensor]:
        return {str(i): v for i, v in enumerate(self.averages)}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for i, mine in enumerate(self.averages):
            mine.copy_(tensors[str(i)])
