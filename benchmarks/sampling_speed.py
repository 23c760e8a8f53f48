"""Sampling speed and memory of a trained model.

python benchmarks/sampling_speed.py runs/demo [--number 100] [--steps 20]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import scorefield as sf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    model = sf.load(asked.run)
    times = []
    for seed in range(4):
        begin = time.perf_counter()
        model.sample(asked.number, steps=asked.steps, seed=seed)
        times.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{asked.number} samples in {asked.steps} steps: {statistics.median(times[1:]):.2f} s after "
        f"warm-up ({times[0]:.2f} s the first time), peak memory {peak:.0f} MB"
    )


if __name__ == "__main__":
    main()
