"""A trained model: a denoiser that knows its recipe and its data, ready to sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser, NetworkDenoiser
from scorefield.core.objective import NULL_LABEL
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.guidance.cfg import CFG
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.base import Sampler, Step, starting_noise, trajectory
from scorefield.samplers.noise import seeded

BATCH = 256  # samples drawn at once, unless asked otherwise


@dataclass(frozen=True)
class Model:
    """A trained model, as `load` gives it.

    Arguments:
        denoiser: the network behind its schedule and parameterization.
        recipe: what it was made from.
        spec: the description of its data.
        step: optimizer steps it was trained for.
    """

    denoiser: NetworkDenoiser
    recipe: Recipe
    spec: DataSpec
    step: int

    @property
    def classes(self) -> int:
        """Number of classes the model can be asked for; 0 if it is unconditional."""
        return self.recipe.classes(self.spec)

    def guided(self, guidance: float | None = None) -> Denoiser:
        """The denoiser that samples are drawn with: the model's own, or classifier-free guidance of it.

        Arguments:
            guidance: w, 0 for the unconditional model and 1 for the conditional one; the recipe's if
                not given.

        Raises:
            InputError: for guidance of a model without labels, or one that was trained with a label
                everywhere.
        """
        if guidance is None:
            guidance = self.recipe.sampling.guidance
        if guidance is None:
            return self.denoiser
        self.recipe.check_guidance(self.spec)
        return CFG(self.denoiser, guidance)

    def sample(
        self,
        n: int = 16,
        *,
        label: int | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        first: int = 0,
        batch: int = BATCH,
    ) -> Tensor:
        """Samples in the model's units, shape (n, ...); ``model.spec.to_arrays`` makes pictures of them.

        Sample i depends on ``seed`` and ``first + i`` only, not on n or the batch.

        Arguments:
            n: how many; at least 1.
            label: the class wanted; every class in turn if not given; -1 for none.
            sampler: the way from noise to data; the recipe's if not given.
            steps: times in its grid; the recipe's if not given.
            guidance: w of classifier-free guidance, which `guided` explains; the recipe's if not given.
            seed: the seed of the whole set.
            first: place of the first sample in the set.
            batch: how many are computed at once.

        Raises:
            InputError: for a label that the model does not know, a guidance that it cannot have, or n
                or steps below 1.
        """
        drawn = self.draw(
            n,
            label=label,
            sampler=sampler,
            steps=steps,
            guidance=guidance,
            seed=seed,
            first=first,
            batch=batch,
        )
        return torch.cat([samples for _, samples in drawn])

    def draw(
        self,
        n: int = 16,
        *,
        label: int | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        first: int = 0,
        batch: int = BATCH,
    ) -> Iterator[tuple[float, Tensor]]:
        """The same samples as they come: the share of the work done, and what is new since last time.

        Nothing is new at most times, samples of shape (0, ...), and a whole batch at others.

        Arguments:
            n: how many; at least 1.
            label: the class wanted; every class in turn if not given; -1 for none.
            sampler: the way from noise to data; the recipe's if not given.
            steps: times in its grid; the recipe's if not given.
            guidance: w of classifier-free guidance, which `guided` explains; the recipe's if not given.
            seed: the seed of the whole set.
            first: place of the first sample in the set.
            batch: how many are computed at once.
        """
        _check_count(n, batch)
        steps = self.recipe.sampling.steps if steps is None else steps
        for start in range(0, n, batch):
            size = min(batch, n - start)
            walk = self.trajectory(
                size,
                label=label,
                sampler=sampler,
                steps=steps,
                guidance=guidance,
                seed=seed,
                first=first + start,
            )
            for made, step in enumerate(walk, 1):
                yield (start + size * made / (steps + 2)) / n, step.x0[:0]
            yield (start + size) / n, step.x0

    def trajectory(
        self,
        n: int = 16,
        *,
        label: int | None = None,
        sampler: Sampler | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        first: int = 0,
    ) -> Iterator[Step]:
        """The way of n samples from noise to data, a `Step` at each time of the grid.

        Arguments:
            n: how many; at least 1.
            label: the class wanted; every class in turn if not given; -1 for none.
            sampler: the way from noise to data; the recipe's if not given.
            steps: times in its grid; the recipe's if not given.
            guidance: w of classifier-free guidance, which `guided` explains; the recipe's if not given.
            seed: the seed of the whole set.
            first: place of the first sample in the set.

        Raises:
            InputError: for a label that the model does not know, a guidance that it cannot have, or n
                or steps below 1.
        """
        _check_count(n, 1)
        labels = self.labels(n, label, first)
        cond: dict[str, Any] = {} if labels is None else {"label": labels}
        return trajectory(
            self.guided(guidance),
            (n, *self.spec.shape),
            sampler or self.recipe.sampling.sampler,
            self.recipe.sampling.steps if steps is None else steps,
            noise=seeded(seed, range(first, first + n)),
            **cond,
        )

    def noise(self, n: int, seed: int = 0, first: int = 0) -> Tensor:
        """The noise that the trajectories of n samples start from, shape (n, ...), on the CPU.

        Arguments:
            n: how many.
            seed: the seed of the whole set.
            first: place of the first sample in the set.
        """
        _check_count(n, 1)
        like = torch.empty(n, *self.spec.shape)
        return starting_noise(self.denoiser.schedule, like, seeded(seed, range(first, first + n)))

    def labels(self, n: int, label: int | None = None, first: int = 0) -> Tensor | None:
        """The label of each of n samples, shape (n,), int64; none for an unconditional model.

        Arguments:
            n: how many.
            label: one class for all; every class in turn if not given; -1 for none.
            first: place of the first sample in the set.
        """
        if self.classes == 0:
            if label is not None:
                raise InputError(f"this model knows no labels, got label {label}")
            return None
        if label is None:
            return torch.arange(first, first + n) % self.classes
        if not NULL_LABEL <= label < self.classes:
            raise InputError(
                f"label must lie in 0 to {self.classes - 1}, or -1 for none, got {label}"
            )
        return torch.full((n,), label)


def _check_count(n: int, batch: int) -> None:
    if n < 1:
        raise InputError(f"the number of samples must be at least 1, got {n}")
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
