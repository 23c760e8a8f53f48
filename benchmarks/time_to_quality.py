"""Time to quality: `scorefield train mnist --budget B` from nothing, then 10,000 samples judged.

Each run is a fresh folder and a process of its own; a run that is there already is judged again, not
trained again. Samples are drawn as the model's recipe says; the Fréchet distance is between the features
of the package's digit classifier on them and on the 60,000 training images.

    python benchmarks/time_to_quality.py [--budgets 5m 30m] [--seeds 0 1 2] [--out runs/quality]
        [--number 10000] [RECIPE OVERRIDES, such as training.lr=6e-3]

Writes quality.json and quality.md to the folder and prints the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from quality import judged, referred

import scorefield as sf
from scorefield.evaluation import Reference

COLUMNS = ("budget", "seed", "images seen", "evaluations", "Fréchet distance", "labels obeyed")


def trained(out: Path, budget: str, seed: int, words: list[str]) -> Path:
    """The folder of a run, trained as far as it is not yet."""
    run = out / f"{budget.replace(' ', '-')}-{seed}"
    ask = ["train", "mnist", *words, f"training.seed={seed}", "--budget", budget, "--resume"]
    subprocess.run([sys.executable, "-m", "scorefield", *ask, "-o", run], check=True)
    return run


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def compiling(run: Path) -> int | None:
    """Seconds of compiling that the run has noted; none if it was not compiled."""
    for line in lines(run):
        _, found, rest = line.get("note", "").partition("images/s, after ")
        if found:
            return int(rest.split()[0])
    return None


def found(run: Path, reference: Reference, number: int) -> dict:
    """What samples of a run are worth, and what they cost."""
    model, begin = sf.load(run), time.perf_counter()
    distance, obeyed = judged(model, reference, number)
    return {
        "images seen": max(line.get("images", 0) for line in lines(run)),
        "compiling, s": compiling(run),
        "evaluations": model.sampling.evaluations,
        "Fréchet distance": distance,
        "labels obeyed": obeyed,
        "drawn and judged, s": time.perf_counter() - begin,
    }


def obeyed(share: float | None) -> str:
    """The share of labels obeyed, where there are labels."""
    return "–" if share is None else f"{share:.2%}"


def table(rows: list[dict]) -> str:
    """The rows in Markdown, and below them the median of each budget."""
    out = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = {**row, "labels obeyed": obeyed(row["labels obeyed"])}
        cells["Fréchet distance"] = f"{row['Fréchet distance']:.2f}"
        out.append("| " + " | ".join(str(cells[c]) for c in COLUMNS) + " |")
    for budget in dict.fromkeys(row["budget"] for row in rows):
        of = [row for row in rows if row["budget"] == budget]
        distance = statistics.median(row["Fréchet distance"] for row in of)
        shares = [row["labels obeyed"] for row in of if row["labels obeyed"] is not None]
        share = obeyed(statistics.median(shares) if shares else None)
        out.append(f"| {budget} | median | | | {distance:.2f} | {share} |")
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--budgets", nargs="+", default=["5m"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--number", type=int, default=10_000)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    reference, floor, _ = referred()
    rows: list[dict] = []
    for budget in asked.budgets:
        for seed in asked.seeds:
            run = trained(asked.out, budget, seed, asked.words)
            rows.append({"budget": budget, "seed": seed, **found(run, reference, asked.number)})
            print(json.dumps(rows[-1], ensure_ascii=False), flush=True)
            (asked.out / "quality.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    text = f"Floor, test against training images: {floor:.3f}\n\n{table(rows)}"
    (asked.out / "quality.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
