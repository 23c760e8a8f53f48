"""The scale of the loss when gradients are float16, whose smallest numbers would be lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from scorefield.errors import InputError
from scorefield.training.state import Part

START, GROWTH, PATIENT = (
    2.0**16,
    2.0,
    2000,
)  # torch's own: doubled after 2000 steps without overflow


class LossScale(Part):
    """A factor on the loss that keeps gradients within float16; they are divided by it again.

    Halved when a gradient overflows, and doubled after 2000 steps in which none did. The decision is made
    on the norm of the whole gradient, which is the same in every process and for all optimizers together.

    Arguments:
        scale: the factor to begin with.

    Reference: Micikevicius et al. 2018, Mixed Precision Training, section 3.2. arXiv:1710.03740
    """

    def __init__(self, scale: float = START) -> None:
        self.scale, self.good = scale, 0

    @torch.no_grad()
    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the scale."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, 1 / self.scale)

    def adjust(self, *, finite: bool) -> bool:
        """Take in a step; returns whether a lower scale may help it, if its gradient was not finite."""
        if not finite:
            helps = self.scale > 1
            self.scale, self.good = max(1.0, self.scale / GROWTH), 0
            return helps
        self.good += 1
        if self.good == PATIENT:
            self.scale, self.good = self.scale * GROWTH, 0
        return False

    def tensors(self) -> dict[str, Tensor]:
        return {"scale": torch.tensor(self.scale), "good": torch.tensor(self.good)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.scale, self.good = float(tensors["scale"]), int(tensors["good"])


def loss_scale(precision: str, device: torch.device) -> LossScale | None:
    """The scale that a precision needs: one for 'fp16', none for others.

    Arguments:
        precision: of the recipe.
        device: what computes.

    Raises:
        InputError: for 'fp16' on a CPU.
    """
    if precision != "fp16":
        return None
    if device.type == "cpu":
        raise InputError(
            "training.precision=fp16 needs a GPU; on a CPU it may be bf16, fp32 or auto"
        )
    return LossScale()
