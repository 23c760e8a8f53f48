"""Bits a dimension of MNIST after a budget: VP and sub-VP, with likelihood weighting and without.

Each way trains the default network for the same time, without labels and on uniformly dequantised images;
then `scorefield likelihood` takes test images: the flow of the model, uniform dequantisation, 784 numbers.
All paths begin at the same noise, σ/α = 0.001 where pixels lie in [-1, 1]: an eighth of a grey level.

    python benchmarks/likelihood_records.py [--budget 30m] [--number 500] [--ways VP ...]
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

COMMON = ("network.conditional=false", "sampling.guidance=null", "augmentation.dequantise=true")
VP = ("schedule={kind: vp, t_min: 1e-5}",)
SUB_VP = ("schedule={kind: subvp, t_min: 6.15e-3}",)
PLAIN = ("objective.times=uniform",)
WEIGHTED = ("objective.times=importance", "objective.weighting=likelihood")
BOUND = ("objective.times=uniform-log-snr", "objective.weighting=snr")
WAYS: dict[str, tuple[str, ...]] = {
    "VP": (*VP, *PLAIN),
    "VP, likelihood weighting": (*VP, *WEIGHTED),
    "sub-VP": (*SUB_VP, *PLAIN),
    "sub-VP, likelihood weighting": (*SUB_VP, *WEIGHTED),
    "VP, likelihood weighting over log-SNR": (*VP, *BOUND),
}


def scorefield(*words: str | Path) -> str:
    ask = [sys.executable, "-m", "scorefield", *map(str, words)]
    return subprocess.run(ask, check=True, stdout=subprocess.PIPE, text=True).stdout


def found(run: Path, words: tuple[str, ...], budget: str, number: int) -> dict:
    """What the command says of a run, trained as far as it is not yet."""
    scorefield("train", "mnist", *COMMON, *words, "--budget", budget, "--resume", "-o", run)
    *_, last = scorefield(
        "likelihood", run, "-n", str(number), "--batch", "50", "--json"
    ).splitlines()
    return json.loads(last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="30m")
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("runs/likelihood"))
    asked = parser.parse_args()
    rows = []
    for way in asked.ways:
        run = asked.out / f"{asked.budget}-{way.replace(',', '').replace(' ', '-')}"
        facts = found(run, WAYS[way], asked.budget, asked.number)
        print(way, facts, flush=True)
        bits = f"{facts['bits_per_dim']:.3f} ± {facts['bits_error']:.3f}"
        cells = (
            f"{facts['solver_error']:.2g}",
            facts["evaluations"],
            f"{facts['seconds_each']:.2f}",
        )
        rows.append([way, bits, *map(str, cells)])
    heads = ["bits a dimension", "solver, nats", "evaluations", "seconds an image"]
    text = table([f"after {asked.budget}", *heads], rows)
    (asked.out / "likelihood.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
