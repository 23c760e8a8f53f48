"""The model under examination: its training points, noisy states of them, and its estimates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.objective import NULL_LABEL
from scorefield.core.oracles import EmpiricalDenoiser
from scorefield.models.model import Model
from scorefield.verification.claims import Place

POINTS = 4000  # of the training data, at most, that stand for all of them


@dataclass(frozen=True)
class Subject:
    """A model and a part of its training data.

    Arguments:
        model: the model.
        seed: fixes the points and the noise.
    """

    model: Model
    seed: int = 0

    @property
    def label(self) -> int:
        """The label asked for: none, or class 0 where the model was trained with labels only."""
        return self.model.neutral

    @cached_property
    def data(self) -> Tensor:
        """Training points in the model's units: all, or a fixed choice of `POINTS` of them."""
        data = self.model.recipe.data.load()
        self.model.spec.check_like(data.spec)
        indices = torch.randperm(len(data), generator=self.generator(1))
        if self.model.classes and self.label != NULL_LABEL and data.label is not None:
            indices = indices[data.label[indices] == self.label]
        return data.batch(indices[:POINTS].sort().values)[0]

    @cached_property
    def ideal(self) -> EmpiricalDenoiser:
        """The ideal denoiser of the points."""
        return EmpiricalDenoiser(self.model.denoiser.schedule, self.data)

    @cached_property
    def count(self) -> int:
        """How many noisy points a measurement takes: fewer where a point is an image."""
        return 2048 if len(self.model.spec.shape) == 1 else 128

    @cached_property
    def few(self) -> int:
        """How many samples are drawn where one is as good as many."""
        return 8 if len(self.model.spec.shape) == 1 else 2

    def generator(self, key: int) -> torch.Generator:
        """A source of randomness of its own for each key."""
        return torch.Generator().manual_seed(1000 * self.seed + key)

    def cond(self, n: int, place: Place) -> dict[str, Any]:
        """The label of n samples, for a model that knows labels."""
        if not self.model.classes:
            return {}
        return {"label": torch.full((n,), self.label, device=place.device)}

    def time(self, level: float) -> Tensor:
        """The time of a noise level σ/α given in units of σ_data, held to where the model works."""
        path = self.model.denoiser.schedule
        noise = torch.tensor(level * self.model.spec.sigma_data, dtype=torch.float64)
        return path.time(-2 * torch.log(noise)).clamp(path.t_min, 1.0)

    def noised(self, t: Tensor, place: Place, n: int, key: int = 2) -> tuple[Tensor, Tensor]:
        """n training points x₀, drawn with replacement, and their noisy states at t."""
        generator = self.generator(key)
        chosen = torch.randint(len(self.data), (n,), generator=generator)
        x0 = self.data[chosen]
        eps = torch.randn(x0.shape, generator=generator)
        alpha, sigma = self.model.denoiser.schedule(t)
        x = expand(alpha, x0) * x0 + expand(sigma, x0) * eps
        return x0.to(place.device), x.to(place.device)

    def denoise(self, x: Tensor, t: Tensor, place: Place) -> Tensor:
        """The model's estimate, without gradients, a part of the batch at a time."""
        with torch.no_grad():
            parts = [
                self.model.denoiser(part, t, **self.cond(len(part), place))
                for part in torch.split(x, 256)
            ]
        return torch.cat(parts)
