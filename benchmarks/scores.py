"""How both sides of samplers.py are scored: the same errors, and the same clock around the network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy import ndarray as Array

BUDGETS = (5, 8, 10, 15, 20, 30, 50)
# Shapes at which a sampler's own time is taken: many points of the plane, and a batch of images.
SHAPES = ((2048, 2), (64, 3, 32, 32))
CLOCKED_BUDGET = 20


# What glibc reads when a process starts: freed memory stays with it, for the next step.
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_MMAP_THRESHOLD_": str(2**30)}


def keep_memory() -> None:
    """Start this program anew with an allocator that keeps what is freed, as the command `scorefield` does.

    A batch of images costs several times the arithmetic of a step where each tensor's pages come anew
    from the system, and whether they do depends on what a process did before. Peers run in its
    processes and inherit it.
    """
    if any(name not in os.environ for name in KEPT):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**KEPT, **os.environ})


def read(folder: Path, name: str) -> dict[str, Array]:
    with np.load(folder / f"{name}.npz") as file:
        return dict(file)


def rms(x: Array, exact: Array) -> float:
    """The root of the mean squared difference, over samples and coordinates."""
    return float(np.sqrt(np.mean((x - exact) ** 2)))


def sliced_w2(x: Array, y: Array, directions: int = 128) -> float:
    """Sliced Wasserstein-2 distance of two sets of as many points, over fixed random directions.

    ( E_u W₂²(uᵀx, uᵀy) )^½ over ‖u‖ = 1: like rms, a distance for one coordinate.
    """
    u = np.random.default_rng(7).standard_normal((x.shape[1], directions))
    u /= np.linalg.norm(u, axis=0)
    return float(np.sqrt(np.mean((np.sort(x @ u, axis=0) - np.sort(y @ u, axis=0)) ** 2)))


def score(problem: dict[str, Array], x: Array, stochastic: bool) -> float:
    """In units of σ_data: RMS error to the exact end of the flow, or sliced W2 to exact draws."""
    if not np.isfinite(x).all():
        return float("inf")
    error = sliced_w2(x, problem["draws"]) if stochastic else rms(x, problem["x_0"])
    return error / float(problem["sigma_data"])


class Clock:
    """A function that counts its calls and the processor's seconds spent in them."""

    def __init__(self, function: Callable):
        self.function, self.calls, self.seconds = function, 0, 0.0

    def __call__(self, *args, **options):
        begin = time.process_time()
        out = self.function(*args, **options)
        self.seconds += time.process_time() - begin
        self.calls += 1
        return out

    def covering(self, function: Callable) -> Callable:
        """The function, whose time is the clocked one's too: it only says the same in other terms."""

        def run(*args):
            begin, before = time.process_time(), self.seconds
            out = function(*args)
            self.seconds = before + time.process_time() - begin
            return out

        return run


def net_seconds(run: Callable[[], Clock], repeats: int = 5) -> float:
    """Seconds an evaluation outside the network: the least of a few runs, after one to warm up.

    Of the processor, so that other work on the machine does not count; torch has one thread.
    """
    best = float("inf")
    for _ in range(repeats + 1):
        begin = time.process_time()
        clock = run()
        best = min(best, (time.process_time() - begin - clock.seconds) / clock.calls)
    return best
