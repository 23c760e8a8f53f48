"""Sampling speed and memory of a trained model, in each way to compute.

The sampler is the model's, without guidance. Each way has a process of its own, for an honest peak of
memory. The first pass, where compiling happens, is apart; then come rounds, and medians of them. The table
is printed and written.

    python benchmarks/sampling_speed.py runs/demo [--rounds 5] [--out sampling_speed.md]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tables import table

WAYS = {
    "fp32, eager": ("fp32", "off"),
    "fp32, compiled": ("fp32", "on"),
    "bf16, eager": ("bf16", "off"),
    "bf16, compiled": ("bf16", "on"),
}
JOBS = {
    "100 in 20 evaluations, s": (100, 20),
    "1,000 in 10 evaluations, s": (1000, 10),
    "one in 10 evaluations, ms": (1, 10),
}
HEAD = ["way", *JOBS, "first pass, s", "peak memory, MB"]


def measured(run: str, precision: str, compiling: str, rounds: int) -> dict:
    """Seconds of each job in each round, of the first pass, and the peak of memory."""
    import scorefield as sf
    from scorefield.cli.memory import keep_memory

    keep_memory()  # as the command line does
    model = sf.load(run, precision=precision, compile=compiling)
    assert model.sampling.sampler.evaluations_per_step == 1, "the jobs are told in evaluations"
    guidance = None if model.sampling.guidance is None else 1.0

    def timed(n: int, steps: int, seed: int) -> float:
        begin = time.perf_counter()
        model.sample(n, steps=steps, guidance=guidance, seed=seed)
        return time.perf_counter() - begin

    # Every shape that will be met: a batch, and one alone.
    first = timed(model.batch, 1, 0) + timed(1, 1, 0)
    times = {name: [timed(*job, seed) for seed in range(rounds)] for name, job in JOBS.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"times": times, "first": first, "peak": peak}


def row(way: str, found: dict) -> list[str]:
    cells = []
    for name, times in found["times"].items():
        median = statistics.median(times)
        cells.append(f"{1e3 * median:.0f}" if name.endswith("ms") else f"{median:.2f}")
    return [way, *cells, f"{found['first']:.1f}", f"{found['peak']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("sampling_speed.md"))
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way:
        print(json.dumps(measured(asked.run, *WAYS[asked.way], asked.rounds)))
        return
    rows = []
    for way in WAYS:
        words = [sys.executable, __file__, asked.run, "--rounds", str(asked.rounds), "--way", way]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        rows.append(row(way, json.loads(done.stdout.splitlines()[-1])))
        print(*rows[-1], sep=" | ", flush=True)
    asked.out.write_text(table(HEAD, rows) + "\n")
    print(f"\n{asked.out.read_text()}")


if __name__ == "__main__":
    main()
