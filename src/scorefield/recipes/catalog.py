"""The one table of names: what can be said on a command line, in a recipe and in a checkpoint.

Adding a thing to the library is one class and one line here; help texts, checks, docs tables and the
contract tests follow from it.
"""

from __future__ import annotations

from scorefield.core import (
    couplings,
    ddpm,
    losses,
    parameterizations,
    schedule,
    schedules,
    times,
    weightings,
)
from scorefield.data import arrays as data_arrays
from scorefield.data import base as data_base
from scorefield.data import cifar, digits, folder, hub, idx_sets, mnist, table, toy, toy_modes
from scorefield.nets import base as nets_base
from scorefield.nets import mlp, scorenet, unet
from scorefield.samplers import (
    adams,
    adaptive,
    ancestral,
    base,
    correctors,
    exponential,
    flow,
    grids,
    langevin,
    residual,
    residual_grid,
    restart,
    runge_kutta,
    singlestep,
    stochastic,
)

SCHEDULES: dict[str, type[schedule.Schedule]] = {
    "vp": schedules.VP,
    "subvp": schedules.SubVP,
    "ve": schedules.VE,
    "ve-tutorial": schedules.TutorialVE,
    "cosine": schedules.Cosine,
    "flow": schedules.Flow,
    "ddpm": ddpm.DDPM,
}

BETAS: dict[str, type[ddpm.Betas]] = {
    "linear": ddpm.LinearBetas,
    "quadratic": ddpm.QuadraticBetas,
    "cosine": ddpm.CosineBetas,
    "constant": ddpm.ConstantBetas,
    "sigmoid": ddpm.SigmoidBetas,
    "given": ddpm.GivenBetas,
}

PARAMETERIZATIONS: dict[str, type[parameterizations.Parameterization]] = {
    "x0": parameterizations.X0,
    "noise": parameterizations.Noise,
    "v": parameterizations.V,
    "velocity": parameterizations.Velocity,
    "score": parameterizations.Score,
    "edm": parameterizations.EDM,
}

TIMES: dict[str, type[times.Times]] = {
    "uniform": times.UniformTimes,
    "knots": times.KnotTimes,
    "log-normal": times.LogNormalTimes,
    "logit-normal": times.LogitNormalTimes,
    "uniform-log-snr": times.UniformLogSNRTimes,
    "importance": times.ImportanceTimes,
}

WEIGHTINGS: dict[str, type[weightings.Weighting]] = {
    "unit": weightings.Unit,
    "snr": weightings.SNR,
    "truncated-snr": weightings.TruncatedSNR,
    "min-snr": weightings.MinSNR,
    "edm": weightings.EDMWeight,
    "likelihood": weightings.Likelihood,
    "uncertainty": weightings.Uncertainty,
}

COUPLINGS: dict[str, type[couplings.Coupling]] = {
    "independent": couplings.Independent,
    "minibatch-ot": couplings.MinibatchOT,
}

LOSSES: dict[str, type[losses.Loss]] = {
    "l2": losses.L2,
    "l1": losses.L1,
    "huber": losses.Huber,
}

SAMPLERS: dict[str, type[base.Sampler]] = {
    "ddim": ancestral.DDIM,
    "ddpm": ancestral.Ancestral,
    "euler": flow.Euler,
    "heun": flow.Heun,
    "dpm++": exponential.DPMSolverPP,
    "dpm++sde": exponential.SDEDPMSolverPP,
    "gaussian-residual": residual.GaussianResidual,
    "euler-maruyama": stochastic.EulerMaruyama,
    "pc": stochastic.PredictorCorrector,
    "dpm-multi": exponential.DPMSolver,
    "v-exponential": exponential.VExponential,
    "dpm-single": singlestep.SingleStepDPMSolver,
    "unipc": correctors.UniPC,
    "sa": correctors.SASolver,
    "deis": adams.DEIS,
    "lms": adams.LMS,
    "ipndm": adams.IPNDM,
    "reverse-diffusion": stochastic.ReverseDiffusion,
    "annealed-langevin": langevin.AnnealedLangevin,
    "adaptive-sde": adaptive.AdaptiveSDE,
    "restart": restart.Restart,
    "dopri5": runge_kutta.DormandPrinceFlow,
}

GRIDS: dict[str, type[grids.Grid]] = {
    "uniform": grids.UniformTime,
    "log-snr": grids.UniformLogSNR,
    "karras": grids.Karras,
    "knots": grids.Knots,
    "residual": residual_grid.ResidualGrid,
    "noise-levels": residual_grid.NoiseLevels,
    "quadratic": grids.Quadratic,
    "given": grids.Given,
}

NETWORKS: dict[str, type[nets_base.NetworkConfig]] = {
    "unet": unet.UNetConfig,
    "scorenet": scorenet.ScoreNetConfig,
    "mlp": mlp.MLPConfig,
}

DATASETS: dict[str, type[data_base.Dataset]] = {
    "mnist": mnist.MNIST,
    "mnist10k": mnist.MNIST10k,
    "fashion-mnist": idx_sets.FashionMNIST,
    "kmnist": idx_sets.KMNIST,
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
    "digits": digits.Digits,
    "arrays": data_arrays.ArrayFile,
    "csv": table.Table,
    "hub": hub.Hub,
    "folder": folder.Folder,
    "mixture": toy.Mixture,
    "ramp": toy.Ramp,
    "spiral": toy.Spiral,
    "moons": toy.Moons,
    "checkerboard": toy.Checkerboard,
    "swiss-roll": toy.SwissRoll,
    "eight-gaussians": toy_modes.EightGaussians,
    "pinwheel": toy_modes.Pinwheel,
    "rings": toy_modes.Rings,
}

# An interface, what it is called in an error, and the kinds of it.
CATALOG: dict[type, tuple[str, dict[str, type]]] = {
    schedule.Schedule: ("schedule", dict(SCHEDULES)),
    ddpm.Betas: ("betas", dict(BETAS)),
    parameterizations.Parameterization: ("parameterization", dict(PARAMETERIZATIONS)),
    times.Times: ("times", dict(TIMES)),
    weightings.Weighting: ("weighting", dict(WEIGHTINGS)),
    couplings.Coupling: ("coupling", dict(COUPLINGS)),
    losses.Loss: ("loss", dict(LOSSES)),
    base.Sampler: ("sampler", dict(SAMPLERS)),
    grids.Grid: ("grid", dict(GRIDS)),
    nets_base.NetworkConfig: ("network", dict(NETWORKS)),
    data_base.Dataset: ("dataset", dict(DATASETS)),
}
