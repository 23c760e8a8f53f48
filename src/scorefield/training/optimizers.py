"""Optimizers: AdamW from torch, and Muon for convolutions as well as matrices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scorefield.nets.base import Network

# Coefficients of the quintic iteration that pushes singular values towards 1 (Jordan et al. 2024).
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Matrices with the same singular vectors and singular values near 1 (about 0.7 to 1.2).

        X ← a X + (b G + c G²) X,   G = X Xᵀ,   starting from X/‖X‖

    Under autocast its products are in bf16, as the reference's are, in half the time. The result is then
    1 to 11 % off, more for matrices of which some singular values are a thousandth of others.

    Arguments:
        matrices: shape (N, rows, columns).
        iterations: Newton-Schulz steps.

    Reference: Jordan et al. 2024, Muon. https://kellerjordan.github.io/posts/muon/
    """
    a, b, c = QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    for _ in range(iterations):
        gram = x @ x.mT
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, step, x, beta=a)
    out: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return out


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalized; a kernel (out, in, h, w) is a matrix (out, in·h·w).

        m ← μ m + g,   w ← w - lr √max(1, rows/columns) · orthogonalized(g + μ m)

    Matrices of one shape are orthogonalized together. torch.optim.Muon takes no convolutions.

    Arguments:
        params: parameters of two or more axes.
        lr: the learning rate; an update has about this root mean square times √(1/columns) a number.
        momentum: μ, Nesterov's; from 0 to below 1.
        weight_decay: decoupled weight decay.

    Reference: Jordan et al. 2024, Muon. https://kellerjordan.github.io/posts/muon/
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 3e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].mul_(group["momentum"]).add_(p.grad)
                direction = p.grad.add(momentum, alpha=group["momentum"]).flatten(1)
                alike[(direction.shape[0], direction.shape[1])].append((p, direction))
            for (rows, columns), members in alike.items():
                updates = orthogonalized(torch.stack([d for _, d in members]))
                size = group["lr"] * max(1.0, rows / columns) ** 0.5
                for (p, _), update in zip(members, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(update.reshape(p.shape), alpha=size)


def build_optimizers(
    network: Network,
    name: str,
    lr: float,
    weight_decay: float,
    beside: Sequence[nn.Parameter] = (),
) -> list[torch.optim.Optimizer]:
    """The optimizers of a network: one AdamW, or Muon for inner kernels and AdamW for the rest.

    Muon takes every weight of two or more axes but the first and last layers' and embeddings, and
    AdamW's betas are (0.9, 0.99): runs here are short.

    Arguments:
        network: whose parameters are trained.
        name: 'adamw' or 'muon'.
        lr: the learning rate at the peak.
        weight_decay: decoupled weight decay.
        beside: parameters that are trained beside the network's, by AdamW.
    """
    inner = _inner_weights(network) if name == "muon" else []
    chosen = {id(p) for p in inner}
    rest = [p for p in network.parameters() if id(p) not in chosen]
    adamw = torch.optim.AdamW(
        [*rest, *beside], lr=lr, betas=(0.9, 0.99), weight_decay=weight_decay, foreach=True
    )
    if not inner:
        return [adamw]
    return [adamw, Muon(inner, lr=lr, weight_decay=weight_decay)]


def _inner_weights(network: Network) -> list[nn.Parameter]:
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    outer = {f"{name}.weight" for name in network.outer}
    layers = {f"{name}.weight" for name, m in network.named_modules() if isinstance(m, kinds)}
    return [p for name, p in network.named_parameters() if name in layers - outer]
