"""Quality of a model of digits: Fréchet distance in the features of a classifier, and obeyed labels.

The classifier is the package's. Real MNIST is found as `data=mnist` finds it.

    python benchmarks/quality.py runs/demo [runs/other ...] [--number 10000] [--steps 10]
"""

from __future__ import annotations

import argparse
import time

import torch

import scorefield as sf
from scorefield.evaluation import Reference, find_features


def referred() -> tuple[Reference, float, float]:
    """The training images, the floor of the test images, and how many of these the classifier reads."""
    train, test = (sf.MNIST().load(split) for split in ("train", "test"))
    reference = Reference.of(find_features("digits"), train)
    x, label = test.batch(torch.arange(len(test)))
    seen = reference.look(x)
    accuracy = float((seen.logits.argmax(1) == label).double().mean())
    return reference, reference.distance(seen.features), accuracy


def judged(
    model: sf.Model, reference: Reference, number: int, steps: int | None = None
) -> tuple[float, float | None]:
    """The Fréchet distance of samples, and the share of their labels that is obeyed if there are any."""
    seen = reference.look(model.sample(number, steps=steps))
    labels = model.labels(number)
    obeyed = None if labels is None else float((seen.logits.argmax(1) == labels).double().mean())
    return reference.distance(seen.features), obeyed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--steps", type=int, help="the recipe's unless given")
    asked = parser.parse_args()
    reference, floor, accuracy = referred()
    print(f"classifier: {accuracy:.2%} of the test images; floor {floor:.3f}")
    for run in asked.runs:
        model, begin = sf.load(run), time.perf_counter()
        distance, obeyed = judged(model, reference, asked.number, asked.steps)
        seconds = time.perf_counter() - begin
        share = "" if obeyed is None else f", labels obeyed {obeyed:.2%}"
        print(
            f"{run}: Fréchet distance {distance:.2f}{share}; "
            f"{asked.number} samples, {asked.steps or model.sampling.steps} steps of "
            f"{type(model.recipe.sampling.sampler).__name__}, drawn and judged in {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
