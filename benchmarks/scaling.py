"""How memory and time of a loss with its gradients, and of sampling, grow with images and pixels.

Every setting has a process of its own, so that its peak of memory is its own; what smaller ones predict
not to fit is left out. To gradients and to sampling, cost = fixed + c pixels^p is fitted; p is 1 where
growth is linear. Writes scaling.md and scaling.png. A batch is drawn at once, however large; left to itself
sampling takes so many at once as the cache holds, and its memory is bounded.

    python benchmarks/scaling.py [--out folder] [--seconds 280]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tables import table

SIDES = (8, 16, 32, 64, 128)
BATCHES = (1, 8, 64, 512)
WORK = ("gradients", "sampling")
EVALUATIONS = 4
KINDS = ("seconds", "megabytes")


def measured(work: str, side: int, batch: int) -> dict:
    """Seconds of one piece of work after a first, and what it adds to the peak of memory, in MB."""
    import torch

    import scorefield as sf
    from scorefield.cli.memory import keep_memory
    from scorefield.models import Computing, Model
    from scorefield.recipes import find_recipe

    keep_memory()  # as the command line does
    torch.manual_seed(0)
    spec = sf.DataSpec((3, side, side), sigma_data=0.5)
    recipe = find_recipe("mnist").fitted(spec)
    denoiser = recipe.build(spec)
    before = peak()
    if work == "sampling":
        denoiser.eval().requires_grad_(False)
        model = Model(denoiser, recipe, spec, 0, Computing("auto", "off"))

        def run() -> None:
            model.sample(batch, sampler=sf.DDIM(), steps=EVALUATIONS, batch=batch)

    else:
        x0, generator = torch.randn(batch, *spec.shape), torch.Generator().manual_seed(0)

        def run() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                recipe.objective(denoiser, x0, generator=generator).mean().backward()

    times = [timed(run)]
    while len(times) < 3 or (sum(times) < 0.5 and len(times) < 20):
        times.append(timed(run))
    return {"seconds": statistics.median(times[1:]), "megabytes": peak() - before}


def timed(run) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponent(sizes: list[int], costs: list[float]) -> float:
    """p of cost = fixed + c size^p, by least squares of relative errors; the fixed cost is not below 0.

    Arguments:
        sizes: pixels of a batch.
        costs: seconds or megabytes.
    """
    x, y = np.asarray(sizes, float), np.asarray(costs, float)

    def misfit(p: float) -> float:
        columns = np.stack([np.ones_like(x), x**p]) / y
        fixed, _ = np.linalg.lstsq(columns.T, np.ones_like(y), rcond=None)[0]
        columns = columns if fixed > 0 else columns[1:]
        found = np.linalg.lstsq(columns.T, np.ones_like(y), rcond=None)[0]
        return float(np.square(found @ columns - 1).sum())

    return float(min(np.arange(0.4, 2.51, 0.01), key=misfit))


def settings() -> list[tuple[str, int, int]]:
    return [(work, side, batch) for work in WORK for side in SIDES for batch in BATCHES]


def fits(work: str, pixels: int, rows: list[dict], total: float) -> bool:
    """Whether the largest setting so far predicts less than two thirds of the memory."""
    known = max((r for r in rows if r["work"] == work), key=lambda r: r["pixels"], default=None)
    return known is None or known["megabytes"] / known["pixels"] * pixels < 2 / 3 * total


def collected(seconds: float) -> list[dict]:
    """All settings, the small ones first, as long as there is time."""
    begin, rows = time.monotonic(), []
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    for work, side, batch in sorted(settings(), key=lambda s: s[1] ** 2 * s[2]):
        pixels = side * side * batch
        if not fits(work, pixels, rows, total) or time.monotonic() - begin > seconds:
            print(f"{work}, {side}×{side}, batch {batch}: left out", flush=True)
            continue
        words = [sys.executable, __file__, "--one", work, str(side), str(batch)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        rows.append({"work": work, "side": side, "batch": batch, "pixels": pixels, **found})
        print(rows[-1], flush=True)
    return rows


def summary(rows: list[dict]) -> str:
    """The exponents, and every setting."""
    fitted = []
    for work in WORK:
        some = sorted((r for r in rows if r["work"] == work), key=lambda r: r["pixels"])
        sizes = [r["pixels"] for r in some]
        fitted.append([work, *(f"{exponent(sizes, [r[k] for r in some]):.2f}" for k in KINDS)])
    body = [
        [r["work"], f"{r['side']}×{r['side']}", str(r["batch"]), *(f"{r[k]:.3g}" for k in KINDS)]
        for r in rows
    ]
    return "\n\n".join(
        [
            table(["exponent in pixels of a batch", "time", "memory"], fitted),
            table(["work", "image", "batch", "seconds", "MB more"], body),
        ]
    )


def figure(path: Path, rows: list[dict]) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    plot, grid = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, kind in zip(grid, KINDS, strict=True):
        for work, marker in zip(WORK, "os", strict=True):
            for side in SIDES:
                some = [r for r in rows if (r["work"], r["side"]) == (work, side)]
                xs, ys = [r["pixels"] for r in some], [r[kind] for r in some]
                label = f"{work}, {side}×{side}"
                axes.loglog(xs, ys, marker, ls="-", alpha=0.7, label=label)
        ends = np.array([min(r["pixels"] for r in rows), max(r["pixels"] for r in rows)])
        axes.loglog(ends, ends * max(r[kind] for r in rows) / ends[1], "k:", label="linear")
        axes.set_xlabel("pixels in a batch")
        axes.set_ylabel(kind)
    grid[0].legend(fontsize=6)
    plot.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=280)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        work, side, batch = asked.one
        print(json.dumps(measured(work, int(side), int(batch))))
        return
    asked.out.mkdir(parents=True, exist_ok=True)
    rows = collected(asked.seconds)
    text = summary(rows)
    (asked.out / "scaling.md").write_text(text + "\n")
    figure(asked.out / "scaling.png", rows)
    print(text)


if __name__ == "__main__":
    main()
