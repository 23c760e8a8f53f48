"""How far every sampler is from the truth on every schedule, on a problem with an exact answer.

The data are a mixture of six Gaussians in the plane; the denoiser is exact, so all error is the
sampler's. The error is the sliced Wasserstein-2 distance between 4,000 samples and as many exact draws; the
floor is that of other exact draws. Printed as a Markdown table.

    python benchmarks/schedules_by_samplers.py [--evaluations 40]
"""

from __future__ import annotations

import argparse
import math

import torch

import scorefield as sf
from scorefield.recipes import CATALOG, from_dict
from scorefield.samplers.noise import unseeded

COUNT, DIRECTIONS = 4000, 64
OTHERS = 20  # exact draws that tell the floor
SDE_EVALUATIONS = 5  # samplers of the reverse SDE get so many times more
SLOW = ("ddpm", "euler-maruyama", "pc", "reverse-diffusion", "annealed-langevin")


def mixture(schedule: sf.Schedule) -> sf.MixtureDenoiser:
    """Six flat Gaussians around a circle."""
    angle = 2 * math.pi * torch.arange(6, dtype=torch.float64) / 6
    means = torch.stack([angle.cos(), angle.sin()], dim=1)
    outward = means[:, :, None] * means[:, None, :]
    covariances = 0.15**2 * outward + 0.05**2 * torch.eye(2, dtype=torch.float64)
    return sf.MixtureDenoiser(schedule, torch.ones(6), means, covariances)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Sliced Wasserstein-2 distance of two sets of as many points."""
    angle = math.pi * torch.arange(DIRECTIONS, dtype=torch.float64) / DIRECTIONS
    directions = torch.stack([angle.cos(), angle.sin()])
    gaps = (a @ directions).sort(0).values - (b @ directions).sort(0).values
    return float(gaps.square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=40)
    asked = parser.parse_args()
    schedules, samplers = CATALOG[sf.Schedule][1], CATALOG[sf.Sampler][1]
    generator = torch.Generator().manual_seed(0)
    exact = mixture(sf.VP()).draw(COUNT, generator)
    others = [mixture(sf.VP()).draw(COUNT, generator) for _ in range(OTHERS)]
    floors = sorted(distance(exact, other) for other in others)
    print(f"floor {floors[0]:.3f} to {floors[-1]:.3f} in {OTHERS} draws\n")
    print("| sampler (evaluations) | " + " | ".join(schedules) + " |")
    print("|---" * (len(schedules) + 1) + "|")
    for name, cls in samplers.items():
        sampler = cls()
        evaluations = asked.evaluations * (SDE_EVALUATIONS if name in SLOW else 1)
        adaptive = sampler.evaluations_per_step == 0
        rest = evaluations - sampler.extra_evaluations
        steps = 2 if adaptive else max(2, rest // sampler.evaluations_per_step)
        row = []
        for kind in schedules:
            schedule = from_dict(sf.Schedule, kind)
            denoiser = mixture(schedule)
            noise = unseeded(torch.Generator().manual_seed(1))
            x = schedule(1.0)[1] * noise(torch.empty(COUNT, 2, dtype=torch.float64))
            drawn = sf.sample(denoiser, x, sampler, steps, noise=noise)
            row.append(f"{distance(exact, drawn):.3f}")
        cost = "as many as it takes" if adaptive else evaluations
        print(f"| {name} ({cost}) | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
