"""A recipe is all that a trained model is made from: light, typed, and its own configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.marginal import Marginal
from scorefield.core.moments import Moments, white_moments
from scorefield.core.objective import Objective
from scorefield.core.parameterizations import EDM, Parameterization
from scorefield.core.schedule import Schedule
from scorefield.core.schedules import VP
from scorefield.data.augmentation import Augmentation
from scorefield.data.base import Dataset, DataSpec
from scorefield.errors import InputError
from scorefield.nets.base import NetworkConfig
from scorefield.recipes.training import Training
from scorefield.samplers.base import Sampler
from scorefield.samplers.exponential import DPMSolverPP


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How samples are drawn unless asked otherwise.

    Arguments:
        sampler: the way from noise to data.
        steps: times in its grid; at least 1.
        guidance: w of classifier-free guidance, of models that were trained with some labels dropped: 0
            is the unconditional model, 1 the conditional one. It does nothing to models that know no
            labels, or know no other than labelled samples; without guidance if not given.
        guidance_least: σ/α below which w is 1, which takes one evaluation of the network in place of two.
    """

    sampler: Sampler = DPMSolverPP()
    steps: int = 20
    guidance: float | None = None
    guidance_least: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, got {self.steps}")
        if self.guidance is not None and not math.isfinite(self.guidance):
            raise InputError(f"guidance must be a finite number, got {self.guidance}")
        if not 0 <= self.guidance_least < math.inf:
            raise InputError(
                f"guidance_least must be at least 0 and finite, got {self.guidance_least}"
            )

    @property
    def evaluations(self) -> int:
        """Network evaluations that a sample takes, 0 for a sampler that takes as many as it needs.

        Guided each step counts twice, also those below ``guidance_least``, which take one.
        """
        if self.sampler.evaluations_per_step == 0:
            return 0
        extra = self.sampler.extra_evaluations if self.steps > 1 else 0
        each = self.sampler.evaluations_per_step * (self.steps - 1) + extra + 1
        return each if self.guidance in (None, 0, 1) else 2 * each


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a model is made from: data, network, noise, loss, training and sampling.

    Arguments:
        data: the data set.
        network: the network's description.
        schedule: the noising path.
        parameterization: what the network regresses on.
        objective: the loss.
        training: how it is trained.
        sampling: how samples are drawn unless asked otherwise.
        augmentation: what is done to the data in training.
        marginal: the law of a single number of the data, which the network starts from; with 0 pieces
            it is not looked at.
    """

    data: Dataset
    network: NetworkConfig
    schedule: Schedule = VP()
    parameterization: Parameterization = EDM()
    objective: Objective = Objective()
    training: Training = Training()
    sampling: Sampling = Sampling()
    augmentation: Augmentation = Augmentation()
    marginal: Marginal = Marginal()

    def fitted(self, spec: DataSpec) -> Recipe:
        """This recipe with σ_data as measured, unless it was set.

        Arguments:
            spec: the description of the data.
        """
        if self.parameterization.sigma_data is not None:
            return self
        known = replace(self.parameterization, sigma_data=spec.sigma_data)
        return replace(self, parameterization=known)

    def classes(self, spec: DataSpec) -> int:
        """Number of classes a model of this recipe can be asked for; 0 if it is unconditional.

        Arguments:
            spec: the description of the data.
        """
        return spec.classes if getattr(self.network, "conditional", False) else 0

    def guidance(self, spec: DataSpec) -> float | None:
        """w that samples are drawn with unless asked otherwise; none if the model cannot be guided.

        Arguments:
            spec: the description of the data.
        """
        able = self.classes(spec) > 0 and self.objective.drop > 0
        return self.sampling.guidance if able else None

    def check_guidance(self, spec: DataSpec) -> None:
        """Refuse classifier-free guidance of a model that does not know both with a label and without.

        Arguments:
            spec: the description of the data.

        Raises:
            InputError: for a model without labels, or one that was trained with a label everywhere.
        """
        if self.classes(spec) == 0:
            raise InputError("guidance needs a model that knows labels, and this one knows none")
        if self.objective.drop == 0:
            raise InputError(
                "guidance needs a model that was trained with some labels dropped, and this one has "
                "objective.drop=0; 0.1 would do"
            )

    def check_sampler(self, sampler: Sampler) -> None:
        """Refuse fresh noise for a model whose coupling of noise and data hides the score.

        Arguments:
            sampler: the way from noise to data.

        Raises:
            InputError: for a stochastic sampler of such a model.
        """
        if sampler.stochastic and not self.objective.coupling.gives_score:
            raise InputError(
                f"{type(sampler).__name__} adds fresh noise, which takes the score, and a network "
                f"trained with {type(self.objective.coupling).__name__} pairs of noise and data knows "
                f"the flow only; a deterministic sampler, such as dpm++ or heun, would do"
            )

    def build(self, spec: DataSpec, moments: Moments | None = None) -> NetworkDenoiser:
        """The denoiser with fresh weights, drawn from torch's global generator.

        Arguments:
            spec: the description of the data.
            moments: their mean and covariance; if not given, the mean and σ_data of the description.

        Raises:
            InputError: for a parameterization that the schedule does not allow, or a network or an
                augmentation that does not fit the data.
        """
        recipe = self.fitted(spec)
        if not all(c.isfinite() for c in self.parameterization.inversion(self.schedule, 1.0)):
            raise InputError(
                f"{type(self.parameterization).__name__} cannot give x₀ back on "
                f"{type(self.schedule).__name__}, where no signal is left at t = 1; use x0, v, "
                f"velocity or edm"
            )
        self.augmentation.check(spec)
        network = recipe.network.build(
            self.marginal.told(spec.shape), spec.classes, self.augmentation.told_length
        )
        moments = moments or white_moments(spec.mean, spec.sigma_data, spec.shape)
        return NetworkDenoiser(
            network,
            recipe.schedule,
            recipe.parameterization,
            spec.mean,
            moments,
            self.marginal,
        )
