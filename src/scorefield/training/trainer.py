"""Training as an iterator: each step of the optimizer is a `Progress`, and the end is a `Model`."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from scorefield.atomic import check_writable
from scorefield.errors import InputError
from scorefield.models.checkpoint import MODEL_FILE, RAW_FILE, save
from scorefield.models.model import Model
from scorefield.nets.base import Network, lay_out
from scorefield.nets.engine import Engine
from scorefield.recipes.budget import Budget
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.noise import stream
from scorefield.training.batches import Batches
from scorefield.training.checkpoints import Checkpoints
from scorefield.training.devices import accelerator
from scorefield.training.ema import PowerAverage, Profiles
from scorefield.training.engine import Trial
from scorefield.training.faults import LEFT_OUT, Fault, Faults, Origin, advanced, rolled_back
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
from scorefield.training.memory import Room, estimated, free_bytes
from scorefield.training.moments import measured_moments
from scorefield.training.opening import alone, is_whole, remarks
from scorefield.training.order import WEIGHTS, ShuffledOrder
from scorefield.training.posthoc import Kind, Snapshots
from scorefield.training.preview import AVERAGED, RAW, save_preview
from scorefield.training.processes import Processes, peers_answering
from scorefield.training.progress import Progress, Remark, left_out
from scorefield.training.rates import learning_rate
from scorefield.training.report import write_report
from scorefield.training.settling import as_before, fastest
from scorefield.training.sharding import HeldPart, WholePart, whole
from scorefield.training.state import Part
from scorefield.training.stepper import Stepper
from scorefield.training.trackers import known_trackers


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
        trackers: names of Accelerate's trackers that get all numbers too, such as 'wandb'; if none are
            given TensorBoard where it is installed, ('none',) for no tracker.

    Raises:
        InputError: for data that cannot be loaded, a folder that cannot be written or already has a
            run, a state that cannot be resumed, a tracker that is not installed, and a
            new budget that is spent already.
    """

    def __init__(
        self,
        recipe: Recipe | None,
        out: str | Path,
        *,
        device: str = "auto",
        resume: bool = False,
        budget: str | None = None,
        trackers: Sequence[str] | None = None,
    ) -> None:
        self.trackers = known_trackers(trackers)
        self.out = Path(out)
        check_writable(self.out)
        stored = stored_recipe(self.out, resume)
        wanted = stored or recipe
        if wanted is None:
            raise InputError(f"there is no run in {out} to resume")
        self.accelerator = accelerator(self.out, device)
        self.processes = Processes(self.accelerator)
        self.data = self.processes.in_turn(lambda: wanted.data.load("train"))
        self.spec = self.data.spec
        self.recipe = wanted.fitted(self.spec)
        if recipe is not None and recipe.fitted(self.spec) != self.recipe:
            raise InputError(difference(self.out, self.recipe, recipe.fitted(self.spec)))
        if budget is not None:
            self.recipe = replace(self.recipe, training=replace(wanted.training, budget=budget))
        self.training = self.recipe.training
        self.budget = Budget.parse(self.training.budget)
        mine = self.processes.rows(self.training.batch)
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
        found = self.processes.as_one(self.checkpoints.newest)
        self.position = self.processes.as_one(lambda: found.restore(self.parts))
        self.processes.check_alike("state", self.position)
        self.found = replace(found, tensors={})
        self._check_budget(wanted)
        self.remarks = remarks(self.out, self.found, wanted, self.recipe)
        if self.data.skipped:
            self.remarks.append((left_out(self.data.skipped), True))
        self._stop = self._stopping = False  # asked for here, and agreed on by all processes
        self._written = False  # whether the folder has the model of the last state
        self.engine = Engine(
            self.position.precision, self.position.channels_last, self.position.compiled
        )
        self.stepper.split = max(self.stepper.split, self.position.split)

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

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent."""
        return self._spent() >= 1

    @property
    def _is_stopping(self) -> bool:
        """Whether all processes know that one has been asked to stop; one alone need not ask."""
        return self._stopping or (self._stop and self.processes.count == 1)

    def stop(self) -> None:
        """Ask the run to end after the step it is in, with its state saved; from a signal handler, say."""
        self._stop = True

    def __iter__(self) -> Iterator[Progress]:
        # Asked here, by all: later, a process may see the file that another is about to write.
        step = self.position.step
        self._written = all(self.processes.gathered(is_whole(self.out, step)))
        if self.is_finished and self._written:
            return
        advice = f"go on with: scorefield resume {self.out}"
        with ExitStack() as held, peers_answering(self.processes.count, advice):
            if self.accelerator.is_main_process:
                lock = alone(self.out, self.checkpoints, self.found, self.position)
                self.processes.as_one(lambda: held.enter_context(lock))
            else:
                self.processes.as_one(lambda: None)
            yield from self._trained()

    def _trained(self) -> Iterator[Progress]:
        if self.accelerator.is_main_process:
            write_recipe(self.out, self.recipe)
            self.snapshots.drop_after(self.position.step)
        step = self.position.step
        log = RunLog(self.out, self.accelerator, step, self.recipe, self.trackers)
        self.monitor.resume(self.position, log.checks)
        for text, warning in chain(self.remarks, self._prepared()):
            yield self._note(log, text, warning=warning)
        self.network.train()
        self.saved = self.position
        self.origin = Origin(self.position, self.parts) if self.position.step == 0 else None
        self._stopping = self.processes.agree(0.0, stop=self._stop).stop
        while not (self.is_finished or self._is_stopping):
            with closing(self.batches.ahead(self.position.step)) as batches:
                yield from self._until_rolled_back(batches, log)
        if not self.stepper.is_sound:
            raise InputError(
                f"the weights are not finite after the last step, {self.position.step}; try a lower "
                f"training.lr than {self.training.lr:g}"
            )
        log.flush()
        done = self.position.step
        if done and not (self.saved.step == done and self._written):
            self.save()
            log.picture(done)
        log.close()
        for trouble in log.troubles():
            yield self._note(log, trouble, warning=True)
        if self.accelerator.is_main_process:
            write_report(self.out)
        self._stop = self._stopping = False

    def save(self) -> None:
        """Write the state of the run, its model so far and a picture of what that makes."""
        if not (self.accelerator.is_main_process or self.stepper.shard):
            return
        self._write_state()
        self._snapshot("last")
        models = {AVERAGED: self.model, RAW: self.raw_model}
        if self.accelerator.is_main_process:
            save(self.out / RAW_FILE, models[RAW])
            save(self.out / MODEL_FILE, models[AVERAGED])
            save_preview(self.out / SAMPLES, models)

    def drawn(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """What the loss of a step takes: x₀, t, ε, label and what augmentation tells.

        Arguments:
            step: the number of the step, from 1 as in the log; the run stays where it is.
        """
        with torch.random.fork_rng(devices=[]):
            return self.stepper.drawn(step - 1, *self.batches(step - 1))

    def _write_state(self) -> None:
        # Where weights are cut up, all put them together before one begins to write.
        parts = {name: HeldPart(part, part.tensors()) for name, part in self.parts.items()}
        if self.accelerator.is_main_process:
            score = self.monitor.score(self.position)
            self.checkpoints.write(self.position, parts, self.recipe, score)

    def _until_rolled_back(
        self, batches: Iterator[tuple[Tensor, Tensor | None]], log: RunLog
    ) -> Iterator[Progress]:
        """Steps to the end of the budget, or to where the run goes back and needs other batches."""
        every = Budget.parse(self.training.checkpoint_every)
        while not (self.is_finished or self._is_stopping):
            before = self._spent()
            progress, fault = self._step(batches)
            if self.snapshots.is_due(before, progress.spent):
                self._snapshot()
            if self.stepper.split > self.position.split:
                self.position = replace(self.position, split=self.stepper.split)
                yield self._note(log, _divided(self.stepper.split), warning=True)
            if fault is not None:
                back = fault.done != LEFT_OUT
                yield self._note(log, f"{fault}; {fault.done}", warning=back)
                if back:
                    yield self._note(log, self._rolled_back(log), warning=True)
                    return
                continue
            if math.isfinite(progress.grad_norm):
                log.add(progress)
            for trouble in log.troubles():
                yield self._note(log, trouble, warning=True)
            if self.monitor.is_due(self.position, last=self.is_finished):
                progress = yield from self._checked(progress, log)
            steps, seconds = progress.step - self.saved.step, progress.seconds - self.saved.seconds
            images = steps * self.training.batch
            due = every.spent(seconds=seconds, images=images, steps=steps) >= 1
            if due and self.stepper.is_sound:
                log.flush()  # so that no line is about steps on both sides of it
                self.save()
                log.picture(self.position.step)
                self.saved, self.origin, self._written = self.position, None, True
            yield progress

    def _rolled_back(self, log: RunLog) -> str:
        """Go on from the last good checkpoint with a lower learning rate; returns what to say of it."""
        main = self.accelerator.is_main_process
        if main:
            self.checkpoints.forget_after(self.position.step - self.position.left_out)
        self.accelerator.wait_for_everyone()
        saved = (self.origin or self.checkpoints).restore(self.parts)
        self.position = rolled_back(self.position, saved)
        self.accelerator.wait_for_everyone()
        log.rewind(self.position.step)
        self.monitor.resume(self.position, log.checks)
        if main:
            self.snapshots.drop_after(self.position.step)
        if main or self.stepper.shard:
            self._write_state()  # so that a run that is resumed has been rolled back, too
        self.saved, self._written = self.position, False
        return (
            f"back to the checkpoint of step {self.position.step}, with "
            f"{self.position.lr_factor:g} of the learning rate"
        )

    def _snapshot(self, kind: Kind = "step") -> None:
        if self.accelerator.is_main_process:
            self.snapshots.write(self.position.step, self.profiles, kind)
        elif self.stepper.shard:  # the main process asks for them in the same order
            for average in self.profiles.averages.values():
                for value in average.named.values():
                    whole(value)

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

    def _prepared(self) -> Generator[Remark, None, None]:
        """Settle how much is computed at once and how, as before when resuming, else by measuring."""
        needed = estimated(self.stepper, self.average, self.data, self._first)
        room = Room(needed, free_bytes(self.accelerator.device))
        self.stepper.split, remarks = room.fitted(self.stepper.split)
        yield from remarks
        run, slowest = self._dry_run, self._slowest
        if self.position.step == 0:
            self.engine = yield from fastest(
                self.training, self.network, run, self._remaining, slowest
            )
            self.position = replace(self.position, **asdict(self.engine))
        else:
            self.engine = yield from as_before(self.engine, self.network, run, slowest)
        if self.stepper.shard:  # FSDP cuts up contiguous weights only
            self.engine = replace(self.engine, channels_last=False)
            self.position = replace(self.position, channels_last=False)
        self.engine.apply(self.network)
        self.stepper.prepare()
        self.position = replace(self.position, split=self.stepper.split)
        for average in (self.average, *self.profiles.averages.values()):
            average.shard()

    def _slowest(self, trial: Trial) -> Trial:
        """A trial as it went in the process that took longest; one that failed took for ever."""
        return max(self.processes.gathered(trial), key=lambda t: t.seconds)

    def _checked(self, progress: Progress, log: RunLog) -> Generator[Progress, None, Progress]:
        """A step with what a check after it found, which one process makes while the others wait."""
        if not self.accelerator.is_main_process or self.stepper.shard:
            return progress  # of weights that are cut up, no process has all
        first = self.monitor.last.step == 0
        found = self.monitor(self.position, self.average.weights(), self.engine)
        progress = replace(progress, health=found)
        log.check(progress)
        if first and (remark := self.monitor.checks.remark):
            yield self._note(log, remark)
        write_report(self.out)
        return progress

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

    @cached_property
    def _first(self) -> tuple[Tensor, Tensor | None]:
        """The batch that ways to compute are tried on, read once as reading it is not to be timed."""
        return self.batches(0)

    def _dry_run(self, engine: Engine) -> None:
        self.stepper.dry_run(engine, *self._first)

    def _step(
        self, batches: Iterator[tuple[Tensor, Tensor | None]]
    ) -> tuple[Progress, Fault | None]:
        """One step, and what was wrong with it if it was left out."""
        begin = time.perf_counter()
        x0, label = next(batches)
        self.monitor.waited += time.perf_counter() - begin
        step, batch = self.position.step, self.training.batch
        lr = learning_rate(self.training, step, self._spent()) * self.position.lr_factor
        loss, norm = self.stepper.gradients(self.engine, step, x0, label)
        finite = math.isfinite(loss) and math.isfinite(norm)
        good = self.stepper.overflowed(loss, norm) or finite
        if finite:
            self.stepper.update(lr)
            self.average.update(step + 1)
            self.profiles.update(step + 1)
        else:
            self.stepper.leave_out()
        agreed = self.processes.agree(time.perf_counter() - begin, stop=self._stop)
        self._stopping, seconds = agreed.stop, agreed.seconds
        self.position = replace(
            advanced(self.position, good=good), seconds=self.position.seconds + seconds
        )
        progress = Progress(
            step + 1,
            (step + 1) * batch,
            self.position.seconds,
            self._spent(),
            loss,
            lr,
            norm,
            batch / seconds,
        )
        return progress, None if good else self.faults.seen(progress, self.position)


def _divided(parts: int) -> str:
    return f"memory ran out; a batch is now computed in {parts} parts, with the same gradient"
