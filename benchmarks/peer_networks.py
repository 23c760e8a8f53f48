"""The samplers of diffusers and k-diffusion on a trained network; imports nothing of Scorefield.

Run by network_samplers.py, in the peers' environment. The network is an exported graph, (x, σ, label) ↦ x̂₀
in the frame x₀ + σε. Every setting is tried down to each of a few least noise levels, the network's own and
larger ones: the user's choice, and at few evaluations one that matters. All are tried from some starts; the
few that are best at a number of evaluations then go from all.

    python benchmarks/peer_networks.py FOLDER errors [--only DPM++2M ...]
    python benchmarks/peer_networks.py FOLDER draws        what FOLDER/wanted.json names
"""

from __future__ import annotations

import argparse
import json
import warnings
from importlib.metadata import version
from pathlib import Path

import diffusers
import numpy as np
import torch
from network_scores import BATCH, BUDGETS, distances, summary
from noise_levels import Levels, levels_between
from peer_solvers import CONFIGS, Config, walk
from scores import read

SCREEN = 32  # starts from which every setting is tried
FINALISTS = 6  # settings at each number of evaluations that go from all starts


def exported(folder: Path):
    """The network for a batch of labels: (x, σ) ↦ x̂₀, in the dtype of x."""
    network = torch.export.load(folder / "network.pt2").module()

    def of(label: torch.Tensor):
        def denoise(x, sigma):
            x0 = network(x.float(), torch.tensor(sigma, dtype=torch.float64), label)
            return x0.to(x.dtype)

        return denoise

    return of


def settings(levels: dict) -> dict[str, tuple[Config, Levels]]:
    """Every deterministic setting down to every least noise level."""
    out = {}
    for lowest in levels["lowest"]:
        chain = levels_between(lowest, levels["highest"])
        for name, config in CONFIGS.items():
            if not config.stochastic:
                out[f"{name} to {lowest:g}"] = (config, chain)
    return out


@torch.no_grad()
def ends(network, config: Config, levels: Levels, begin: dict, budget: int):
    """Where a setting leads from every start, and how many evaluations it took."""
    x, label = torch.from_numpy(begin["x_T"]), torch.from_numpy(begin["label"])
    parts, calls = [], 0
    for i in range(0, len(x), BATCH):
        part = slice(i, i + BATCH)
        x0, clock = walk(config, network(label[part]), levels, x[part].double(), budget, 0)
        parts.append(x0)
        calls = clock.calls
    return torch.cat(parts).numpy(), calls


def error(network, setting: tuple[Config, Levels], begin: dict, budget: int) -> dict:
    """A setting's error to the end of the flow, or why it has none."""
    try:
        x0, calls = ends(network, *setting, begin, budget)
    except Exception as reason:  # a peer's failure is a result
        return {"failed": f"{type(reason).__name__}: {reason}"}
    return summary(distances(x0, begin["x_0"])) | {"evaluations": calls}


def finalists(rows: dict, budget: int) -> list[str]:
    """The best of those within the budget, by any figure."""
    able = {n: r[str(budget)] for n, r in rows.items()}
    able = {n: c for n, c in able.items() if c.get("evaluations", budget + 1) <= budget}
    best: dict[str, None] = {}
    for what in ("rms", "mean", "median"):
        best |= dict.fromkeys(sorted(able, key=lambda n: able[n][what])[:FINALISTS])
    return list(best)


def errors(folder: Path, only: list[str]) -> dict:
    network, begin = exported(folder), read(folder, "few")
    every = settings(json.loads((folder / "levels.json").read_text()))
    every = {name: of for name, of in every.items() if any(word in name for word in only)}
    some = {key: value[:SCREEN] for key, value in begin.items()}
    screened = {
        name: {str(b): error(network, setting, some, b) for b in BUDGETS}
        for name, setting in every.items()
    }
    rows: dict[str, dict] = {name: {} for name in every}
    for budget in BUDGETS:
        for name in finalists(screened, budget):
            rows[name][str(budget)] = error(network, every[name], begin, budget)
    rows = {name: row for name, row in rows.items() if row}
    versions = {name: version(name) for name in ("diffusers", "k-diffusion", "torch")}
    return {"versions": versions, "screened": screened, "rows": rows}


def draw(folder: Path) -> None:
    network, begin = exported(folder), read(folder, "many")
    every = settings(json.loads((folder / "levels.json").read_text()))
    for budget, name in json.loads((folder / "wanted.json").read_text()):
        x0, _ = ends(network, *every[name], begin, budget)
        np.save(folder / f"peer-{budget}.npy", x0.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=("errors", "draws"))
    parser.add_argument("--only", nargs="+", default=[""])
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    diffusers.logging.set_verbosity_error()
    if asked.what == "errors":
        found = errors(asked.folder, asked.only)
        (asked.folder / "peers.json").write_text(json.dumps(found, indent=1))
    else:
        draw(asked.folder)


if __name__ == "__main__":
    main()
