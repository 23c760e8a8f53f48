"""What the trainer costs beside the steps themselves.

    overhead   a step of the trainer against a bare loop of gather, draw, loss, clip, update and average
    saving     a checkpoint with its model and preview, as a share of a run of 5 minutes with one a minute
    resume     seconds from the command to the first step and to the twentieth, compiling apart
    size       a step, and the set-up, at 1,000 to 1,000,000 images

The trainer and the loop take turns in one process, and medians of ratios are given.

    python benchmarks/trainer.py [--only overhead …] [--rounds 9] [--eager]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

import scorefield as sf
from scorefield.training import Trainer
from scorefield.training.optimizers import build_optimizers

LONG = ["training.budget=1m steps", "training.checkpoint_every=1m steps"]
BATCH = 128
STEPS = 10  # a round of either


def words(asked: argparse.Namespace) -> list[str]:
    compiled = "off" if asked.eager else "on"
    return [f"training.batch={BATCH}", "training.precision=bf16", f"training.compile={compiled}"]


def bare(trainer: Trainer) -> Iterator[None]:
    """The loop that anyone would write for the same network, in the same way to compute."""
    recipe, training, engine = trainer.recipe, trainer.run.training, trainer.run.engine
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        denoiser = recipe.build(trainer.spec, trainer.run.denoiser.moments)
    network = denoiser.network
    engine.apply(network)
    optimizer = build_optimizers(network, training.optimizer, training.lr, training.weight_decay)
    averages = [p.detach().clone() for p in network.parameters()]
    generator, weights = torch.Generator().manual_seed(0), list(network.parameters())
    order = torch.randperm(len(trainer.run.data), generator=generator)
    for step in range(10**9):
        rows = order[torch.arange(step * BATCH, (step + 1) * BATCH) % len(order)]
        x0, label = trainer.run.data.batch(rows)
        with engine.autocast(torch.device("cpu")):
            loss = recipe.objective(denoiser, x0, generator=generator, label=label).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, training.clip)
        for each in optimizer:
            each.step()
            each.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 0.01)
        yield None


def begun(folder: Path, overrides: Sequence[str]) -> tuple[Trainer, Iterator[sf.Progress]]:
    """A trainer that has settled how to compute, and its walk."""
    trainer = Trainer(sf.find_recipe("mnist10k", [*LONG, *overrides]), folder)
    walk = (p for p in trainer if not p.note)
    next(walk)
    return trainer, walk


def timed(walk: Iterator[object], steps: int = STEPS) -> float:
    begin = time.perf_counter()
    list(islice(walk, steps))
    return (time.perf_counter() - begin) / steps


def overhead(asked: argparse.Namespace, folder: Path) -> None:
    trainer, walk = begun(folder / "run", words(asked))
    loop = bare(trainer)
    next(loop)
    found = [(timed(walk), timed(loop)) for _ in range(asked.rounds)]
    ours, theirs = (statistics.median(times) for times in zip(*found, strict=True))
    ratios = [a / b for a, b in found]
    print(
        f"overhead: trainer {BATCH / ours:.0f} images/s, bare loop {BATCH / theirs:.0f} "
        f"({trainer.run.engine}); time of a step {statistics.median(ratios):.3f} of the loop's "
        f"(quartiles {' to '.join(f'{q:.3f}' for q in statistics.quantiles(ratios)[::2])})"
    )


def saving(asked: argparse.Namespace, folder: Path) -> None:
    trainer, walk = begun(folder / "run", words(asked))
    timed(walk)
    times = []
    for _ in range(asked.rounds):
        timed(walk, 1)
        begin = time.perf_counter()
        trainer.save()
        times.append(time.perf_counter() - begin)
    each = statistics.median(times)
    print(f"saving: {1000 * each:.0f} ms each, {5 * each / 300:.2%} of 5 minutes with one a minute")


CLOCK = """
import sys, time
from scorefield.training import Trainer
from scorefield.training.optimizers import build_optimizers
loaded = time.time()
trainer = Trainer(None, sys.argv[1], resume=True)
opened = time.time()
walk = (p for p in trainer if not p.note)
seen = [next(walk)]
first = time.time()
seen += [next(walk) for _ in range(20)]
print(loaded, opened, first, 20 * 128 / (time.time() - first))
"""


def resume(asked: argparse.Namespace, folder: Path) -> None:
    trainer, walk = begun(folder / "run", words(asked))
    rate = BATCH / timed(walk, 20)
    trainer.save()
    walk.close()
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-c", CLOCK, str(folder / "run")],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, opened, first, again = map(float, done.stdout.split())
    print(
        f"resume: imports {loaded - begin:.1f} s, reading {opened - loaded:.1f} s, compiling and "
        f"the first step {first - opened:.1f} s; then {again:.0f} images/s, before it stopped {rate:.0f}"
    )


def size(asked: argparse.Namespace, folder: Path) -> None:
    counts = [10**3, 10**4, 10**5, 10**6]
    rng, runs = np.random.default_rng(0), {}
    for count in counts:
        file = folder / f"{count}.npy"
        np.save(file, rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8))
        begin = time.perf_counter()
        given = ["data=arrays", f"data.path={file}", "network.width=16", "training.compile=off"]
        _, walk = begun(folder / f"run-{count}", [*words(asked)[:2], *given])
        runs[count] = walk, time.perf_counter() - begin
    times = {count: [] for count in counts}
    for _ in range(asked.rounds):
        for count, (walk, _) in runs.items():
            times[count].append(timed(walk))
    least = statistics.median(times[counts[0]])
    for count, (_, begin) in runs.items():
        each = statistics.median(times[count])
        print(
            f"size: {count:9,} images: {1e6 * each / BATCH:.1f} µs an image ({each / least:.2f} of the "
            f"first), {begin:.1f} s to the first step"
        )


PARTS = {"overhead": overhead, "saving": saving, "resume": resume, "size": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", help="some parts")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    asked = parser.parse_args()
    for part in asked.only or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](asked, Path(folder))


if __name__ == "__main__":
    main()
