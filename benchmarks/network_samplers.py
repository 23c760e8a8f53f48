"""Scorefield's samplers against diffusers' and k-diffusion's, on a trained network.

All get the same network (peers as an exported graph), the same starting noise and each sample the same
label. The truth is the network's own probability flow, solved by UniPC in many steps and held against
DPM-Solver++ in twice as many. Peers are tried in every deterministic setting down to three least noise
levels, the best of them from all starts; the best at each budget is what ours are measured by. A budget is
of evaluations of the guided network, each of which costs two of the network itself; where guidance ends
early one below that level costs half. Calibration is on other noise. The peers' environment, .venv-peers,
is made on the first run.

    python benchmarks/network_samplers.py runs/demo [--count 256] [--guidance 1.5] [--only UniPC lms ...]
    python benchmarks/network_samplers.py runs/demo --reuse           the peers' answers of the last run
    python benchmarks/network_samplers.py runs/demo --budgets 5 8     ours at some of the budgets only
    python benchmarks/network_samplers.py runs/mnist --fidelity 4992  and Fréchet distances, for MNIST only

Writes peers.json, ours.json and tables.md to the folder, and prints the tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from network_export import export
from network_scores import BATCH, BUDGETS, distances, summary
from peers_environment import environment
from scores import read
from tables import shown, table, times_as_large

import scorefield as sf
from scorefield.core.denoisers import Denoiser
from scorefield.evaluation import Reference, find_features
from scorefield.guidance.cfg import CFG
from scorefield.models.model import Model
from scorefield.samplers.base import Sampler, sample
from scorefield.samplers.calibration import calibrate
from scorefield.samplers.correctors import UniPC
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.residual import GaussianResidual

HERE = Path(__file__).parent
HIGHEST = 160.0  # where all start, on a path with more noise or no signal left
LOWEST = (0.03, 0.1)  # besides the model's own
TEACHER = 160
CALIBRATING = 512  # samples of a calibration

# Steps and the noise level σ/α where guidance ends, for each budget: as many evaluations of the network.
EARLY = {5: (6, 1.0), 8: (9, 0.45), 10: (11, 0.3)}

DEFAULT, CALIBRATED = "gaussian-residual, network", "gaussian-residual, calibrated"
ENDING = "gaussian-residual, calibrated, guidance ends early"
OURS: dict[str, Sampler] = {
    DEFAULT: GaussianResidual.for_networks(),
    "gaussian-residual, exact": GaussianResidual(final="denoise"),
    "unipc": UniPC(),
    "dpm++": DPMSolverPP(),
}


class Counted(Denoiser):
    """The network, and how many times it was asked."""

    def __init__(self, denoiser: Denoiser):
        super().__init__(denoiser.schedule, denoiser.moments)
        self.denoiser, self.calls = denoiser, 0

    def forward(self, x, t, **cond):
        self.calls += 1
        return self.denoiser(x, t, **cond)


class Doubled(Denoiser):
    """A float32 network for a sampler in float64, as the peers have it.

    Arguments:
        denoiser: the model as it is sampled.
        network: what is counted of it.
        cost: how many times the network is asked in an evaluation that a budget counts.
    """

    def __init__(self, denoiser: Denoiser, network: Counted, cost: int):
        super().__init__(denoiser.schedule, denoiser.moments)
        self.denoiser, self.network, self.cost = denoiser, network, cost

    def forward(self, x, t, **cond):
        return self.denoiser(x.float(), t, **cond).to(x.dtype)


def led(model: Model, guidance: float | None) -> Doubled:
    """The model under guidance, the recipe's if none is given."""
    guided = model.guided(guidance)
    if not isinstance(guided, CFG):
        network = Counted(guided)
        return Doubled(network, network, 1)
    network, scale = Counted(guided.denoiser), guided.scale
    return Doubled(CFG(network, scale, guided.least), network, 1 if scale in (0, 1) else 2)


def led_down_to(whole: Doubled, least: float) -> Doubled:
    """The same with guidance that ends at a noise level."""
    early = CFG(whole.network, whole.denoiser.scale, least)
    return Doubled(early, whole.network, whole.cost)


def level(denoiser: Denoiser, t: float) -> float:
    alpha, sigma = denoiser.schedule(t)
    return float(sigma / alpha)


def beginning(model: Model, denoiser: Denoiser, highest: float, count: int, seed: int) -> dict:
    """x_T in the frame x₀ + σε and a label for each sample."""
    noise = torch.randn(count, *model.spec.shape, generator=torch.Generator().manual_seed(seed))
    label = torch.arange(count) % max(model.classes, 1)
    return {"x_T": (highest * noise).numpy(), "label": label.numpy()}


def ends(model: Model, denoiser: Doubled, begin: dict, highest: float, sampler, steps: int):
    """Where a sampler leads from every start, and how many evaluations it took."""
    start = denoiser.schedule.time(-2 * torch.log(torch.tensor(highest, dtype=torch.float64)))
    x = torch.from_numpy(begin["x_T"]).double() * denoiser.schedule.alpha(start)
    label, parts, before = torch.from_numpy(begin["label"]), [], denoiser.network.calls
    for i in range(0, len(x), BATCH):
        part = slice(i, i + BATCH)
        cond = {"label": label[part]} if model.classes else {}
        parts.append(sample(denoiser, x[part], sampler, steps, start=float(start), **cond))
    calls = (denoiser.network.calls - before) / len(parts)
    return torch.cat(parts).numpy(), calls / denoiser.cost


def truth(model: Model, denoiser: Doubled, begin: dict, highest: float) -> np.ndarray:
    """The ends of the flow; and how far two ways of solving it are apart, printed."""
    found, _ = ends(model, denoiser, begin, highest, UniPC(), TEACHER)
    other, _ = ends(model, denoiser, begin, highest, DPMSolverPP(), 2 * TEACHER)
    apart = summary(distances(found, other))
    print(f"the flow, solved in two ways: {apart['rms']:.5f} RMS a pixel apart", flush=True)
    return found


def run_peers(folder: Path, *words: str) -> None:
    subprocess.run([environment(), HERE / "peer_networks.py", folder, *words], check=True)


class Way(NamedTuple):
    """How ours are drawn: by what, in how many steps, of which denoiser."""

    sampler: Sampler
    steps: int
    denoiser: Doubled


def calibrated(model: Model, denoiser: Doubled, steps: int, teacher: Doubled) -> Way:
    """Ours, fitted to the network on noise that nothing is measured from."""
    labels = model.labels(CALIBRATING)
    cond = {} if labels is None else {"label": labels}
    x = model.noise(CALIBRATING, seed=7).double()
    sampler = GaussianResidual.for_networks(bound=1.0)
    *_, last = calibrate(denoiser, x, steps, sampler, teacher=teacher, **cond)
    return Way(last.sampler, steps, denoiser)


def entrants(model: Model, denoiser: Doubled, budgets: list[int]) -> dict[str, dict[int, Way]]:
    """Every sampler of ours at every budget."""
    rows = {CALIBRATED: {b: calibrated(model, denoiser, b, denoiser) for b in budgets}}
    if denoiser.cost > 1:
        early = {b: EARLY[b] for b in budgets if b in EARLY}
        rows[ENDING] = {
            b: calibrated(model, led_down_to(denoiser, least), steps, denoiser)
            for b, (steps, least) in early.items()
        }
    plain = {
        name: {b: Way(sampler, b, denoiser) for b in budgets} for name, sampler in OURS.items()
    }
    return rows | plain


def errors(model: Model, begin: dict, highest: float, ours: dict[str, dict[int, Way]]) -> dict:
    rows: dict[str, dict] = {name: {} for name in ours}
    for name, ways in ours.items():
        for budget, (sampler, steps, denoiser) in ways.items():
            x0, evaluations = ends(model, denoiser, begin, highest, sampler, steps)
            found = summary(distances(x0, begin["x_0"]))
            rows[name][str(budget)] = found | {"evaluations": evaluations, "sampler": str(sampler)}
    return rows


def found(row: dict, budget: int, what: str) -> float:
    cell = row.get(str(budget), {})
    return cell[what] if cell.get("evaluations", budget + 1) <= budget else float("inf")


def best(rows: dict, budget: int, what: str) -> str:
    return min(rows, key=lambda name: found(rows[name], budget, what))


def tabled(peers: dict, ours: dict, what: str, budgets: list[int]) -> str:
    """The best peer at each budget, and ours beside it."""
    names = [best(peers, budget, what) for budget in budgets]
    least = [found(peers[n], b, what) for n, b in zip(names, budgets, strict=True)]
    body = [["best peer", *names], ["its error", *map(shown, least)]]
    for name, row in ours.items():
        values = [found(row, budget, what) for budget in budgets]
        body.append([name, *map(shown, values)])
        ratios = [times_as_large(v, p) for v, p in zip(values, least, strict=True)]
        body.append(["over the best peer", *ratios])
    return table([what, *map(str, budgets)], body)


def fidelity(
    model: Model,
    denoiser: Doubled,
    folder: Path,
    peers: dict,
    highest: float,
    count: int,
    ours: dict[str, dict[int, Way]],
    budgets: list[int],
) -> str:
    """Fréchet distances to the training images: ours, and the peer of the least error at each budget."""
    begin = beginning(model, denoiser, highest, count, seed=1)
    np.savez(folder / "many.npz", **begin)
    wanted = [(budget, best(peers, budget, "rms")) for budget in budgets]
    (folder / "wanted.json").write_text(json.dumps(wanted))
    run_peers(folder, "draws")
    reference = Reference.of(find_features("digits"), model.recipe.data.load("train"))

    def distance(x: np.ndarray) -> str:
        seen = reference.look(torch.from_numpy(x).float())
        return f"{reference.distance(seen.features):.2f}"

    def drawn(ways: dict[int, Way], budget: int) -> str:
        if budget not in ways:
            return "–"
        sampler, steps, of = ways[budget]
        return distance(ends(model, of, begin, highest, sampler, steps)[0])

    body = [
        ["the best peer of above", *(distance(np.load(folder / f"peer-{b}.npy")) for b in budgets)]
    ]
    body += [[name, *(drawn(ways, b) for b in budgets)] for name, ways in ours.items()]
    return table([f"Fréchet distance of {count}", *map(str, budgets)], body)


def prepare(model: Model, denoiser: Doubled, asked: argparse.Namespace, highest: float) -> None:
    """The network, the starts and their ends, and the peers' answers, in the folder."""
    folder, whole = asked.out, model.guided(asked.guidance)
    export(folder / "network.pt2", whole, model.classes > 0, model.spec.shape, BATCH)
    own = level(denoiser, denoiser.schedule.t_min)
    levels = {"highest": highest, "lowest": [own, *LOWEST]}
    (folder / "levels.json").write_text(json.dumps(levels))
    begin = beginning(model, denoiser, highest, asked.count, seed=0)
    begin["x_0"] = truth(model, denoiser, begin, highest)
    np.savez(folder / "few.npz", **begin)
    run_peers(folder, "errors", "--only", *asked.only)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, default=Path("runs/network"))
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--fidelity", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], help="words in names of peers' settings")
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS, choices=BUDGETS)
    parser.add_argument("--reuse", action="store_true")
    asked = parser.parse_args()
    if asked.count % BATCH or asked.fidelity % BATCH:
        parser.error(f"--count and --fidelity must be multiples of {BATCH}")
    return asked


def main() -> None:
    asked = arguments()
    folder, model = asked.out, sf.load(asked.run, precision="fp32", compile="off")
    folder.mkdir(parents=True, exist_ok=True)
    denoiser = led(model, asked.guidance)
    highest = min(level(denoiser, 1.0), HIGHEST)
    if not asked.reuse:
        prepare(model, denoiser, asked, highest)
    peers = json.loads((folder / "peers.json").read_text())["rows"]
    ways = entrants(model, denoiser, asked.budgets)
    ours = errors(model, read(folder, "few"), highest, ways)
    (folder / "ours.json").write_text(json.dumps(ours, indent=1))
    parts = [tabled(peers, ours, what, asked.budgets) for what in ("rms", "mean", "median")]
    if asked.fidelity:
        given = folder, peers, highest, asked.fidelity, ways, asked.budgets
        parts.append(fidelity(model, denoiser, *given))
    text = "\n\n".join(parts) + "\n"
    (folder / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
