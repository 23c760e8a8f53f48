"""Several processes as one run: each has its rows of a batch, and all decide alike.

Processes differ in their clocks, their signals and their luck. What a run does next may depend only on
what they have agreed on, or one would wait for ever for another that does something else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from scorefield.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

T = TypeVar("T")

ADVICE = "go on with: scorefield resume, and the run's folder"
# What an error says when another process has gone, whose class is a plain RuntimeError.
TRANSPORTS = ("gloo", "nccl", "connection closed by peer", "timed out waiting")


@dataclass(frozen=True)
class Agreed:
    """What all processes know of a step.

    Arguments:
        seconds: how long it took the main process.
        stop: whether any has been asked to stop.
    """

    seconds: float
    stop: bool


@dataclass(frozen=True)
class Processes:
    """The processes of a run; every method but `rows` is called by all of them at the same place.

    Arguments:
        accelerator: Accelerate's.
    """

    accelerator: Accelerator

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.accelerator.num_processes)

    def rows(self, batch: int) -> slice:
        """Which rows of a batch this process trains on.

        Arguments:
            batch: rows in all.

        Raises:
            InputError: when they cannot be shared out evenly.
        """
        if batch % self.count:
            raise InputError(
                f"the batch must be a multiple of the {self.count} processes, got "
                f"training.batch={batch}"
            )
        share = batch // self.count
        index = int(self.accelerator.process_index)
        return slice(index * share, (index + 1) * share)

    def mean(self, value: float) -> float:
        """The mean of a number over processes; not finite if it is so in any.

        Arguments:
            value: this process's.
        """
        return self._sums(value / self.count)[0]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over processes.

        Arguments:
            values: this process's, a few numbers.
        """
        return torch.tensor(self._sums(*values.flatten().tolist())).reshape(values.shape)

    def agree(self, seconds: float, *, stop: bool) -> Agreed:
        """What a step's end is decided by: the main process's clock, and anyone's wish to stop.

        Arguments:
            seconds: how long the step took here.
            stop: whether this process has been asked to stop.
        """
        main = self.accelerator.is_main_process
        spent, stops = self._sums(seconds if main else 0.0, float(stop))
        return Agreed(spent, stops > 0)

    def gathered(self, value: T) -> list[T]:
        """What each process has, in the order of the processes.

        Arguments:
            value: this process's; anything that can be pickled.
        """
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        with peers_answering(self.count):
            return list(gather_object([value]))

    def as_one(self, make: Callable[[], T]) -> T:
        """Do something in every process; a user's error in one is raised in all.

        Arguments:
            make: what is done; it must not talk to other processes.

        Raises:
            InputError: the first that any process met.
        """
        return self._in_turns(make, (True,))

    def in_turn(self, make: Callable[[], T]) -> T:
        """The same, done by one process of each machine before the others, which find what it has made.

        Arguments:
            make: what is done, such as loading data that may have to be downloaded.

        Raises:
            InputError: the first that any process met.
        """
        first = bool(self.accelerator.is_local_main_process)
        return self._in_turns(make, (first, not first) if self.count > 1 else (True,))

    def by_main(self, make: Callable[[], T]) -> T:
        """Do something in the main process, and give all what it makes.

        Arguments:
            make: what is done; its result can be pickled.

        Raises:
            InputError: the one that it met.
        """
        main = bool(self.accelerator.is_main_process)
        return self.gathered(self.as_one(lambda: make() if main else None))[0]  # type: ignore[return-value]

    def check_alike(self, what: str, value: object) -> None:
        """Refuse to go on when processes do not see the same.

        Arguments:
            what: a name for it.
            value: what this process sees.

        Raises:
            InputError: when they differ, with what the first and another see.
        """
        found = self.gathered(value)
        for index, other in enumerate(found):
            if other != found[0]:
                raise InputError(
                    f"process {index} has another {what} than process 0, {other} in place of "
                    f"{found[0]}; the run folder and the data must be the same for all processes"
                )

    def _in_turns(self, make: Callable[[], T], turns: tuple[bool, ...]) -> T:
        made: list[T] = []
        for mine in turns:
            error = None
            try:
                if mine:
                    made.append(make())
            except InputError as caught:
                error = caught
            failed = [text for text in self.gathered(error and str(error)) if text]
            if failed:
                raise error if error and failed[0] == str(error) else InputError(failed[0])
        return made[0]

    def _sums(self, *values: float) -> list[float]:
        if self.count == 1:
            return list(values)
        kind = torch.float32 if self.accelerator.device.type == "mps" else torch.float64
        vector = torch.tensor(values, dtype=kind, device=self.accelerator.device)
        with peers_answering(self.count):
            return [float(v) for v in self.accelerator.reduce(vector, "sum").tolist()]


def launched() -> int:
    """How many processes a launcher says it has started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def peers_answering(count: int, advice: str = ADVICE) -> Iterator[None]:
    """Say in a sentence that another process has ended, or does not answer.

    Arguments:
        count: how many processes there are.
        advice: what to do then.

    Raises:
        InputError: in place of the error of the transport between processes.
    """
    try:
        yield
    except RuntimeError as error:
        if count == 1 or not _of_transport(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"another of the {count} processes has ended or does not answer; {advice} ({reason})"
        ) from error


def _of_transport(error: RuntimeError) -> bool:
    words = str(error).lower()
    named = isinstance(error, torch.distributed.DistError)
    return named or any(word in words for word in TRANSPORTS)
