"""Which noise goes with which data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from scorefield.errors import InputError


@dataclass(frozen=True)
class Coupling(ABC):
    """Which noise goes with which data point of a batch."""

    gives_score: ClassVar[bool] = True  # whether ε given x₀ is normal, so that x̂₀ tells ∇log p_t

    @abstractmethod
    def __call__(self, x0: Tensor, eps: Tensor, label: Tensor | None = None) -> Tensor:
        """The noise for each data point, shape (B, ...): ``eps`` or a rearrangement of its rows.

        Labels, shape (B,), are those that the network is shown.
        """


@dataclass(frozen=True)
class Independent(Coupling):
    """Noise and data are independent, as every path here defines.

        (x₀, ε) ~ p(x₀) N(ε; 0, I)

    Reference: Ho et al. 2020, Algorithm 1. arXiv:2006.11239
    """

    def __call__(self, x0: Tensor, eps: Tensor, label: Tensor | None = None) -> Tensor:
        return eps


@dataclass(frozen=True)
class MinibatchOT(Coupling):
    """The nearest noise within a batch, which straightens the paths of a flow.

        ε_π(i),   π = argmin_π Σ_i ‖x₀_i - ε_π(i)‖²

    For the schedule `Flow` and deterministic samplers. The velocity of a flow is right for every coupling
    of data with N(0, I); the score is not, as ε given x₀ is no longer normal, so stochastic samplers and
    the variational bound are off, and so is all on a path that ends with signal left, such as VE.

    Samples are paired within each label that the network is shown: paired across labels, the noise of a
    label would not be N(0, I), which one samples it from. Each process pairs its own rows, so the losses of
    one process and of two need not agree.

    Reference: Pooladian et al. 2023, Multisample Flow Matching, section 3.2; Tong et al. 2024, Improving
        and Generalizing Flow-Based Generative Models, section 3.2; for labels Cheng & Schwing 2025, The
        Curse of Conditions. arXiv:2304.14772, arXiv:2302.00482, arXiv:2503.10636

    Raises:
        InputError: when called without scipy installed.
    """

    gives_score: ClassVar[bool] = False

    def __call__(self, x0: Tensor, eps: Tensor, label: Tensor | None = None) -> Tensor:
        assignment = _assignment()
        label = torch.zeros(len(x0)) if label is None else label.cpu()
        data, noise = (v.detach().cpu().double().flatten(1) for v in (x0, eps))
        order = torch.arange(len(x0))
        for value in torch.unique(label):
            (rows,) = (label == value).nonzero(as_tuple=True)
            # ‖x₀ - ε‖² but for the squares, which no assignment changes
            _, columns = assignment(-(data[rows] @ noise[rows].T).numpy())
            order[rows] = rows[torch.from_numpy(columns)]
        return eps[order.to(eps.device)]


def _assignment() -> Callable[[Any], tuple[Any, Any]]:
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise InputError(
            "the coupling minibatch-ot needs scipy; install it with: pip install scorefield[ot]"
        ) from None
    found: Callable[[Any], tuple[Any, Any]] = linear_sum_assignment
    return found
