"""A run: what is trained and what it goes on from, where it stands, and what it keeps in its folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from scorefield.atomic import check_folder
from scorefield.errors import InputError
from scorefield.models.checkpoint import MODEL_FILE, RAW_FILE, save
from scorefield.models.model import Model
from scorefield.nets.base import Network, lay_out
from scorefield.nets.engine import Engine
from scorefield.recipes.config import from_dict, to_dict
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.noise import stream
from scorefield.training.batches import Batches
from scorefield.training.checkpoints import Checkpoints
from scorefield.training.devices import accelerator
from scorefield.training.ema import PowerAverage, Profiles
from scorefield.training.faults import Fault, Faults, Origin, advanced, rolled_back
from scorefield.training.folder import AVERAGES, SAMPLES, STATES, difference, stored_recipe
from scorefield.training.health.monitor import Monitor
from scorefield.training.marginal import measured_marginal
from scorefield.training.moments import measured_moments
from scorefield.training.opening import remarks
from scorefield.training.order import WEIGHTS, ShuffledOrder
from scorefield.training.pace import Pace
from scorefield.training.posthoc import Kind, Snapshots
from scorefield.training.preview import AVERAGED, RAW, save_preview
from scorefield.training.processes import Processes
from scorefield.training.progress import Progress, left_out
from scorefield.training.rates import learning_rate
from scorefield.training.sharding import HeldPart, WholePart, whole
from scorefield.training.state import Part
from scorefield.training.stepper import Stepper


class Run:
    """A run, from its first step or as it was left.

    Arguments:
        recipe: what to train; when resuming, the one in the folder is used if none is given.
        out: the run folder.
        device: 'auto' for the best there is, or 'cpu'.
        resume: go on with the run in the folder, if there is one.
        budget: when resuming, a new budget of the whole run, from its first step, in place of its own.

    Raises:
        InputError: for data that cannot be loaded, a folder that cannot be written or already has a
            run, a state that cannot be resumed, and a new budget that is spent already.
    """

    def __init__(
        self, recipe: Recipe | None, out: Path, device: str, *, resume: bool, budget: str | None
    ) -> None:
        self.out = out
        check_folder(out)
        stored = stored_recipe(out, resume)
        wanted = stored or recipe
        if wanted is None:
            raise InputError(f"there is no run in {out} to resume")
        from_dict(Recipe, to_dict(wanted), "recipe")  # what no file could give back is refused
        self.accelerator = accelerator(out, device)
        self.processes = Processes(self.accelerator)
        self.data = self.processes.in_turn(lambda: wanted.data.load("train"))
        self.spec = self.data.spec
        self.recipe = self._fitted(wanted)
        if recipe is not None and recipe != wanted:  # of a run that is there
            given = self._fitted(recipe)
            if given != self.recipe:
                raise InputError(difference(out, self.recipe, given))
        if budget is not None:
            self.recipe = replace(self.recipe, training=replace(wanted.training, budget=budget))
        self.training = self.recipe.training
        self.pace = Pace(self.training)
        self._build()
        self._restore(wanted)

    def _fitted(self, recipe: Recipe) -> Recipe:
        """A recipe with all that it leaves to be measured."""
        marginal = measured_marginal(recipe.marginal, self.data)
        return replace(recipe.fitted(self.spec), marginal=marginal)

    def _build(self) -> None:
        mine = self.processes.rows(self.training.batch)
        self.recipe.check_sampler(self.recipe.sampling.sampler)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(self.training.seed, WEIGHTS))
            self.denoiser = self.recipe.build(self.spec, measured_moments(self.data))
        self.network = cast(Network, self.denoiser.network.to(self.accelerator.device))
        self.average = PowerAverage(self.network, self.training.ema)
        self.profiles = Profiles(self.average)
        self.snapshots = Snapshots(self.out / AVERAGES)
        order = ShuffledOrder(len(self.data), self.training.batch, self.training.seed)
        self.batches = Batches(self.data, order, mine)
        self.stepper = Stepper(self.recipe, self.spec, self.denoiser, self.accelerator, mine)
        self.monitor = Monitor(self.recipe, self.data, self.denoiser, self.accelerator)
        self.checkpoints = Checkpoints(self.out / STATES, self.training.keep)
        self.faults = Faults(self.out, self.training, order, self.accelerator.is_main_process)

    def _restore(self, stored: Recipe) -> None:
        found = self.processes.as_one(self.checkpoints.newest)
        self.position = self.processes.as_one(lambda: found.restore(self.parts))
        self.processes.check_alike("state", self.position)
        self.found = replace(found, tensors={})
        self._check_budget(stored)
        self.remarks = remarks(self.out, self.found, stored, self.recipe)
        if self.data.skipped:
            self.remarks.append((left_out(self.data.skipped), True))
        self.saved = self.position  # where it stood when its state was last written
        self.origin: Origin | None = None  # what it began with, until there is a state
        self.written = False  # whether the folder has the model of that state
        self.engine = Engine(
            self.position.precision, self.position.channels_last, self.position.compiled
        )
        self.stepper.split = max(self.stepper.split, self.position.split)

    def _check_budget(self, stored: Recipe) -> None:
        """Refuse a new budget that leaves nothing to do, and a model that would be written over."""
        if self.position.step == 0 and (self.out / MODEL_FILE).is_file():
            raise InputError(
                f"{self.out} has a model, and no state to go on with its training from"
            )
        if self.is_finished and self.training.budget != stored.training.budget:
            raise InputError(
                f"a budget of {self.training.budget}, counted from the first step, is spent: the run in "
                f"{self.out} has {self.position.step:,} steps and {self.position.seconds:.0f} s"
            )

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return bool(self.accelerator.is_main_process)

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent."""
        return self.pace.spent(self.position) >= 1

    @property
    def parts(self) -> dict[str, Part]:
        """What the run goes on from, by name."""
        averages = {"average": self.average, "profile": self.profiles}
        parts: dict[str, Part] = {**self.stepper.parts, **averages}
        return {n: WholePart(p) for n, p in parts.items()} if self.stepper.shard else parts

    @property
    def model(self) -> Model:
        """The model with the averaged weights, ready to sample; a copy, which training leaves alone."""
        return self._model(self.average.weights())

    @property
    def raw_model(self) -> Model:
        """The same with the weights of the last step."""
        return self._model(self.network.state_dict())

    def _model(self, weights: dict[str, Tensor]) -> Model:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            model = self.recipe.build(self.spec, self.denoiser.moments)
        model.network.load_state_dict({name: whole(value) for name, value in weights.items()})
        lay_out(model.network, torch.channels_last)  # as `load` does
        model.to(self.accelerator.device).eval().requires_grad_(False)
        return Model(model, self.recipe, self.spec, self.position.step)

    @cached_property
    def first(self) -> tuple[Tensor, Tensor | None]:
        """The batch that ways to compute are tried on, read once as reading it is not to be timed."""
        return self.batches(0)

    def dry_run(self, engine: Engine) -> None:
        """A forward and a backward pass of a batch, which leaves its gradients.

        Arguments:
            engine: how to compute.
        """
        self.stepper.dry_run(engine, *self.first)

    def compute(self, engine: Engine) -> None:
        """Compute so from now on.

        Arguments:
            engine: how to compute.
        """
        if self.stepper.shard:  # FSDP cuts up contiguous weights only
            engine = replace(engine, channels_last=False)
            self.position = replace(self.position, channels_last=False)
        self.engine = engine
        engine.apply(self.network)
        self.stepper.prepare()
        self.position = replace(self.position, split=self.stepper.split)
        for average in (self.average, *self.profiles.averages.values()):
            average.shard()

    def drawn(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """What the loss of a step takes: x₀, t, ε, label and what augmentation tells.

        Arguments:
            step: the number of the step, from 1 as in the log; the run stays where it is.
        """
        with torch.random.fork_rng(devices=[]):
            return self.stepper.drawn(step - 1, *self.batches(step - 1))

    def step(
        self, batches: Iterator[tuple[Tensor, Tensor | None]], stopping: Callable[[], bool]
    ) -> tuple[Progress, Fault | None, bool]:
        """One step, what was wrong with it if it was left out, and whether all are to stop after it.

        Arguments:
            batches: gives the next one.
            stopping: tells whether this process has been asked to stop, in the step at the latest.
        """
        begin = time.perf_counter()
        x0, label = next(batches)
        self.monitor.waited += time.perf_counter() - begin
        step, batch = self.position.step, self.training.batch
        lr = learning_rate(self.training, step, self.pace.spent(self.position))
        lr *= self.position.lr_factor
        loss, norm = self.stepper.gradients(self.engine, step, x0, label)
        finite = math.isfinite(loss) and math.isfinite(norm)
        good = self.stepper.overflowed(loss, norm) or finite
        if finite:
            self.stepper.update(self.engine, lr)
            self.average.update(step + 1)
            self.profiles.update(step + 1)
        else:
            self.stepper.leave_out()
        agreed = self.processes.agree(time.perf_counter() - begin, stop=stopping())
        seconds = self.position.seconds + agreed.seconds
        self.position = replace(advanced(self.position, good=good), seconds=seconds)
        spent, rate = self.pace.spent(self.position), batch / agreed.seconds
        progress = Progress(step + 1, (step + 1) * batch, seconds, spent, loss, lr, norm, rate)
        return progress, None if good else self.faults.seen(progress, self.position), agreed.stop

    def save(self) -> None:
        """Write the state of the run, its model so far and a picture of what that makes."""
        if self.is_main or self.stepper.shard:
            self.write_state()
            self.snapshot("last")
            models = {AVERAGED: self.model, RAW: self.raw_model}
            if self.is_main:
                save(self.out / RAW_FILE, models[RAW])
                save(self.out / MODEL_FILE, models[AVERAGED])
                save_preview(self.out / SAMPLES, models)
        self.saved, self.origin, self.written = self.position, None, True

    def write_state(self) -> None:
        """Write what the run goes on from."""
        if not (self.is_main or self.stepper.shard):
            return
        # Where weights are cut up, all put them together before one begins to write.
        parts = {name: HeldPart(part, part.tensors()) for name, part in self.parts.items()}
        if self.is_main:
            score = self.monitor.score(self.position)
            self.checkpoints.write(self.position, parts, self.recipe, score)

    def snapshot(self, kind: Kind = "step") -> None:
        """Keep the averages as they are.

        Arguments:
            kind: 'step' for one on the way, 'last' for the newest only.
        """
        if self.is_main:
            self.snapshots.write(self.position.step, self.profiles, kind)
        elif self.stepper.shard:  # the main process asks for them in the same order
            for average in self.profiles.averages.values():
                for value in average.named.values():
                    whole(value)

    def roll_back(self) -> None:
        """Go back to the last good state, with a lower learning rate."""
        if self.is_main:
            self.checkpoints.forget_after(self.position.step - self.position.left_out)
        self.accelerator.wait_for_everyone()
        saved = (self.origin or self.checkpoints).restore(self.parts)
        self.position = rolled_back(self.position, saved)
        self.accelerator.wait_for_everyone()
        if self.is_main:
            self.snapshots.drop_after(self.position.step)
        self.saved, self.written = self.position, False
