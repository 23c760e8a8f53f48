"""Quality of a model of digits: Fréchet distance in the features of a classifier, and obeyed labels.

The classifier is trained here, on MNIST's training images (about 6 minutes on 2 cores), and kept; its
features are the 128 numbers before its last layer. Real MNIST is found as `data=mnist` finds it.

    python benchmarks/quality.py runs/demo [runs/other ...] [--number 10000] [--steps 20]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

import scorefield as sf

KEPT = Path("runs/benchmark-classifier.safetensors")
EPOCHS, BATCH = 8, 256


class Classifier(nn.Module):
    """Six convolutions; `features` gives what the Fréchet distance is measured in."""

    def __init__(self):
        super().__init__()
        widths = [(1, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        layers: list[nn.Module] = []
        for first, out, stride in widths:
            conv = nn.Conv2d(first, out, 3, stride, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(out), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3))
        self.hidden, self.head = nn.Linear(128, 128), nn.Linear(128, 10)

    def features(self, x):
        return functional.relu(self.hidden(self.body(x)))

    def forward(self, x):
        return self.head(self.features(x))


def jittered(x):
    """Images turned, scaled and shifted a little, with the background filled in."""
    n = len(x)
    angle, scale = (torch.rand(n) - 0.5) * 0.35, 1 + (torch.rand(n) - 0.5) * 0.2
    matrix = torch.zeros(n, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos() * scale
    matrix[:, 1, 0], matrix[:, 0, 1] = angle.sin() * scale, -angle.sin() * scale
    matrix[:, :, 2] = (torch.rand(n, 2) - 0.5) * 0.2
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x + 1, grid, align_corners=False) - 1


def trained() -> Classifier:
    torch.manual_seed(0)
    model, data = Classifier().to(memory_format=torch.channels_last), sf.MNIST().load()
    steps = EPOCHS * (len(data) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        for part in torch.randperm(len(data)).split(BATCH)[: len(data) // BATCH]:
            x, label = data.batch(part)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(jittered(x).contiguous(memory_format=torch.channels_last))
            functional.cross_entropy(logits.float(), label, label_smoothing=0.05).backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        print(f"classifier: epoch {epoch + 1} of {EPOCHS}", flush=True)
    return model


def classifier() -> Classifier:
    model = Classifier()
    if not KEPT.exists():
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        weights = trained().state_dict()
        save_file({name: value.contiguous() for name, value in weights.items()}, KEPT)
    model.load_state_dict(load_file(KEPT))
    return model.eval()


@torch.no_grad()
def measured(model: Classifier, x):
    """Features (N, 128) in float64 and the class found (N,)."""
    parts = [model.features(part) for part in x.split(1000)]
    return torch.cat(parts).double(), torch.cat([model.head(part).argmax(1) for part in parts])


def frechet(a, b) -> float:
    """‖μ_a - μ_b‖² + tr(C_a + C_b - 2 (C_a C_b)^½), Heusel et al. 2017, eq. 6."""
    mean = (a.mean(0) - b.mean(0)).square().sum()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float(mean + cov_a.trace() + cov_b.trace() - 2 * cross)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    judge = classifier()
    train, test = sf.MNIST().load("train"), sf.MNIST().load("test")
    real, _ = measured(judge, train.batch(torch.arange(len(train)))[0])
    held_out, found = measured(judge, test.batch(torch.arange(len(test)))[0])
    accuracy = float((found == test.label).double().mean())
    # One number sets the unit: features are scaled to a total variance of 128 on the training images.
    unit = 128 / float(real.var(0).sum())
    print(
        f"classifier: {accuracy:.2%} of the test images; floor {unit * frechet(real, held_out):.3f}"
    )
    for run in asked.runs:
        model, begin = sf.load(run), time.perf_counter()
        x = model.sample(asked.number, steps=asked.steps)
        seconds = time.perf_counter() - begin
        stored = torch.from_numpy(model.spec.to_arrays(x)).permute(0, 3, 1, 2)
        features, found = measured(judge, model.spec.to_model(stored))
        labels = model.labels(asked.number)
        obeyed = (
            "" if labels is None else f", labels obeyed {(found == labels).double().mean():.2%}"
        )
        print(
            f"{run}: Fréchet distance {unit * frechet(real, features):.2f}{obeyed}; {asked.number} "
            f"samples, {asked.steps} steps of {type(model.recipe.sampling.sampler).__name__}, "
            f"{seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
