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
    from scorefield.core.couplings import MinibatchOT
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
    from scorefield.core.independent import IndependentDenoiser
    from scorefield.core.levels import Levels, data_log_likelihood
    from scorefield.core.likelihood import (
        LogLikelihood,
        decode,
        encode,
        log_likelihood,
        normal_prior,
        slerp,
    )
    from scorefield.core.losses import L1, L2, Huber
    from scorefield.core.marginal import Marginal
    from scorefield.core.moments import Moments, moments_of
    from scorefield.core.objective import Objective
    from scorefield.core.ode import DormandPrince, FixedSteps
    from scorefield.core.oracles import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
    from scorefield.core.parameterizations import EDM, X0, Noise, Score, V, Velocity
    from scorefield.core.schedule import Schedule
    from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP, TutorialVE
    from scorefield.core.sde import ForwardSDE, ReverseSDE
    from scorefield.core.times import (
        ImportanceTimes,
        KnotTimes,
        LogitNormalTimes,
        LogNormalTimes,
        UniformLogSNRTimes,
        UniformTimes,
    )
    from scorefield.core.variational import VariationalBound, variational_bound
    from scorefield.core.weightings import (
        SNR,
        EDMWeight,
        Likelihood,
        MinSNR,
        TruncatedSNR,
        Uncertainty,
        Unit,
    )
    from scorefield.data.augmentation import Augmentation
    from scorefield.data.base import DataSpec
    from scorefield.data.density import draw_density
    from scorefield.data.folder import Folder
    from scorefield.data.mnist import MNIST, MNIST10k
    from scorefield.errors import InputError
    from scorefield.guidance.cfg import CFG
    from scorefield.guidance.classifier import ClassifierGuidance
    from scorefield.guidance.threshold import DynamicThreshold, StaticThreshold
    from scorefield.models.checkpoint import load, save
    from scorefield.models.likelihoods import bits_per_dim
    from scorefield.models.model import Model
    from scorefield.nets.mlp import MLPConfig
    from scorefield.nets.scorenet import ScoreNetConfig
    from scorefield.nets.unet import UNetConfig
    from scorefield.recipes.presets import RECIPES, find_recipe
    from scorefield.recipes.recipe import Recipe, Sampling
    from scorefield.recipes.training import Training
    from scorefield.samplers.adams import DEIS, IPNDM, LMS
    from scorefield.samplers.adaptive import AdaptiveSDE
    from scorefield.samplers.ancestral import DDIM, Ancestral
    from scorefield.samplers.base import Sampler, Step, sample, trajectory
    from scorefield.samplers.calibration import Calibration, calibrate
    from scorefield.samplers.correctors import SASolver, UniPC
    from scorefield.samplers.exponential import DPMSolver, DPMSolverPP, SDEDPMSolverPP, VExponential
    from scorefield.samplers.flow import Euler, Heun
    from scorefield.samplers.grids import (
        Given,
        Karras,
        Knots,
        Quadratic,
        UniformLogSNR,
        UniformTime,
    )
    from scorefield.samplers.langevin import AnnealedLangevin
    from scorefield.samplers.noise import seeded
    from scorefield.samplers.residual import GaussianResidual
    from scorefield.samplers.residual_grid import NoiseLevels, ResidualGrid
    from scorefield.samplers.restart import Restart
    from scorefield.samplers.runge_kutta import DormandPrinceFlow
    from scorefield.samplers.singlestep import SingleStepDPMSolver
    from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector, ReverseDiffusion
    from scorefield.training.trainer import Trainer

# Where each public name lives. It is imported when it is first asked for, so that
# `scorefield --help` need not wait for torch.
_HOMES = {
    "core.couplings": "MinibatchOT",
    "core.ddpm": "DDPM ConstantBetas CosineBetas GivenBetas LinearBetas QuadraticBetas SigmoidBetas",
    "core.denoisers": "Denoiser NetworkDenoiser",
    "core.independent": "IndependentDenoiser",
    "core.levels": "Levels data_log_likelihood",
    "core.likelihood": "LogLikelihood decode encode log_likelihood normal_prior slerp",
    "core.losses": "Huber L1 L2",
    "core.marginal": "Marginal",
    "core.moments": "Moments moments_of",
    "core.objective": "Objective",
    "core.ode": "DormandPrince FixedSteps",
    "core.oracles": "EmpiricalDenoiser GaussianDenoiser MixtureDenoiser",
    "core.parameterizations": "EDM Noise Score V Velocity X0",
    "core.schedule": "Schedule",
    "core.schedules": "Cosine Flow SubVP TutorialVE VE VP",
    "core.sde": "ForwardSDE ReverseSDE",
    "core.times": "ImportanceTimes KnotTimes LogNormalTimes LogitNormalTimes UniformLogSNRTimes "
    "UniformTimes",
    "core.variational": "VariationalBound variational_bound",
    "core.weightings": "EDMWeight Likelihood MinSNR SNR TruncatedSNR Uncertainty Unit",
    "data.augmentation": "Augmentation",
    "data.base": "DataSpec",
    "data.density": "draw_density",
    "data.folder": "Folder",
    "data.mnist": "MNIST MNIST10k",
    "errors": "InputError",
    "guidance.cfg": "CFG",
    "guidance.classifier": "ClassifierGuidance",
    "guidance.threshold": "DynamicThreshold StaticThreshold",
    "models.checkpoint": "load save",
    "models.likelihoods": "bits_per_dim",
    "models.model": "Model",
    "nets.mlp": "MLPConfig",
    "nets.scorenet": "ScoreNetConfig",
    "nets.unet": "UNetConfig",
    "recipes.presets": "RECIPES find_recipe",
    "recipes.recipe": "Recipe Sampling",
    "recipes.training": "Training",
    "samplers.adams": "DEIS IPNDM LMS",
    "samplers.adaptive": "AdaptiveSDE",
    "samplers.ancestral": "Ancestral DDIM",
    "samplers.base": "Sampler Step sample trajectory",
    "samplers.calibration": "Calibration calibrate",
    "samplers.correctors": "SASolver UniPC",
    "samplers.exponential": "DPMSolver DPMSolverPP SDEDPMSolverPP VExponential",
    "samplers.flow": "Euler Heun",
    "samplers.grids": "Given Karras Knots Quadratic UniformLogSNR UniformTime",
    "samplers.langevin": "AnnealedLangevin",
    "samplers.noise": "seeded",
    "samplers.residual": "GaussianResidual",
    "samplers.residual_grid": "NoiseLevels ResidualGrid",
    "samplers.restart": "Restart",
    "samplers.runge_kutta": "DormandPrinceFlow",
    "samplers.singlestep": "SingleStepDPMSolver",
    "samplers.stochastic": "EulerMaruyama PredictorCorrector ReverseDiffusion",
    "training.trainer": "Trainer",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "CFG",
    "DDIM",
    "DDPM",
    "DEIS",
    "EDM",
    "IPNDM",
    "L1",
    "L2",
    "LMS",
    "MNIST",
    "RECIPES",
    "SNR",
    "VE",
    "VP",
    "X0",
    "AdaptiveSDE",
    "Ancestral",
    "AnnealedLangevin",
    "Augmentation",
    "Calibration",
    "ClassifierGuidance",
    "ConstantBetas",
    "Cosine",
    "CosineBetas",
    "DPMSolver",
    "DPMSolverPP",
    "DataSpec",
    "Denoiser",
    "DormandPrince",
    "DormandPrinceFlow",
    "DynamicThreshold",
    "EDMWeight",
    "EmpiricalDenoiser",
    "Euler",
    "EulerMaruyama",
    "FixedSteps",
    "Flow",
    "Folder",
    "ForwardSDE",
    "GaussianDenoiser",
    "GaussianResidual",
    "Given",
    "GivenBetas",
    "Heun",
    "Huber",
    "ImportanceTimes",
    "IndependentDenoiser",
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
    "Marginal",
    "MinSNR",
    "MinibatchOT",
    "MixtureDenoiser",
    "Model",
    "Moments",
    "NetworkDenoiser",
    "Noise",
    "NoiseLevels",
    "Objective",
    "PredictorCorrector",
    "Quadratic",
    "QuadraticBetas",
    "Recipe",
    "ResidualGrid",
    "Restart",
    "ReverseDiffusion",
    "ReverseSDE",
    "SASolver",
    "SDEDPMSolverPP",
    "Sampler",
    "Sampling",
    "Schedule",
    "Score",
    "ScoreNetConfig",
    "SigmoidBetas",
    "SingleStepDPMSolver",
    "StaticThreshold",
    "Step",
    "SubVP",
    "Trainer",
    "Training",
    "TruncatedSNR",
    "TutorialVE",
    "UNetConfig",
    "Uncertainty",
    "UniPC",
    "UniformLogSNR",
    "UniformLogSNRTimes",
    "UniformTime",
    "UniformTimes",
    "Unit",
    "V",
    "VExponential",
    "VariationalBound",
    "Velocity",
    "bits_per_dim",
    "calibrate",
    "data_log_likelihood",
    "decode",
    "draw_density",
    "encode",
    "find_recipe",
    "load",
    "log_likelihood",
    "moments_of",
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
