"""Scorefield: score-based and diffusion generative models that one can trust and understand.

>>> import torch
>>> import scorefield as sf
>>> exact = sf.GaussianDenoiser(sf.VP(), torch.zeros(2), torch.eye(2))
>>> sf.sample(exact, (4, 2), sf.DPMSolverPP(), steps=10).shape
torch.Size([4, 2])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from scorefield.core.ddpm import (
        DDPM,
        ConstantBetas,
        CosineBetas,
        GivenBetas,
        LinearBetas,
        QuadraticBetas,
        SigmoidBetas,
    )
    from scorefield.core.denoisers import Denoiser, NetworkDenoiser
    from scorefield.core.levels import Levels, data_log_likelihood
    from scorefield.core.likelihood import (
        LogLikelihood,
        decode,
        encode,
        log_likelihood,
        normal_prior,
        slerp,
    )
    from scorefield.core.objective import (
        SNR,
        KnotTimes,
        Likelihood,
        LogitNormalTimes,
        LogNormalTimes,
        MinSNR,
        Objective,
        UniformLogSNRTimes,
        UniformTimes,
        Unit,
    )
    from scorefield.core.ode import DormandPrince, FixedSteps
    from scorefield.core.oracles import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
    from scorefield.core.parameterizations import EDM, X0, Noise, Score, V, Velocity
    from scorefield.core.schedules import VE, VP, Cosine, Flow, Schedule, SubVP, TutorialVE
    from scorefield.core.sde import ForwardSDE, ReverseSDE
    from scorefield.core.variational import VariationalBound, variational_bound
    from scorefield.data.base import DataSpec
    from scorefield.data.mnist import MNIST, MNIST10k
    from scorefield.errors import InputError
    from scorefield.models.checkpoint import load, save
    from scorefield.models.likelihoods import bits_per_dim
    from scorefield.models.model import Model
    from scorefield.nets.mlp import MLPConfig
    from scorefield.nets.scorenet import ScoreNetConfig
    from scorefield.nets.unet import UNetConfig
    from scorefield.recipes.presets import RECIPES, find_recipe
    from scorefield.recipes.recipe import Recipe, Sampling, Training
    from scorefield.samplers.ancestral import DDIM, Ancestral
    from scorefield.samplers.base import Sampler, Step, sample, trajectory
    from scorefield.samplers.exponential import DPMSolverPP, SDEDPMSolverPP
    from scorefield.samplers.flow import Euler, Heun
    from scorefield.samplers.grids import Karras, Knots, UniformLogSNR, UniformTime
    from scorefield.samplers.noise import seeded
    from scorefield.samplers.runge_kutta import DormandPrinceFlow
    from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector
    from scorefield.training.trainer import Trainer

# Where each public name lives. It is imported when it is first asked for, so that
# `scorefield --help` need not wait for torch.
_HOMES = {
    "core.ddpm": "DDPM ConstantBetas CosineBetas GivenBetas LinearBetas QuadraticBetas SigmoidBetas",
    "core.denoisers": "Denoiser NetworkDenoiser",
    "core.levels": "Levels data_log_likelihood",
    "core.likelihood": "LogLikelihood decode encode log_likelihood normal_prior slerp",
    "core.objective": "KnotTimes Likelihood LogNormalTimes LogitNormalTimes MinSNR Objective SNR "
    "UniformLogSNRTimes UniformTimes Unit",
    "core.ode": "DormandPrince FixedSteps",
    "core.oracles": "EmpiricalDenoiser GaussianDenoiser MixtureDenoiser",
    "core.parameterizations": "EDM Noise Score V Velocity X0",
    "core.schedules": "Cosine Flow Schedule SubVP TutorialVE VE VP",
    "core.sde": "ForwardSDE ReverseSDE",
    "core.variational": "VariationalBound variational_bound",
    "data.base": "DataSpec",
    "data.mnist": "MNIST MNIST10k",
    "errors": "InputError",
    "models.checkpoint": "load save",
    "models.likelihoods": "bits_per_dim",
    "models.model": "Model",
    "nets.mlp": "MLPConfig",
    "nets.scorenet": "ScoreNetConfig",
    "nets.unet": "UNetConfig",
    "recipes.presets": "RECIPES find_recipe",
    "recipes.recipe": "Recipe Sampling Training",
    "samplers.ancestral": "Ancestral DDIM",
    "samplers.base": "Sampler Step sample trajectory",
    "samplers.exponential": "DPMSolverPP SDEDPMSolverPP",
    "samplers.flow": "Euler Heun",
    "samplers.grids": "Karras Knots UniformLogSNR UniformTime",
    "samplers.noise": "seeded",
    "samplers.runge_kutta": "DormandPrinceFlow",
    "samplers.stochastic": "EulerMaruyama PredictorCorrector",
    "training.trainer": "Trainer",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "DDIM",
    "DDPM",
    "EDM",
    "MNIST",
    "RECIPES",
    "SNR",
    "VE",
    "VP",
    "X0",
    "Ancestral",
    "ConstantBetas",
    "Cosine",
    "CosineBetas",
    "DPMSolverPP",
    "DataSpec",
    "Denoiser",
    "DormandPrince",
    "DormandPrinceFlow",
    "EmpiricalDenoiser",
    "Euler",
    "EulerMaruyama",
    "FixedSteps",
    "Flow",
    "ForwardSDE",
    "GaussianDenoiser",
    "GivenBetas",
    "Heun",
    "InputError",
    "Karras",
    "KnotTimes",
    "Knots",
    "Levels",
    "Likelihood",
    "LinearBetas",
    "LogLikelihood",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MLPConfig",
    "MNIST10k",
    "MinSNR",
    "MixtureDenoiser",
    "Model",
    "NetworkDenoiser",
    "Noise",
    "Objective",
    "PredictorCorrector",
    "QuadraticBetas",
    "Recipe",
    "ReverseSDE",
    "SDEDPMSolverPP",
    "Sampler",
    "Sampling",
    "Schedule",
    "Score",
    "ScoreNetConfig",
    "SigmoidBetas",
    "Step",
    "SubVP",
    "Trainer",
    "Training",
    "TutorialVE",
    "UNetConfig",
    "UniformLogSNR",
    "UniformLogSNRTimes",
    "UniformTime",
    "UniformTimes",
    "Unit",
    "V",
    "VariationalBound",
    "Velocity",
    "bits_per_dim",
    "data_log_likelihood",
    "decode",
    "encode",
    "find_recipe",
    "load",
    "log_likelihood",
    "normal_prior",
    "sample",
    "save",
    "seeded",
    "slerp",
    "trajectory",
    "variational_bound",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'scorefield' has no attribute '{name}'")
    return getattr(import_module(f"scorefield.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
