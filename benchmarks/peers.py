"""The samplers of diffusers and k-diffusion on the problems of problems.py; imports nothing of Scorefield.

Run by samplers.py, in the peers' environment. The network is an exact denoiser of its own, told the noise
level that the sampler itself steps from (not a rounded timestep), so that peers are at their best.
Evaluations are counted at the denoiser. diffusers' DDIM has its clipping to [-1, 1] off.

    python benchmarks/peers.py FOLDER OUT.json [--only gmm2d ...] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import diffusers
import torch
from scores import BUDGETS, CLOCKED_BUDGET, SHAPES, Clock, net_seconds, read, score
from stand_ins import k_diffusion_sampling

Denoise = Callable[[torch.Tensor, float], torch.Tensor]  # (x, σ) ↦ E[x₀ | x₀ + σε = x]
Run = Callable[[Denoise, torch.Tensor, int, torch.Generator], torch.Tensor]
SIGMA_MIN, SIGMA_MAX = 0.010000500037503125, 157.40728081040737


K = k_diffusion_sampling()


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


@dataclass(frozen=True)
class Config:
    """One sampler in one setting.

    Arguments:
        run: (denoise, x_T in the VE frame, evaluations, generator) ↦ x at σ = 0.
        stochastic: whether fresh noise enters.
        per_step: evaluations a step; 2 means 2n - 1 in n steps, as the last needs one only.
    """

    run: Run
    stochastic: bool = False
    per_step: int = 1


# HeunDiscreteScheduler is shipped with another chain (0.00085 … 0.012); all get the problems' one.
CHAIN = {"beta_start": 1e-4, "beta_end": 0.02}


def variance_preserving(make, denoise, x, steps, generator):
    """A diffusers scheduler for states √ᾱ x and noise predictions."""
    scheduler = make(**CHAIN)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    noise = {} if generator is None else {"generator": generator}
    x = x / math.sqrt(1 + SIGMA_MAX**2)
    for i, t in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "sigmas"):
            level = float(scheduler.sigmas[i])
        else:
            signal = float(scheduler.alphas_cumprod[int(t)])
            level = math.sqrt((1 - signal) / signal)
        scale = math.sqrt(1 + level**2)
        eps = (x * scale - denoise(x * scale, level)) / level
        x = scheduler.step(eps, t, x, **noise).prev_sample
    return x


def variance_exploding(make, denoise, x, steps, generator):
    """A diffusers scheduler for states x₀ + σε and noise predictions."""
    scheduler = make(**CHAIN)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    for i, t in enumerate(scheduler.timesteps):
        level = float(scheduler.sigmas[i])
        scheduler.scale_model_input(x, t)  # would be the network's input; it must be called
        eps = (x - denoise(x, level)) / level
        x = scheduler.step(eps, t, x).prev_sample
    return x


def ipndm(grid, denoise, x, steps, generator):
    """diffusers' IPNDMScheduler, which has a path of its own, led along the given noise levels."""
    scheduler = diffusers.IPNDMScheduler()
    scheduler.set_timesteps(steps)
    levels = grid(steps, SIGMA_MIN, SIGMA_MAX).double()
    scheduler.alphas = 1 / torch.sqrt(1 + levels**2)
    scheduler.betas = levels * scheduler.alphas
    scheduler.set_begin_index(0)
    x = x * scheduler.alphas[0]
    for i, t in enumerate(scheduler.timesteps):
        level, alpha, beta = float(levels[i]), scheduler.alphas[i], scheduler.betas[i]
        eps = (x / alpha - denoise(x / alpha, level)) / level
        x = scheduler.step((eps - beta * x) / alpha, t, x).prev_sample
    return x


def k_diffusion(sampler, grid, denoise, x, steps, generator):
    """A sampler of k-diffusion on its own grid, which ends in σ = 0."""

    def model(x, sigma):
        return denoise(x, float(sigma[0]))

    options = {} if generator is None else {"noise_sampler": normal(x, generator)}
    return sampler(model, x, grid(steps, SIGMA_MIN, SIGMA_MAX), disable=True, **options)


def normal(like, generator):
    return lambda *_: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def dpm_fast(denoised_end, denoise, x, steps, generator):
    """k-diffusion's dpm_fast, which ends at σ_min: there it stays, or one evaluation denoises it."""

    def model(x, sigma):
        return denoise(x, float(sigma[0]))

    steps -= denoised_end
    x = K.sample_dpm_fast(model, x, SIGMA_MIN, SIGMA_MAX, steps, disable=True)
    return denoise(x, SIGMA_MIN) if denoised_end else x


def diffusers_configs() -> dict[str, Config]:
    grids = {
        "shipped": {},
        "karras": {"use_karras_sigmas": True},
        "exponential": {"use_exponential_sigmas": True},
    }
    vp, ve = variance_preserving, variance_exploding
    multistep, deis = diffusers.DPMSolverMultistepScheduler, diffusers.DEISMultistepScheduler
    families = {
        "DPM++2M": (vp, partial(multistep, solver_order=2), False, 1),
        "DPM++3M": (vp, partial(multistep, solver_order=3), False, 1),
        "DPM++2S": (vp, diffusers.DPMSolverSinglestepScheduler, False, 1),
        "UniPC-2": (vp, partial(diffusers.UniPCMultistepScheduler, solver_order=2), False, 1),
        "UniPC-3": (vp, partial(diffusers.UniPCMultistepScheduler, solver_order=3), False, 1),
        "DEIS-3": (vp, partial(deis, solver_order=3), False, 1),
        "Euler": (ve, diffusers.EulerDiscreteScheduler, False, 1),
        "LMS": (ve, diffusers.LMSDiscreteScheduler, False, 1),
        "Heun": (ve, diffusers.HeunDiscreteScheduler, False, 2),
        "SDE-DPM++2M": (vp, partial(multistep, algorithm_type="sde-dpmsolver++"), True, 1),
        "SA-Solver": (vp, diffusers.SASolverScheduler, True, 1),
    }
    configs = {}
    for name, (frame, make, stochastic, per_step) in families.items():
        for grid, options in grids.items():
            run = partial(frame, partial(make, **options))
            configs[f"diffusers {name} {grid}"] = Config(run, stochastic, per_step)
    for spacing in ("leading", "trailing", "linspace"):
        options = {"timestep_spacing": spacing, "clip_sample": False}
        run = partial(vp, partial(diffusers.DDIMScheduler, **options))
        configs[f"diffusers DDIM {'shipped' if spacing == 'leading' else spacing}"] = Config(run)
    lu = partial(vp, partial(multistep, use_lu_lambdas=True))
    configs["diffusers DPM++2M lu"] = Config(lu)
    for grid, levels in K_GRIDS.items():
        configs[f"diffusers iPNDM-4 {grid}"] = Config(partial(ipndm, levels))
    return configs


K_GRIDS = {"karras": K.get_sigmas_karras, "exponential": K.get_sigmas_exponential}


def k_diffusion_configs() -> dict[str, Config]:
    samplers = {
        "euler": (K.sample_euler, False, 1),
        "heun": (K.sample_heun, False, 2),
        "dpm_2": (K.sample_dpm_2, False, 2),
        "lms": (K.sample_lms, False, 1),
        "dpmpp_2m": (K.sample_dpmpp_2m, False, 1),
        "euler_ancestral": (K.sample_euler_ancestral, True, 1),
        "dpmpp_2m_sde": (K.sample_dpmpp_2m_sde, True, 1),
        "dpmpp_3m_sde": (K.sample_dpmpp_3m_sde, True, 1),
        "dpmpp_sde": (K.sample_dpmpp_sde, True, 2),
        "dpmpp_2s_ancestral": (K.sample_dpmpp_2s_ancestral, True, 2),
    }
    configs = {"k-diffusion dpm_fast": Config(partial(dpm_fast, False))}
    configs["k-diffusion dpm_fast denoised"] = Config(partial(dpm_fast, True))
    for name, (sampler, stochastic, per_step) in samplers.items():
        for grid, levels in K_GRIDS.items():
            run = partial(k_diffusion, sampler, levels)
            configs[f"k-diffusion {name} {grid}"] = Config(run, stochastic, per_step)
    return configs


CONFIGS = diffusers_configs() | k_diffusion_configs()


def walk(config: Config, denoise: Denoise, x: torch.Tensor, budget: int, seed: int):
    """The samples and the clock of one run within a budget of evaluations."""
    clock = Clock(denoise)
    generator = torch.Generator().manual_seed(seed) if config.stochastic else None
    steps = (budget + config.per_step - 1) // config.per_step
    return config.run(clock, x, steps, generator), clock


def solved(problem, seed: int) -> dict:
    """Errors, or the reason that there is none, by configuration and budget."""
    denoise, x = ExactDenoiser(problem), torch.from_numpy(problem["x_T"])
    rows: dict[str, dict] = {}
    for name, config in CONFIGS.items():
        rows[name] = {"stochastic": config.stochastic, "errors": {}}
        for budget in BUDGETS:
            try:
                x0, clock = walk(config, denoise, x, budget, seed)
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
            x = SIGMA_MAX * torch.randn(shape, generator=torch.Generator().manual_seed(0))
            run = partial(walk, config, lambda x, sigma: 0.5 * x, x, CLOCKED_BUDGET, 0)
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
