"""The samplers of diffusers and k-diffusion, each in its settings; imports nothing of Scorefield.

The network is told the noise level that a sampler itself steps from (not a rounded timestep), so that peers
are at their best. diffusers' DDIM has its clipping to [-1, 1] off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import diffusers
import torch
from noise_levels import Levels
from scores import Clock
from stand_ins import k_diffusion_sampling

Denoise = Callable[[torch.Tensor, float], torch.Tensor]  # (x, σ) ↦ E[x₀ | x₀ + σε = x]


K = k_diffusion_sampling()


Run = Callable[[Denoise, Levels, torch.Tensor, int, torch.Generator], torch.Tensor]


@dataclass(frozen=True)
class Config:
    """One sampler in one setting.

    Arguments:
        run: (denoise, levels, x_T in the VE frame, evaluations, generator) ↦ x at σ = 0.
        stochastic: whether fresh noise enters.
        per_step: evaluations a step; 2 means 2n - 1 in n steps, as the last needs one only.
    """

    run: Run
    stochastic: bool = False
    per_step: int = 1


def variance_preserving(make, denoise, levels, x, steps, generator):
    """A diffusers scheduler for states √ᾱ x and noise predictions."""
    scheduler = make(**levels.chain)
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    noise = {} if generator is None else {"generator": generator}
    x = x / math.sqrt(1 + levels.highest**2)

    def noise_in(x, level):
        x = x * math.sqrt(1 + level**2)
        return (x - denoise(x, level)) / level

    noise_in = denoise.covering(noise_in)
    for i, t in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "sigmas"):
            level = float(scheduler.sigmas[i])
        else:
            signal = float(scheduler.alphas_cumprod[int(t)])
            level = math.sqrt((1 - signal) / signal)
        x = scheduler.step(noise_in(x, level), t, x, **noise).prev_sample
    return x


def variance_exploding(make, denoise, levels, x, steps, generator):
    """A diffusers scheduler for states x₀ + σε and noise predictions."""
    scheduler = make(**levels.chain)
    scheduler.set_timesteps(steps)
    scheduler.set_begin_index(0)
    noise_in = denoise.covering(lambda x, level: (x - denoise(x, level)) / level)
    for i, t in enumerate(scheduler.timesteps):
        level = float(scheduler.sigmas[i])
        scheduler.scale_model_input(x, t)  # would be the network's input; it must be called
        x = scheduler.step(noise_in(x, level), t, x).prev_sample
    return x


def ipndm(grid, denoise, levels, x, steps, generator):
    """diffusers' IPNDMScheduler, which has a path of its own, led along the given noise levels."""
    scheduler = diffusers.IPNDMScheduler()
    scheduler.set_timesteps(steps)
    sigmas = grid(steps, levels.lowest, levels.highest).double()
    scheduler.alphas = 1 / torch.sqrt(1 + sigmas**2)
    scheduler.betas = sigmas * scheduler.alphas
    scheduler.set_begin_index(0)
    x = x * scheduler.alphas[0]

    def answer(x, level, alpha, beta):
        eps = (x / alpha - denoise(x / alpha, level)) / level
        return (eps - beta * x) / alpha

    answer = denoise.covering(answer)
    for i, t in enumerate(scheduler.timesteps):
        given = float(sigmas[i]), scheduler.alphas[i], scheduler.betas[i]
        x = scheduler.step(answer(x, *given), t, x).prev_sample
    return x


def k_diffusion(sampler, grid, denoise, levels, x, steps, generator):
    """A sampler of k-diffusion on its own grid, which ends in σ = 0."""

    def model(x, sigma):
        return denoise(x, float(sigma[0]))

    options = {} if generator is None else {"noise_sampler": Brownian(x, generator)}
    return sampler(model, x, grid(steps, levels.lowest, levels.highest), disable=True, **options)


class Brownian:
    """Noise as k-diffusion's BrownianTreeNoiseSampler gives it, from a generator and in float64.

    The increment of a Brownian motion between two levels, over the root of their distance. A second call
    from the same level goes on along the same motion, as in the two stages of a step of dpmpp_sde.
    """

    def __init__(self, like, generator):
        self.like, self.generator, self.last = like, generator, (None, None, None)

    def __call__(self, begin, end):
        begin, end = float(begin), float(end)
        since, until, moved = self.last
        z = torch.randn(self.like.shape, generator=self.generator, dtype=self.like.dtype)
        if since == begin and abs(end - begin) > abs(until - begin):
            moved = moved + math.sqrt(abs(end - until)) * z
        else:
            moved = math.sqrt(abs(end - begin)) * z
        self.last = begin, end, moved
        return moved / math.sqrt(abs(end - begin))


def dpm_fast(denoised_end, denoise, levels, x, steps, generator):
    """k-diffusion's dpm_fast, which ends at σ_min: there it stays, or one evaluation denoises it."""

    def model(x, sigma):
        return denoise(x, float(sigma[0]))

    steps -= denoised_end
    x = K.sample_dpm_fast(model, x, levels.lowest, levels.highest, steps, disable=True)
    return denoise(x, levels.lowest) if denoised_end else x


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
    for grid, sigmas in K_GRIDS.items():
        configs[f"diffusers iPNDM-4 {grid}"] = Config(partial(ipndm, sigmas))
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
        for grid, sigmas in K_GRIDS.items():
            run = partial(k_diffusion, sampler, sigmas)
            configs[f"k-diffusion {name} {grid}"] = Config(run, stochastic, per_step)
    return configs


CONFIGS = diffusers_configs() | k_diffusion_configs()


def walk(config: Config, denoise: Denoise, levels: Levels, x: torch.Tensor, budget: int, seed: int):
    """The samples and the clock of one run within a budget of evaluations."""
    clock = Clock(denoise)
    generator = torch.Generator().manual_seed(seed) if config.stochastic else None
    steps = (budget + config.per_step - 1) // config.per_step
    return config.run(clock, levels, x, steps, generator), clock
