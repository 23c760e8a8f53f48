"""Training as an iterator: each step of the optimizer is a `Progress`, and the end is a `Model`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

from torch import Tensor

from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.models.model import Model
from scorefield.recipes.recipe import Recipe
from scorefield.training.engine import Trial
from scorefield.training.faults import LEFT_OUT, Origin
from scorefield.training.folder import write_recipe
from scorefield.training.log import RunLog
from scorefield.training.memory import Room, estimated, free_bytes
from scorefield.training.opening import alone, is_whole
from scorefield.training.processes import peers_answering
from scorefield.training.progress import Progress, Remark
from scorefield.training.report import write_report
from scorefield.training.run import Run
from scorefield.training.settling import as_before, fastest
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
        self.run = Run(recipe, Path(out), device, resume=resume, budget=budget)
        self._stop = self._stopping = False  # asked for here, and agreed on by all processes

    @property
    def recipe(self) -> Recipe:
        """What is trained, with all that the data settle."""
        return self.run.recipe

    @property
    def spec(self) -> DataSpec:
        """The description of the data."""
        return self.run.spec

    @property
    def model(self) -> Model:
        """The model with the averaged weights, ready to sample; a copy, which training leaves alone."""
        return self.run.model

    @property
    def raw_model(self) -> Model:
        """The same with the weights of the last step."""
        return self.run.raw_model

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent."""
        return self.run.is_finished

    @property
    def _is_stopping(self) -> bool:
        """Whether all processes know that one has been asked to stop; one alone need not ask."""
        return self._stopping or (self._stop and self.run.processes.count == 1)

    def stop(self) -> None:
        """Ask the run to end after the step it is in, with its state saved; from a signal handler, say."""
        self._stop = True

    def save(self) -> None:
        """Write the state of the run, its model so far and a picture of what that makes."""
        self.run.save()

    def drawn(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """What the loss of a step takes: x₀, t, ε, label and what augmentation tells.

        Arguments:
            step: the number of the step, from 1 as in the log; the run stays where it is.
        """
        return self.run.drawn(step)

    def __iter__(self) -> Iterator[Progress]:
        run, processes = self.run, self.run.processes
        # Asked here, by all: later, a process may see the file that another is about to write.
        run.written = all(processes.gathered(is_whole(run.out, run.position.step)))
        if run.is_finished and run.written:
            return
        advice = f"go on with: scorefield resume {shlex.quote(str(run.out))}"
        with ExitStack() as held, peers_answering(processes.count, advice):
            if run.is_main:
                lock = alone(run.out, run.checkpoints, run.found, run.position)
                processes.as_one(lambda: held.enter_context(lock))
            else:
                processes.as_one(lambda: None)
            yield from self._trained()

    def _trained(self) -> Iterator[Progress]:
        run, step = self.run, self.run.position.step
        if run.is_main:
            write_recipe(run.out, run.recipe)
            run.snapshots.drop_after(step)
        log = RunLog(run.out, run.accelerator, step, run.recipe, self.trackers)
        run.monitor.resume(run.position, log.checks)
        for text, warning in chain(run.remarks, self._prepared()):
            yield self._note(log, text, warning=warning)
        run.network.train()
        run.saved = run.position
        run.origin = Origin(run.position, run.parts) if run.position.step == 0 else None
        self._stopping = run.processes.agree(0.0, stop=self._stop).stop
        while not (run.is_finished or self._is_stopping):
            with closing(run.batches.ahead(run.position.step)) as batches:
                yield from self._until_rolled_back(batches, log)
        if not run.stepper.is_sound:
            raise InputError(
                f"the weights are not finite after the last step, {run.position.step}; try a lower "
                f"training.lr than {run.training.lr:g}"
            )
        log.flush()
        done = run.position.step
        if done and not (run.saved.step == done and run.written):
            run.save()
            log.picture(done)
        log.close()
        for trouble in log.troubles():
            yield self._note(log, trouble, warning=True)
        if run.is_main:
            write_report(run.out)
        self._stop = self._stopping = False

    def _prepared(self) -> Generator[Remark, None, None]:
        """Settle how much is computed at once and how, as before when resuming, else by measuring."""
        run, stepper = self.run, self.run.stepper
        device, averages = run.accelerator.device, (run.average, run.profiles)
        begins = run.position.step == 0 and device.type == "cpu"
        needed = estimated(stepper, averages, run.data, run.first, copied=begins)
        room = Room(needed, free_bytes(device))
        stepper.split, remarks = room.fitted(stepper.split)
        yield from remarks
        if run.position.step == 0:
            engine = yield from fastest(
                run.training, run.network, run.dry_run, self._remaining, self._slowest
            )
            run.position = replace(run.position, **asdict(engine))
        else:
            engine = yield from as_before(run.engine, run.network, run.dry_run, self._slowest)
        run.compute(engine)

    def _remaining(self, step_seconds: float) -> float:
        return self.run.pace.remaining(self.run.position, step_seconds)

    def _slowest(self, trial: Trial) -> Trial:
        """A trial as it went in the process that took longest; one that failed took for ever."""
        return max(self.run.processes.gathered(trial), key=lambda t: t.seconds)

    def _until_rolled_back(
        self, batches: Iterator[tuple[Tensor, Tensor | None]], log: RunLog
    ) -> Iterator[Progress]:
        """Steps to the end of the budget, or to where the run goes back and needs other batches."""
        run = self.run
        while not (run.is_finished or self._is_stopping):
            before = run.pace.spent(run.position)
            progress, fault, self._stopping = run.step(batches, lambda: self._stop)
            if run.snapshots.is_due(before, progress.spent):
                run.snapshot()
            if run.stepper.split > run.position.split:
                run.position = replace(run.position, split=run.stepper.split)
                yield self._note(log, _divided(run.stepper.split), warning=True)
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
            if run.monitor.is_due(run.position, last=run.is_finished):
                progress = yield from self._checked(progress, log)
            if run.pace.is_due(run.position, run.saved) and run.stepper.is_sound:
                log.flush()  # so that no line is about steps on both sides of it
                run.save()
                log.picture(run.position.step)
            yield progress

    def _rolled_back(self, log: RunLog) -> str:
        """Go on from the last good checkpoint with a lower learning rate; returns what to say of it."""
        run = self.run
        run.roll_back()
        log.rewind(run.position.step)
        run.monitor.resume(run.position, log.checks)
        run.write_state()  # so that a run that is resumed has been rolled back, too
        return (
            f"back to the checkpoint of step {run.position.step}, with "
            f"{run.position.lr_factor:g} of the learning rate"
        )

    def _checked(self, progress: Progress, log: RunLog) -> Generator[Progress, None, Progress]:
        """A step with what a check after it found, which one process makes while the others wait."""
        run = self.run
        if not run.is_main or run.stepper.shard:
            return progress  # of weights that are cut up, no process has all
        first = run.monitor.last.step == 0
        try:
            found = run.monitor(run.position, run.average.weights(), run.engine)
        except InputError as error:  # it takes more memory than the steps that it is about
            run.monitor.last = run.position
            yield self._note(log, f"no check at step {run.position.step}: {error}", warning=True)
            return progress
        progress = replace(progress, health=found)
        log.check(progress)
        if first and (remark := run.monitor.checks.remark):
            yield self._note(log, remark)
        write_report(run.out)
        return progress

    def _note(self, log: RunLog, text: str, *, warning: bool = False) -> Progress:
        log.note(text)
        position, pace = self.run.position, self.run.pace
        images = position.step * self.run.training.batch
        spent = pace.spent(position)
        return Progress(position.step, images, position.seconds, spent, note=text, warning=warning)


def _divided(parts: int) -> str:
    return f"memory ran out; a batch is now computed in {parts} parts, with the same gradient"
