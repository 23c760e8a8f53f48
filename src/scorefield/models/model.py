"""A trained model: a denoiser that knows its recipe and its data, ready to sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser, NetworkDenoiser
from scorefield.core.objective import NULL_LABEL
from scorefield.data.base import DataSpec
from scorefield.errors import InputError, check_count
from scorefield.guidance.cfg import CFG
from scorefield.models.computing import Computing, batch_for, computed, failure, operations, worth
from scorefield.nets.engine import Engine
from scorefield.recipes.recipe import Recipe, Sampling
from scorefield.samplers.base import Sampler, Step, starting_noise, trajectory
from scorefield.samplers.noise import seeded

UNKNOWN = 50  # evaluations of a sampler that takes as many as it needs

PLACES = 2**63 - 1  # in a set of samples, as many as torch can count


@dataclass(frozen=True)
class Model:
    """A trained model, as `load` gives it.

    Arguments:
        denoiser: the network behind its schedule and parameterization.
        recipe: what it was made from.
        spec: the description of its data.
        step: optimizer steps it was trained for.
        computing: how the network computes when samples are drawn; the denoiser itself computes in fp32,
            without compiling, whatever this says.
    """

    denoiser: NetworkDenoiser
    recipe: Recipe
    spec: DataSpec
    step: int
    computing: Computing = Computing()

    @property
    def classes(self) -> int:
        """Number of classes the model can be asked for; 0 if it is unconditional."""
        return self.recipe.classes(self.spec)

    @property
    def sampling(self) -> Sampling:
        """How samples are drawn unless asked otherwise: the recipe's way, as far as it fits the model."""
        return replace(self.recipe.sampling, guidance=self.recipe.guidance(self.spec))

    def drawn_by(self, sampling: Sampling) -> Model:
        """This model with another way of its own to draw samples.

        Arguments:
            sampling: how samples are drawn unless asked otherwise.
        """
        return replace(self, recipe=replace(self.recipe, sampling=sampling))

    @property
    def neutral(self) -> int:
        """The label that says least: -1 for none, or class 0 where training had a label everywhere."""
        return NULL_LABEL if self.recipe.objective.drop > 0 else 0

    @property
    def batch(self) -> int:
        """How many samples are drawn at once, unless asked otherwise."""
        return batch_for(self.spec.shape, self._device)

    @property
    def engine(self) -> Engine:
        """How the network computes here; compiled only if that is sure, as `settled` makes it."""
        return self.computing.engine(self.spec.shape, self._device)

    def settled(self, n: int, sampling: Sampling | None = None) -> Model:
        """This model, sure of how to compute so many samples: 'auto' decided, and compiled code looked at.

        Arguments:
            n: how many samples are to be drawn, in all.
            sampling: how; the recipe's if not given.

        Raises:
            InputError: where the network is to be compiled and that fails.
        """
        wanted = self.computing.compile
        if wanted == "auto":
            each = (sampling or self.sampling).evaluations or UNKNOWN
            large = self._device.type == "cpu" and n * each * self._operations > worth()
            wanted = "on" if large and not self._failure else "off"
        elif wanted == "on" and self._failure:
            raise InputError(f"the network cannot be compiled ({self._failure}); compile 'off' can")
        if wanted == self.computing.compile:
            return self
        return replace(self, computing=Computing(self.computing.precision, wanted))

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
            guidance = self.sampling.guidance
        if guidance is None:
            return self._drawing
        self.recipe.check_guidance(self.spec)
        return CFG(self._drawing, guidance, self.sampling.guidance_least)

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
        batch: int | None = None,
    ) -> Tensor:
        """Samples in the model's units, shape (n, ...); ``model.spec.to_arrays`` makes pictures of them.

        Sample i depends on ``seed`` and ``first + i`` only, not on n or the batch, up to the rounding of
        the network's precision.

        Arguments:
            n: how many; at least 1.
            label: the class wanted; every class in turn if not given; -1 for none.
            sampler: the way from noise to data; the recipe's if not given.
            steps: times in its grid; the recipe's if not given.
            guidance: w of classifier-free guidance, which `guided` explains; the recipe's if not given.
            seed: the seed of the whole set.
            first: place of the first sample in the set.
            batch: how many are computed at once; what suits the machine if not given.

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
        batch: int | None = None,
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
            batch: how many are computed at once; what suits the machine if not given.
        """
        batch = self.batch if batch is None else batch
        _check_count(n, batch)
        sampling = self._asked(sampler, steps, guidance)
        settled, steps = self.settled(n, sampling), sampling.steps
        for start in range(0, n, batch):
            size = min(batch, n - start)
            walk = settled._walk(size, sampling, label, seed, first + start)
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
        sampling = self._asked(sampler, steps, guidance)
        return self.settled(n, sampling)._walk(n, sampling, label, seed, first)

    def noise(self, n: int, seed: int = 0, first: int = 0) -> Tensor:
        """The noise that the trajectories of n samples start from, shape (n, ...), on the CPU.

        Arguments:
            n: how many.
            seed: the seed of the whole set.
            first: place of the first sample in the set.
        """
        _check_count(n, 1)
        _check_places(n, first)
        like = torch.empty(n, *self.spec.shape)
        return starting_noise(self.denoiser.schedule, like, seeded(seed, range(first, first + n)))

    def labels(self, n: int, label: int | None = None, first: int = 0) -> Tensor | None:
        """The label of each of n samples, shape (n,), int64; none for an unconditional model.

        Arguments:
            n: how many.
            label: one class for all; every class in turn if not given; -1 for none.
            first: place of the first sample in the set.

        Raises:
            InputError: for a label that the model does not know, or n below 1.
        """
        _check_count(n, 1)
        _check_places(n, first)
        if self.classes == 0:
            if label is not None:
                raise InputError(f"this model knows no labels, got label {label}")
            return None
        if label is None:
            return torch.arange(first, first + n) % self.classes
        if not self.neutral <= label < self.classes:
            none = ", or -1 for none" if self.neutral < 0 else ""
            raise InputError(f"label must lie in 0 to {self.classes - 1}{none}, got {label}")
        return torch.full((n,), label)

    def _asked(
        self, sampler: Sampler | None, steps: int | None, guidance: float | None
    ) -> Sampling:
        """The recipe's sampling with what was asked for in its place."""
        own = self.sampling
        self.recipe.check_sampler(sampler or own.sampler)
        return replace(
            own,
            sampler=sampler or own.sampler,
            steps=own.steps if steps is None else steps,
            guidance=own.guidance if guidance is None else guidance,
        )

    def _walk(
        self, n: int, sampling: Sampling, label: int | None, seed: int, first: int
    ) -> Iterator[Step]:
        labels = self.labels(n, label, first)
        cond: dict[str, Any] = {} if labels is None else {"label": labels}
        return trajectory(
            self.guided(sampling.guidance),
            (n, *self.spec.shape),
            sampling.sampler,
            sampling.steps,
            noise=seeded(seed, range(first, first + n)),
            **cond,
        )

    @property
    def _device(self) -> torch.device:
        known = (*self.denoiser.parameters(), *self.denoiser.buffers())
        return known[0].device if known else torch.device("cpu")

    @property
    def _drawing(self) -> Denoiser:
        """The denoiser that computes as it is to when samples are drawn."""
        if self.computing == Computing():
            return self.denoiser
        return computed(self.denoiser, self.engine, self.batch)

    @property
    def _told(self) -> tuple[int, ...]:
        """The shape of what the network takes for a sample."""
        return self.recipe.marginal.told(self.spec.shape)

    @cached_property
    def _operations(self) -> int:
        return operations(self.denoiser.network, self._told, self.classes)

    @cached_property
    def _failure(self) -> str:
        """Why compiled code is not to be used, from the only look at it."""
        engine = replace(self.engine, compiled=True)
        return failure(self.denoiser.network, engine, self._told, self.classes, self.batch)


def _check_count(n: int, batch: int) -> None:
    check_count("the number of samples", n)
    check_count("batch", batch)


def _check_places(n: int, first: int) -> None:
    if not 0 <= first <= PLACES - n:
        raise InputError(f"first must lie in 0 to {PLACES - n}, got {first}")
