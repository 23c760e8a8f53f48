"""Quality of a model of digits: Fréchet distance in the features of a classifier, and obeyed labels.

The classifier is the package's. Real MNIST is found as `data=mnist` finds it.

    python benchmarks/quality.py runs/demo [runs/other ...] [--number 10000] [--steps 20]
"""

from __future__ import annotations

import argparse
import time

import torch

import scorefield as sf
from scorefield.data.base import Data
from scorefield.evaluation import digit_features, frechet_distance


def images(data: Data) -> torch.Tensor:
    """All images as people keep them, uint8 (N, H, W, 1)."""
    return data.stored(torch.arange(len(data))).movedim(1, -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    train, test = (sf.MNIST().load(split) for split in ("train", "test"))
    real, _ = digit_features(images(train))
    held_out, logits = digit_features(images(test))
    accuracy = float((logits.argmax(1) == test.label).double().mean())
    # One number sets the unit: features are scaled to a total variance of 128 on the training images.
    unit = 128 / float(real.var(0).sum())
    floor = unit * frechet_distance(real, held_out)
    print(f"classifier: {accuracy:.2%} of the test images; floor {floor:.3f}")
    for run in asked.runs:
        model, begin = sf.load(run), time.perf_counter()
        x = model.sample(asked.number, steps=asked.steps)
        seconds = time.perf_counter() - begin
        features, logits = digit_features(torch.from_numpy(model.spec.to_arrays(x)))
        labels = model.labels(asked.number)
        obeyed = (
            ""
            if labels is None
            else f", labels obeyed {(logits.argmax(1) == labels).double().mean():.2%}"
        )
        print(
            f"{run}: Fréchet distance {unit * frechet_distance(real, features):.2f}{obeyed}; "
            f"{asked.number} samples, {asked.steps} steps of "
            f"{type(model.recipe.sampling.sampler).__name__}, {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
