"""Two processes of one thread against one process of two threads: images a second of the same run.

Each is a run of the trainer in processes of its own, started by torchrun; they take turns, and medians and
the median of the rounds' ratios are given. The first steps, and choosing how to compute, are not counted.

    python benchmarks/processes.py [--processes 2] [--batch 128] [--steps 40] [--rounds 5] [--compile]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SKIPPED = 5  # steps at the beginning that are not counted
RUN = """
import sys
from scorefield import Trainer, find_recipe
from scorefield.cli.memory import keep_memory
keep_memory()  # as the command line does
out, *words = sys.argv[1:]
trainer = Trainer(find_recipe("mnist10k", words), out, device="cpu")
walk = iter(trainer)
steps = [p for p in walk if not p.note]
taken = steps[-1].seconds - steps[SKIPPED - 1].seconds
if trainer.run.accelerator.is_main_process:
    print("rate", (steps[-1].images - steps[SKIPPED - 1].images) / taken)
"""


def rate(processes: int, threads: int, words: Sequence[str]) -> float:
    """Images a second of a new run.

    Arguments:
        processes: how many share each batch.
        threads: of each.
        words: overrides of the recipe.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "run.py"
        script.write_text(RUN.replace("SKIPPED", str(SKIPPED)), encoding="utf-8")
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        done = subprocess.run(
            [sys.executable, *launcher, str(script), f"{folder}/run", *words],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


def compared(processes: int, words: Sequence[str], rounds: int) -> tuple[list[float], list[float]]:
    """The rates of one process of many threads, and of as many processes of one, round after round."""
    one, many = [], []
    for _ in range(rounds):
        one.append(rate(1, processes, words))
        many.append(rate(processes, 1, words))
    return one, many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, help="of the network; the recipe's if not given")
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    words = [
        *(f"training.batch={asked.batch}", f"training.budget={asked.steps + SKIPPED}steps"),
        *("training.precision=bf16", f"training.compile={'on' if asked.compile else 'off'}"),
        *([f"network.width={asked.width}"] if asked.width else []),
    ]
    one, many = compared(asked.processes, words, asked.rounds)
    ratio = statistics.median(m / o for o, m in zip(one, many, strict=True))
    n = asked.processes
    print(
        f"1 process of {n} threads: {statistics.median(one):.0f} images/s\n"
        f"{n} processes of 1 thread: {statistics.median(many):.0f} images/s\n"
        f"ratio: {ratio:.2f} (median of {asked.rounds} rounds, batch {asked.batch})"
    )


if __name__ == "__main__":
    main()
