"""Scorefield's samplers against diffusers' and k-diffusion's, on problems with exact answers.

Error against evaluations, from the same x_T, counted at the denoiser; and each sampler's own time. Every
sampler of the catalog with a fixed number of evaluations takes part, and ours calibrated on other noise.
The peers run in an environment of their own, .venv-peers, made on the first run (1 GB, a few minutes).

    python benchmarks/samplers.py [--out runs/samplers] [--count 2048] [--seed 0] [--only gmm2d ...]
    python benchmarks/samplers.py --reuse     the problems and the peers' answers of the last run

Writes problems, peers.json, ours.json, tables.md and samplers.png to the folder, and prints the tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import itertools
import json
import subprocess
import time
from functools import partial
from pathlib import Path

import tables
import torch
from peers_environment import environment
from problems import PROBLEMS
from scores import BUDGETS, CLOCKED_BUDGET, SHAPES, Clock, keep_memory, net_seconds, read, score

from scorefield.core.ddpm import DDPM
from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import MixtureDenoiser
from scorefield.errors import InputError
from scorefield.recipes.catalog import GRIDS, SAMPLERS
from scorefield.samplers.base import Sampler, sample
from scorefield.samplers.calibration import calibrate
from scorefield.samplers.noise import unseeded

HERE = Path(__file__).parent
OTHER_GRIDS = ("log-snr", "karras")
OURS = "gaussian-residual"
CALIBRATING, MOST_CALIBRATED = 512, 20  # samples of a calibration, and evaluations


def run_peers(folder: Path, names: list[str], count: int, seed: int) -> None:
    python = environment()
    seeded = ["--seed", str(seed), "--only", *names]
    problems = [python, HERE / "problems.py", folder, "--count", str(count), *seeded]
    subprocess.run(problems, check=True)
    subprocess.run([python, HERE / "peers.py", folder, folder / "peers.json", *seeded], check=True)


def variants(names: list[str]) -> dict[str, Sampler]:
    """Samplers of the catalog on their own grid and two others, in each order one can choose."""
    out = {}
    for name in names:
        kind = SAMPLERS[name]
        grids = {"own": kind().grid, **{grid: GRIDS[grid]() for grid in OTHER_GRIDS}}
        grids = {key: grid for key, grid in grids.items() if key == "own" or grid != grids["own"]}
        fields = {field.name for field in dataclasses.fields(kind) if field.init}
        orders = sorted({2, 3, kind().order}) if "order" in fields else (None,)
        for order, (where, grid) in itertools.product(orders, grids.items()):
            sampler = kind(grid=grid, **({} if order is None else {"order": order}))
            # An adaptive sampler has no number of evaluations to be compared at.
            if sampler.evaluations_per_step > 0:
                out[" ".join([name, *([str(order)] if order else []), where])] = sampler
    return out


def walk(denoiser: Denoiser, x: torch.Tensor, sampler: Sampler, budget: int, seed: int):
    """The samples and the clock of a run with as many steps as the budget of evaluations allows."""
    steps = (budget - 1) // sampler.evaluations_per_step + 1
    while True:
        clock = denoiser.forward = Clock(type(denoiser).forward.__get__(denoiser))
        noise = unseeded(torch.Generator().manual_seed(seed))
        x0 = sample(denoiser, x, sampler, steps, noise=noise)
        if clock.calls <= budget or steps == 1:
            return x0, clock
        steps -= 1  # on some grids, n steps need more


def solved(problem, samplers: dict[str, Sampler], seed: int) -> dict:
    """Errors, or the reason that there is none, by sampler and budget."""
    schedule = DDPM()
    parts = (torch.from_numpy(problem[key]) for key in ("weights", "means", "covariances"))
    denoiser = MixtureDenoiser(schedule, *parts)
    x = torch.from_numpy(problem["x_T"]) * schedule.alpha(torch.ones((), dtype=torch.float64))
    rows: dict[str, dict] = {}
    for name, sampler in samplers.items():
        errors = {str(b): judged(problem, denoiser, x, sampler, b, seed) for b in BUDGETS}
        rows[name] = {"stochastic": sampler.stochastic, "errors": errors}
    if any(name.startswith(OURS) for name in samplers):
        chosen = {b: calibrated(denoiser, x, b, seed) for b in BUDGETS if b <= MOST_CALIBRATED}
        errors = {str(b): judged(problem, denoiser, x, s, b, seed) for b, s in chosen.items()}
        rows[f"{OURS}-calibrated"] = {"stochastic": False, "errors": errors}
    return rows


def judged(
    problem, denoiser: Denoiser, x: torch.Tensor, sampler: Sampler, budget: int, seed: int
) -> dict:
    """The error of a sampler at a budget, or the reason that there is none."""
    try:
        x0, clock = walk(denoiser, x, sampler, budget, seed)
    except InputError as reason:
        return {"failed": str(reason)}
    error = score(problem, x0.numpy(), sampler.stochastic)
    return {"error": error, "evaluations": clock.calls}


def calibrated(denoiser: Denoiser, x: torch.Tensor, budget: int, seed: int) -> Sampler:
    """Ours, fitted to the problem on noise that nothing is measured from."""
    draw = torch.Generator().manual_seed(seed + 1000)
    noise = torch.randn(CALIBRATING, *x.shape[1:], generator=draw, dtype=x.dtype)
    start = denoiser.schedule.sigma(torch.ones((), dtype=torch.float64))
    *_, last = calibrate(denoiser, start * noise, budget)
    return last.sampler


class Halving(Denoiser):
    """A network that takes no time, for the time that a sampler takes itself."""

    def forward(self, x, t, **cond):
        return 0.5 * x


def timeless(shape: tuple[int, ...]) -> Denoiser:
    """`Halving` for states of this shape, with moments where the library knows of them."""
    denoiser = Halving(DDPM())
    if importlib.util.find_spec("scorefield.core.moments"):
        from scorefield.core.moments import white_moments

        denoiser.moments = white_moments((0.0,), 0.5, shape[1:])
    return denoiser


def overheads(samplers: dict[str, Sampler]) -> dict[str, dict[str, float]]:
    """Seconds an evaluation outside the network, by sampler and shape."""
    out: dict[str, dict[str, float]] = {}
    for name, sampler in samplers.items():
        out[name] = {}
        for shape in SHAPES:
            x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
            run = partial(walk, timeless(shape), x, sampler, CLOCKED_BUDGET, 0)
            try:
                out[name]["x".join(map(str, shape))] = net_seconds(lambda run=run: run()[1])
            except InputError as reason:
                print(f"{name} has no time of its own: {reason}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/samplers"))
    parser.add_argument("--count", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    parser.add_argument("--reuse", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    if not asked.reuse:
        run_peers(asked.out, asked.only, asked.count, asked.seed)
    samplers = variants(asked.samplers)
    ours: dict[str, dict] = {"problems": {}, "floor": {}}
    for name in asked.only:
        begin, problem = time.perf_counter(), read(asked.out, name)
        ours["problems"][name] = solved(problem, samplers, asked.seed)
        # The exact flow's ends are exact draws, too.
        ours["floor"][name] = score(problem, problem["x_0"], stochastic=True)
        print(f"Scorefield on {name}: {time.perf_counter() - begin:.0f} s", flush=True)
    ours["overheads"] = overheads(samplers)
    (asked.out / "ours.json").write_text(json.dumps(ours, indent=1))
    peers = json.loads((asked.out / "peers.json").read_text())
    tables.write(asked.out, peers, ours, asked.only)


if __name__ == "__main__":
    keep_memory()
    main()
