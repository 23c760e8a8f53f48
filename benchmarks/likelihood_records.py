"""Bits a dimension of MNIST after a budget: VP and sub-VP, with likelihood weighting and without.

Each way trains the preset `mnist-likelihood` for the same time, without labels and on uniformly dequantised
images, with what is said here changed; then `scorefield likelihood` takes test images: the flow of the
model, uniform dequantisation, 784 numbers. But for the preset itself all paths begin at the same noise,
σ/α = 0.001 where pixels lie in [-1, 1]: an eighth of a grey level, which costs 0.14 bits a dimension.

    python benchmarks/likelihood_records.py [--budget 30m] [--number 1000] [--ways record ...]
        [--out runs/likelihood]

Runs that are there are measured again, not trained again. Writes likelihood.md to the folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from tables import table

# At a tolerance of 1e-3 the solver's error is 0.01 bits a dimension and more.
FINE = ("--rtol", "1e-4", "--atol", "1e-4")
# Where VP and sub-VP have that noise left. Uniform times see none of the preset's levels below it.
VP = ("schedule.t_min=1e-5", "marginal.pieces=16")
SUB_VP = ("schedule={kind: subvp, t_min: 6.15e-3}", "marginal.pieces=16")
PLAIN = ("objective.times=uniform", "objective.weighting=unit")
WEIGHTED = ("objective.times=importance", "objective.weighting=likelihood")
NARROWER = ("objective.times={kind: log-normal, mean: -1.7, std: 1.6}",)
WAYS: dict[str, tuple[str, ...]] = {
    "record": (),
    "blurred": (*VP, *NARROWER),
    "bare": (*VP, *NARROWER, "marginal.pieces=0"),
    "vp": (*VP, *PLAIN),
    "vp-weighted": (*VP, *WEIGHTED),
    "subvp": (*SUB_VP, *PLAIN),
    "subvp-weighted": (*SUB_VP, *WEIGHTED),
    "bound": (*VP, "objective.times=uniform-log-snr"),
}
WORDS = {
    "record": "the preset: VP, σ/α log-normal and down to 3e-5, with the law of single numbers",
    "blurred": "VP, σ/α log-normal, the weight of the bound",
    "bare": "the same without the law of single numbers",
    "vp": "VP, times uniform, no weight",
    "vp-weighted": "VP, likelihood weighting, times by importance",
    "subvp": "sub-VP, times uniform, no weight",
    "subvp-weighted": "sub-VP, likelihood weighting, times by importance",
    "bound": "VP, the weight of the bound with every log-SNR alike",
}


def scorefield(*words: str | Path) -> str:
    ask = [sys.executable, "-m", "scorefield", *map(str, words)]
    return subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True).stdout


def found(run: Path, words: tuple[str, ...], budget: str, number: int) -> dict:
    """What the command says of a run, trained as far as it is not yet."""
    scorefield("train", "mnist-likelihood", *words, "--budget", budget, "--resume", "-o", run)
    *_, last = scorefield(
        "likelihood", run, "-n", str(number), *FINE, "--batch", "50", "--json"
    ).splitlines()
    return json.loads(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("runs/likelihood"))
    asked = parser.parse_args()
    rows = []
    for way in asked.ways:
        run = asked.out / f"{asked.budget}-{way}"
        facts = found(run, WAYS[way], asked.budget, asked.number)
        print(way, facts, flush=True)
        bits = f"{facts['bits_per_dim']:.3f} ± {facts['bits_error']:.3f}"
        cells = (
            f"{facts['solver_error']:.2g}",
            facts["evaluations"],
            f"{facts['seconds_each']:.2f}",
        )
        rows.append([WORDS[way], bits, *map(str, cells)])
    heads = ["bits a dimension", "solver, nats", "evaluations", "seconds an image"]
    text = table([f"after {asked.budget}", *heads], rows)
    (asked.out / "likelihood.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
