"""Training speed: the same network trained the plain way, and as the trainer runs it.

The plain way is fp32, eager, contiguous, with AdamW as torch gives it; the others have the trainer's. The
ways are timed in turn, round after round in one process, and medians compared, so that a machine that
slows down slows all of them. Compile time is apart.

    python benchmarks/training_speed.py [--batch 128] [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import scorefield as sf
from scorefield.nets.engine import Engine
from scorefield.recipes import find_recipe
from scorefield.training.optimizers import build_optimizers

PLAIN = Engine()
WAYS = {
    "plain: fp32, contiguous, eager": PLAIN,
    "fp32, channels-last, eager": Engine(channels_last=True),
    "bf16, channels-last, eager": Engine("bf16", channels_last=True),
    "bf16, channels-last, compiled": Engine("bf16", channels_last=True, compiled=True),
}


class Subject:
    """A recipe's network, loss and AdamW, computing in one way."""

    def __init__(self, recipe: sf.Recipe, engine: Engine, batch: int):
        torch.manual_seed(0)
        self.recipe, self.engine = recipe, engine
        spec = sf.DataSpec((1, 28, 28), classes=10, sigma_data=0.6)
        self.denoiser = recipe.build(spec)
        self.optimizers = (
            [torch.optim.AdamW(self.denoiser.network.parameters(), 1e-4)]
            if engine == PLAIN
            else build_optimizers(self.denoiser.network, "adamw", 1e-4, 0.0)
        )
        engine.apply(self.denoiser.network)
        self.x0 = torch.randn(batch, 1, 28, 28) * 0.6
        self.label = torch.arange(batch) % 10
        self.generator = torch.Generator().manual_seed(0)
        begin = time.perf_counter()
        self.step()
        self.first = time.perf_counter() - begin

    def step(self) -> float:
        begin = time.perf_counter()
        with self.engine.autocast(torch.device("cpu")):
            loss = self.recipe.objective(
                self.denoiser, self.x0, generator=self.generator, label=self.label
            )
        loss.mean().backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    print(
        f"batch {asked.batch}, {torch.get_num_threads()} threads, median of {asked.rounds} rounds"
    )
    for name, override in (("UNet (default)", "network=unet"), ("ScoreNet", "network=scorenet")):
        recipe = find_recipe("mnist", [override])
        subjects = {way: Subject(recipe, engine, asked.batch) for way, engine in WAYS.items()}
        times = {way: [] for way in WAYS}
        for _ in range(asked.rounds):
            for way, subject in subjects.items():
                times[way].append(statistics.median(subject.step() for _ in range(3)))
        plain = statistics.median(times[next(iter(WAYS))])
        network = next(iter(subjects.values())).denoiser.network
        print(f"\n{name}, {sum(p.numel() for p in network.parameters()):,} parameters")
        for way, found in times.items():
            median = statistics.median(found)
            note = f"  (first step {subjects[way].first:.0f} s)" if WAYS[way].compiled else ""
            print(f"  {way:32} {asked.batch / median:7.0f} images/s  {plain / median:5.2f}×{note}")


if __name__ == "__main__":
    main()
