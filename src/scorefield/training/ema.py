"""The average of the weights over training, whose width grows with the run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from scorefield.errors import InputError
from scorefield.training.sharding import shared_like
from scorefield.training.state import Part

PROFILES = (0.05, 0.10)  # widths from which all others are put together: the published pair


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


def half_life(width: float) -> float:
    """The last share of a run that half of a power-function average comes from.

        (1 - h)^{γ+1} = ½

    Arguments:
        width: σ_rel, above 0 and below 0.28.
    """
    share: float = 1 - 0.5 ** (1 / (exponent(width) + 1))
    return share


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
        self.module, self.width = module, width
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

    @property
    def named(self) -> dict[str, Tensor]:
        """The averages by the names of the parameters."""
        names = [name for name, _ in self.module.named_parameters()]
        return dict(zip(names, self.averages, strict=True))

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights with the module's buffers, by the names of its state dict."""
        return {**self.module.state_dict(), **self.named}

    def tensors(self) -> dict[str, Tensor]:
        return {str(i): v for i, v in enumerate(self.averages)}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for i, mine in enumerate(self.averages):
            mine.copy_(tensors[str(i)])


class Profiles(Part):
    """The two averages that one of any other width is put together from after training.

    One that the run keeps anyway is not kept twice.

    Arguments:
        own: the average of the run's own width.

    Reference: Karras et al. 2024, section 3.2. arXiv:2312.02696
    """

    def __init__(self, own: PowerAverage) -> None:
        self.own = own
        self.averages = {
            width: own if width == own.width else PowerAverage(own.module, width)
            for width in PROFILES
        }

    def update(self, step: int) -> None:
        """Take in the weights of optimizer step ``step``, from 1, which the run's own average has."""
        for average in self.averages.values():
            if average is not self.own:
                average.update(step)

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{width:g}.{name}": values
            for width, average in self.averages.items()
            if average is not self.own
            for name, values in average.tensors().items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for width, average in list(self.averages.items()):
            prefix = f"{width:g}."
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if found:
                average.restore(found)
            elif average is not self.own:
                del self.averages[width]  # of a run that was begun before there were any
