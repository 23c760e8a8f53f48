"""The samplers of diffusers and k-diffusion on the problems of problems.py; imports nothing of Scorefield.

Run by samplers.py, in the peers' environment. The network is an exact denoiser of its own. Evaluations are
counted at the denoiser.

    python benchmarks/peers.py FOLDER OUT.json [--only gmm2d ...] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path

import diffusers
import torch
from noise_levels import DDPM
from peer_solvers import CONFIGS, walk
from scores import BUDGETS, CLOCKED_BUDGET, SHAPES, net_seconds, read, score


class ExactDenoiser:
    """E[x₀ | x] of a Gaussian mixture, by two products with all components' eigenbases.

    Arguments:
        problem: with weights (K,), means (K, D) and covariances (K, D, D).
    """

    def __init__(self, problem):
        weights, self.means, covariances = (
            torch.from_numpy(problem[key]) for key in ("weights", "means", "covariances")
        )
        self.log_weights = weights.log()
        variances, basis = torch.linalg.eigh(covariances)
        self.variances = variances.clamp(min=0)
        self.centres = torch.einsum("kd,kde->ke", self.means, basis)
        self.into = basis.transpose(0, 1).reshape(self.means.shape[1], -1).contiguous()

    def __call__(self, x, sigma):
        total = self.variances + float(sigma) ** 2
        offset = (x @ self.into).reshape(len(x), *self.centres.shape) - self.centres
        distance = torch.einsum("bke,ke->bk", offset.square(), 1 / total)
        share = torch.softmax(self.log_weights - 0.5 * (total.log().sum(1) + distance), 1)
        shrunk = offset * (self.variances / total) * share[..., None]
        return share @ self.means + shrunk.flatten(1) @ self.into.T


def solved(problem, seed: int) -> dict:
    """Errors, or the reason that there is none, by configuration and budget."""
    denoise, x = ExactDenoiser(problem), torch.from_numpy(problem["x_T"])
    rows: dict[str, dict] = {}
    for name, config in CONFIGS.items():
        rows[name] = {"stochastic": config.stochastic, "errors": {}}
        for budget in BUDGETS:
            try:
                x0, clock = walk(config, denoise, DDPM, x, budget, seed)
            except Exception as reason:  # a peer's failure is a result
                rows[name]["errors"][budget] = {"failed": f"{type(reason).__name__}: {reason}"}
                continue
            error = score(problem, x0.numpy(), config.stochastic)
            rows[name]["errors"][budget] = {"error": error, "evaluations": clock.calls}
    return rows


def overheads() -> dict[str, dict[str, float]]:
    """Seconds an evaluation outside the network, by configuration and shape."""
    out: dict[str, dict[str, float]] = {}
    for name, config in CONFIGS.items():
        out[name] = {}
        for shape in SHAPES:
            x = DDPM.highest * torch.randn(shape, generator=torch.Generator().manual_seed(0))
            run = partial(walk, config, lambda x, sigma: 0.5 * x, DDPM, x, CLOCKED_BUDGET, 0)
            out[name]["x".join(map(str, shape))] = net_seconds(lambda run=run: run()[1])
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    diffusers.logging.set_verbosity_error()
    result = {"versions": {name: version(name) for name in ("diffusers", "k-diffusion", "torch")}}
    result["problems"] = {}
    for name in asked.only:
        begin = time.perf_counter()
        result["problems"][name] = solved(read(asked.folder, name), asked.seed)
        asked.out.write_text(json.dumps(result, indent=1))
        print(f"peers on {name}: {time.perf_counter() - begin:.0f} s", flush=True)
    result["overheads"] = overheads()
    asked.out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
