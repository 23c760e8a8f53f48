"""Training as an iterator: each step of the optimizer is a `Progress`, and the end is a `Model`."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from scorefield.atomic import check_writable
from scorefield.errors import InputError
from scorefield.models.checkpoint import MODEL_FILE, RAW_FILE, save
from scorefield.models.model import Model
from scorefield.nets.base import Network
from scorefield.recipes.budget import Budget
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.noise import stream
from scorefield.training.batches import Batches
from scorefield.training.checkpoints import Checkpoints
from scorefield.training.devices import accelerator
from scorefield.training.ema import PowerAverage, Profiles
from scorefield.training.engine import Engine, Trial, measured, trials
from scorefield.training.folder import (
    AVERAGES,
    SAMPLES,
    STATES,
    difference,
    stored_recipe,
    write_recipe,
)
from scorefield.training.health.monitor import Monitor
from scorefield.training.log import RunLog
from scorefield.training.moments import measured_moments
from scorefield.training.opening import alone, is_whole, remarks
from scorefield.training.order import WEIGHTS, ShuffledOrder
from scorefield.training.posthoc import Snapshots
from scorefield.training.preview import AVERAGED, RAW, save_preview
from scorefield.training.progress import Progress, left_out
from scorefield.training.report import write_report
from scorefield.training.state import Part, Position
from scorefield.training.stepper import Stepper


class Trainer:
    """The training of a recipe in a run folder; iterate over it to train.

    Devices and processes are Accelerate's. The order of the data and all noise are functions of the
    seed and the step, so a run resumed from its last state goes on as if it had not stopped.

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
        self,
        recipe: Recipe | None,
        out: str | Path,
        *,
        device: str = "auto",
        resume: bool = False,
        budget: str | None = None,
    ) -> None:
        self.out = Path(out)
        check_writable(self.out)
        stored = stored_recipe(self.out, resume)
        wanted = stored or recipe
        if wanted is None:
            raise InputError(f"there is no run in {out} to resume")
        self.data = wanted.data.load("train")
        self.spec = self.data.spec
        self.recipe = wanted.fitted(self.spec)
        if recipe is not None and recipe.fitted(self.spec) != self.recipe:
            raise InputError(difference(self.out, self.recipe, recipe.fitted(self.spec)))
        if budget is not None:
            self.recipe = replace(self.recipe, training=replace(wanted.training, budget=budget))
        self.training = self.recipe.training
        self.budget = Budget.parse(self.training.budget)
        self.accelerator = accelerator(self.out, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(self.training.seed, WEIGHTS))
            self.denoiser = self.recipe.build(self.spec, measured_moments(self.data))
        self.network = cast(Network, self.denoiser.network.to(self.accelerator.device))
        self.average = PowerAverage(self.network, self.training.ema)
        self.profiles = Profiles(self.average)
        self.snapshots = Snapshots(self.out / AVERAGES)
        mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
        order = ShuffledOrder(len(self.data), self.training.batch, self.training.seed)
        self.batches = Batches(self.data, order, mine)
        self.stepper = Stepper(self.recipe, self.spec, self.denoiser, self.accelerator, mine)
        self.monitor = Monitor(self.recipe, self.data, self.denoiser, self.accelerator)
        self.checkpoints = Checkpoints(self.out / STATES, self.training.keep)
        found = self.checkpoints.newest()
        self.position = found.restore(self.parts)
        self.found = replace(found, tensors={})
        self._check_budget(wanted)
        self.remarks = remarks(self.out, self.found, wanted, self.recipe)
        if self.data.skipped:
            self.remarks.append((left_out(self.data.skipped), True))
        self._stop = False
        self.engine = Engine(
            self.position.precision, self.position.channels_last, self.position.compiled
        )

    @property
    def parts(self) -> dict[str, Part]:
        """What the run goes on from, by name."""
        return {**self.stepper.parts, "average": self.average, "profile": self.profiles}

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
        model.network.load_state_dict(weights)
        model.to(self.accelerator.device).eval().requires_grad_(False)
        return Model(model, self.recipe, self.spec, self.position.step)

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent."""
        return self._spent() >= 1

    def stop(self) -> None:
        """Ask the run to end after the step it is in, with its state saved; from a signal handler, say."""
        self._stop = True

    def __iter__(self) -> Iterator[Progress]:
        if self.is_finished and is_whole(self.out, self.position.step):
            return
        with (
            alone(self.out, self.checkpoints, self.found, self.position)
            if self.accelerator.is_main_process
            else nullcontext()
        ):
            yield from self._trained()

    def _trained(self) -> Iterator[Progress]:
        if self.accelerator.is_main_process:
            write_recipe(self.out, self.recipe)
            self.snapshots.drop_after(self.position.step)
        log = RunLog(self.out, self.accelerator, after=self.position.step)
        self.monitor.resume(self.position, log.checks)
        for text, warning in self.remarks:
            yield self._note(log, text, warning=warning)
        yield from self._prepared(log)
        every = Budget.parse(self.training.checkpoint_every)
        saved = self.position
        self.network.train()
        with closing(self.batches.ahead(self.position.step)) as batches:
            while not (self.is_finished or self._stop):
                before = self._spent()
                progress = self._step(batches)
                if self.snapshots.is_due(before, progress.spent):
                    self._snapshot()
                log.add(progress)
                if self.monitor.is_due(self.position, last=self.is_finished):
                    progress = yield from self._checked(progress, log)
                    self._report()
                steps, seconds = progress.step - saved.step, progress.seconds - saved.seconds
                images = steps * self.training.batch
                if every.spent(seconds=seconds, images=images, steps=steps) >= 1:
                    log.flush()  # so that no line is about steps on both sides of it
                    self.save()
                    saved = self.position
                yield progress
        log.flush()
        done = self.position.step
        if done and not (saved.step == done and is_whole(self.out, done)):
            self.save()
        log.close()
        self._report()
        self._stop = False

    def save(self) -> None:
        """Write the state of the run, its model so far and a picture of what that makes."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            score = self.monitor.score(self.position)
            self.checkpoints.write(self.position, self.parts, self.recipe, score)
            models = {AVERAGED: self.model, RAW: self.raw_model}
            save(self.out / RAW_FILE, models[RAW])
            save(self.out / MODEL_FILE, models[AVERAGED])
            save_preview(self.out / SAMPLES, models)

    def _snapshot(self) -> None:
        if self.accelerator.is_main_process:
            self.snapshots.write(self.position.step, self.profiles)

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

    def _prepared(self, log: RunLog) -> Iterator[Progress]:
        """Settle how the network computes: as before when resuming, else by measuring."""
        if self.position.step == 0:
            tried = {}
            for trial in trials(self.training, self.network, self._dry_run, self._remaining):
                tried[trial.engine] = trial
                if trial.failure:
                    yield self._note(log, _uncompiled(trial), warning=True)
                elif trial.seconds:
                    note = f"{trial.engine}: {self.training.batch / trial.seconds:.0f} images/s"
                    if trial.engine.compiled:
                        note += f", after {trial.preparation:.0f} s of compiling"
                    yield self._note(log, note)
            forced = self.training.compile == "on"
            self.engine = min(
                (t for t in tried.values() if not t.failure),
                key=lambda t: (forced and not t.engine.compiled, t.seconds),
            ).engine
            self.position = Position(
                0, 0.0, self.engine.precision, self.engine.channels_last, self.engine.compiled
            )
        elif self.engine.compiled:
            # Before the first step, as compiling is not training time; this machine may not be able to.
            trial = measured(self.engine, self.network, self._dry_run, n=0)
            if trial.failure:
                self.engine = replace(self.engine, compiled=False)
                yield self._note(log, _uncompiled(trial), warning=True)
        self.engine.apply(self.network)
        self.stepper.prepare()

    def _checked(self, progress: Progress, log: RunLog) -> Generator[Progress, None, Progress]:
        """A step with what a check after it found, which one process makes while the others wait."""
        if not self.accelerator.is_main_process:
            return progress
        first = self.monitor.last.step == 0
        found = self.monitor(self.position, self.average.weights(), self.engine)
        progress = replace(progress, health=found)
        log.check(progress)
        if first and (remark := self.monitor.checks.remark):
            yield self._note(log, remark)
        return progress

    def _report(self) -> None:
        if self.accelerator.is_main_process:
            write_report(self.out)

    def _note(self, log: RunLog, text: str, *, warning: bool = False) -> Progress:
        log.note(text)
        return Progress(
            self.position.step,
            self.position.step * self.training.batch,
            self.position.seconds,
            self._spent(),
            note=text,
            warning=warning,
        )

    def _spent(self) -> float:
        return self.budget.spent(
            seconds=self.position.seconds,
            images=self.position.step * self.training.batch,
            steps=self.position.step,
        )

    def _remaining(self, step_seconds: float) -> float:
        """Seconds of training left if a step takes so long."""
        batch = self.training.batch
        per_step = self.budget.spent(seconds=step_seconds, images=batch, steps=1)
        return (1 - self._spent()) / per_step * step_seconds

    def _lr(self, spent: float) -> float:
        """Linear warm-up over steps, then constant, then linear to 0 over the last part of the budget."""
        training = self.training
        up = min(1.0, (self.position.step + 1) / training.warmup) if training.warmup else 1.0
        down = min(1.0, (1 - spent) / training.decay) if training.decay else 1.0
        return training.lr * up * down

    @cached_property
    def _first(self) -> tuple[Tensor, Tensor | None]:
        """The batch that ways to compute are tried on, read once as reading it is not to be timed."""
        return self.batches(0)

    def _dry_run(self, engine: Engine) -> None:
        self.stepper.dry_run(engine, *self._first)

    def _step(self, batches: Iterator[tuple[Tensor, Tensor | None]]) -> Progress:
        begin = time.perf_counter()
        x0, label = next(batches)
        self.monitor.waited += time.perf_counter() - begin
        step, batch = self.position.step, self.training.batch
        lr = self._lr(self._spent())
        loss, norm = self.stepper.gradients(self.engine, step, x0, label)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise InputError(
                f"the loss is {loss} and the gradient's norm {norm} at step {step + 1}; try a lower "
                f"training.lr than {self.training.lr:g} or training.precision=fp32"
            )
        self.stepper.update(lr)
        self.average.update(step + 1)
        self.profiles.update(step + 1)
        seconds = time.perf_counter() - begin
        self.position = replace(
            self.position, step=step + 1, seconds=self.position.seconds + seconds
        )
        return Progress(
            step + 1,
            (step + 1) * batch,
            self.position.seconds,
            self._spent(),
            loss,
            lr,
            norm,
            batch / seconds,
        )


def _uncompiled(trial: Trial) -> str:
    return f"not compiled ({trial.failure}); training goes on without"
