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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--steps", type=int, help="the recipe's unless given")
    asked = parser.parse_args()
    train, test = (sf.MNIST().load(split) for split in ("train", "test"))
    reference = Reference.of(find_features("digits"), train)
    x, label = test.batch(torch.arange(len(test)))
    seen = reference.look(x)
    accuracy = float((seen.logits.argmax(1) == label).double().mean())
    floor = reference.distance(seen.features)
    print(f"classifier: {accuracy:.2%} of the test images; floor {floor:.3f}")
    for run in asked.runs:
        model, begin = sf.load(run), time.perf_counter()
        steps = asked.steps or model.sampling.steps
        x = model.sample(asked.number, steps=steps)
        seconds = time.perf_counter() - begin
        seen, labels = reference.look(x), model.labels(asked.number)
        read = seen.logits.argmax(1)
        obeyed = "" if labels is None else f", labels obeyed {(read == labels).double().mean():.2%}"
        print(
            f"{run}: Fréchet distance {reference.distance(seen.features):.2f}{obeyed}; "
            f"{asked.number} samples, {steps} steps of "
            f"{type(model.recipe.sampling.sampler).__name__}, {seconds:.0f} s"
        )


if __name__ == "__main__":
    main()
