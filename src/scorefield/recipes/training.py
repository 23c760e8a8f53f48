"""How a recipe is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scorefield.errors import InputError
from scorefield.recipes.budget import Budget


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a recipe is trained. Learning rate and averaging are laid out over the budget.

    Arguments:
        budget: how much: a time (90s, 5m, 2h), images (600k images) or steps (120steps).
        batch: images in an optimizer step; at least 1.
        accumulate: parts a batch is computed in, to save memory; divides the batch.
        seed: fixes the weights, the order of the data and the noise.
        lr: the peak learning rate; above 0.
        optimizer: 'adamw', or 'muon' for Muon on inner matrices and AdamW on the rest.
        weight_decay: decoupled weight decay; at least 0.
        warmup: steps of linear warm-up.
        decay: the share of the budget, at its end, over which the rate falls.
        lr_schedule: how it falls: 'linear' to 0, 'cosine' to 0, 'inverse-root' (to √(1 - decay) of the
            peak), or 'constant' for not at all.
        clip: the largest gradient norm; longer gradients are shortened.
        ema: width of the power-function average of the weights, relative to the run; 0 for none.
        precision: 'fp32', 'bf16' or 'fp16' (autocast; fp16 on a GPU), or 'auto' for what is fastest here.
        compile: compile the network: 'on', 'off', or 'auto' for what pays within the budget.
        patience: steps in a row without finite numbers before the run is rolled back; at least 1.
        gradient_checkpointing: keep fewer of the network's tensors for the gradient and compute the others
            again: less memory, more time, the same gradient.
        checkpoint_every: how often the state is saved, in the words of a budget.
        health_every: how often losses are measured on fixed samples, and at the end once more, in the words
            of a budget; 'off' for never.
        keep: how many of the last states are kept, beside the best; at least 1.
    """

    budget: str = "5m"
    batch: int = 128
    accumulate: int = 1
    seed: int = 0
    lr: float = 2e-3
    optimizer: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.0
    warmup: int = 100
    decay: float = 0.6
    lr_schedule: Literal["linear", "cosine", "inverse-root", "constant"] = "linear"
    clip: float = 1.0
    ema: float = 0.05
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    patience: int = 5
    gradient_checkpointing: bool = False
    checkpoint_every: str = "60s"
    health_every: str = "60s"
    keep: int = 2

    def __post_init__(self) -> None:
        Budget.parse(self.budget)
        Budget.parse(self.checkpoint_every)
        if self.health_every != "off":
            Budget.parse(self.health_every)
        for name in ("batch", "patience", "keep"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.accumulate < 1 or self.batch % self.accumulate:
            raise InputError(
                f"accumulate must divide the batch of {self.batch}, got {self.accumulate}"
            )
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} must be above 0 and finite, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay must lie between 0 and 1, got {self.decay}")
        if self.lr_schedule == "inverse-root" and self.decay == 1:
            raise InputError("decay must be below 1 where lr_schedule is inverse-root, got 1.0")
        if not 0 <= self.ema < 0.28:
            raise InputError(f"ema must lie from 0 to below 0.28, got {self.ema}")
