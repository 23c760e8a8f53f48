"""Training speed: the same network trained the plain way, and as the command line trains it.

The plain way is fp32, eager, contiguous, with AdamW and the allocation of memory as they come with torch;
the others have the trainer's AdamW, and memory that stays with the process. Each way has a process of its
own. They take turns, round after round, and medians are compared, so that a machine that slows down slows
all of them. Compile time is apart.

    python benchmarks/training_speed.py [--batch 128] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import torch

import scorefield as sf
from scorefield.cli.memory import keep_memory
from scorefield.nets.engine import Engine
from scorefield.training.optimizers import build_optimizers

PLAIN = "plain: fp32, contiguous, eager"
WAYS = {
    PLAIN: Engine(),
    "fp32, channels-last, eager": Engine(channels_last=True),
    "bf16, channels-last, eager": Engine("bf16", channels_last=True),
    "bf16, channels-last, compiled": Engine("bf16", channels_last=True, compiled=True),
}
NETWORKS = {"UNet (default)": "unet", "ScoreNet": "scorenet"}
TURN = 10  # steps
ALLOCATOR = ("MALLOC_", "GLIBC_", "THP_MEM_")  # variables that say what is done with freed memory


class Subject:
    """A network, its loss and AdamW, computing in one way."""

    def __init__(self, network: str, way: str, batch: int):
        torch.manual_seed(0)
        self.engine = WAYS[way]
        self.recipe = sf.find_recipe("mnist", [f"network={network}"])
        spec = sf.DataSpec((1, 28, 28), classes=10, sigma_data=0.6)
        self.denoiser = self.recipe.build(spec)
        weights = self.denoiser.network
        self.optimizers = (
            [torch.optim.AdamW(weights.parameters(), 1e-4)]
            if way == PLAIN
            else build_optimizers(weights, "adamw", 1e-4, 0.0)
        )
        self.engine.apply(weights)
        self.device = torch.device("cpu")
        self.x0 = torch.randn(batch, 1, 28, 28) * 0.6
        self.label = torch.arange(batch) % 10
        self.generator = torch.Generator().manual_seed(0)

    def step(self) -> float:
        begin = time.perf_counter()
        with self.engine.autocast(self.device):
            loss = self.recipe.objective(
                self.denoiser, self.x0, generator=self.generator, label=self.label
            )
        loss.mean().backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - begin


def work(network: str, way: str, batch: int) -> None:
    """Print the seconds of the first step, and those of a step for each line that comes in."""
    if way != PLAIN:
        keep_memory()
    subject = Subject(network, way, batch)
    print(subject.step(), flush=True)
    for _ in sys.stdin:
        print(statistics.median(subject.step() for _ in range(TURN)), flush=True)


class Worker:
    """A way, in a process of its own."""

    def __init__(self, network: str, way: str, batch: int):
        asked = ["--batch", str(batch), "--network", network, "--way", way]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(ALLOCATOR)}
        self.process = subprocess.Popen(
            [sys.executable, __file__, *asked],
            env=clean,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self.said()

    def said(self) -> float:
        return float(self.process.stdout.readline())

    def step(self) -> float:
        print(file=self.process.stdin, flush=True)
        return self.said()


def compared(network: str, batch: int, rounds: int) -> tuple[dict[str, float], float]:
    """The median seconds of a step each way, and of the first compiled one."""
    with ExitStack() as held:
        workers = {way: Worker(network, way, batch) for way in WAYS}
        for worker in workers.values():
            held.enter_context(worker.process)
        for worker in workers.values():
            worker.step()
        times = [{way: worker.step() for way, worker in workers.items()} for _ in range(rounds)]
    *_, compiled = workers.values()
    return {way: statistics.median(t[way] for t in times) for way in WAYS}, compiled.first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--network", choices=NETWORKS.values(), help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        work(asked.network, asked.way, asked.batch)
        return
    print(f"batch {asked.batch}, median of {asked.rounds} rounds")
    for name, network in NETWORKS.items():
        seconds, first = compared(network, asked.batch, asked.rounds)
        print(f"\n{name}; the first compiled step took {first:.0f} s")
        for way, median in seconds.items():
            ratio = seconds[PLAIN] / median
            print(f"  {way:32} {asked.batch / median:7.0f} images/s  {ratio:5.2f}×", flush=True)


if __name__ == "__main__":
    main()
