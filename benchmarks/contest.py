"""What every contestant of the comparison side by side does alike: it trains or samples by the clock.

Imports nothing but numpy, since it runs in each contestant's own environment.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_type_hints

import numpy as np

MOST = 10_000  # samples that are enough
LENT = "scorefield-unlabelled"  # whose network k-diffusion samples


@dataclass(frozen=True)
class Task:
    """What one process is to do.

    Arguments:
        stage: 'train', or the way to sample: 'compared' or 'own'.
        name: the contestant.
        folder: of the whole comparison; the contestant's own is in it.
        seconds: of training, or of sampling; a batch that was begun is finished.
        evaluations: of the network for each sample, where the way is 'compared'.
        batch: samples at once.
        data: the preset whose images are trained on.
        launched: when the process was started, in seconds since 1970.
    """

    stage: str
    name: str
    folder: Path
    seconds: float
    evaluations: int
    batch: int
    data: str
    launched: float

    @property
    def home(self) -> Path:
        """The contestant's own folder."""
        return self.folder / self.name

    def words(self) -> list[str]:
        """What `task` reads back from a command line."""
        return [str(getattr(self, field.name)) for field in fields(self)]

    def report(self, **found: object) -> None:
        """Keep what was found, and the largest memory so far, where side_by_side.py looks for it."""
        found["memory_mb"] = peak_mb()
        (self.home / f"{self.stage}.json").write_text(json.dumps(found), encoding="utf-8")


def task() -> Task:
    """The task on the command line."""
    parser = argparse.ArgumentParser()
    for field in fields(Task):
        parser.add_argument(field.name, type=get_type_hints(Task)[field.name])
    asked = Task(**vars(parser.parse_args()))
    asked.home.mkdir(parents=True, exist_ok=True)
    return asked


def peak_mb() -> float:
    """The most memory that this process has had resident, in MB.

    Where there is /proc, since getrusage counts what the parent had before this program began.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        unit = 1024**2 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def train(task: Task, step: Callable[[int, float], None], **about: object) -> None:
    """Take steps until the time is over, and report when each ended.

    Arguments:
        task: with the seconds.
        step: one step, given its number from 0 and the share of the time that is over.
        about: more to report.
    """
    built, ends = time.time(), [0.0]
    begin = time.perf_counter()
    while ends[-1] < task.seconds:
        step(len(ends) - 1, ends[-1] / task.seconds)
        ends.append(time.perf_counter() - begin)
    task.report(start_seconds=built - task.launched + ends[1], ends=ends[1:], **about)


def draw(task: Task, sample: Callable[[int], np.ndarray], evaluations: Callable[[], int]) -> None:
    """Draw batches until the time is over or there are enough, keep them and report on them.

    Arguments:
        task: with the seconds and the batch.
        sample: that many images, uint8 (N, H, W, C).
        evaluations: calls of the network so far, each with a whole batch.
    """
    images, ends, begin = [], [], time.perf_counter()
    while not ends or (ends[-1] < task.seconds and task.batch * len(ends) < MOST):
        images.append(sample(task.batch))
        ends.append(time.perf_counter() - begin)
    np.savez_compressed(task.home / f"{task.stage}.npz", x=np.concatenate(images))
    task.report(
        count=task.batch * len(ends),
        batch=task.batch,
        ends=ends,
        evaluations=evaluations() / len(ends),
    )


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Images of numbers from 0 to 1, as uint8; shape (N, C, H, W) becomes (N, H, W, C)."""
    return (np.clip(x, 0, 1) * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
