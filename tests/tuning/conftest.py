"""Settings whose worth is known, and models whose best sampler is known by mathematics."""

from dataclasses import dataclass

import pytest
import torch

from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VE
from scorefield.data.base import DataSpec
from scorefield.evaluation import frechet_from_moments
from scorefield.models import Model
from scorefield.recipes import find_recipe

MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.7], [0.7, 0.6]], dtype=torch.float64)


@dataclass(frozen=True)
class Offset:
    """The mean of all features, whose resamples have a known law."""

    distance_name: str = "mean"

    def look(self, x):
        return x

    def distance(self, features):
        return float(features.mean())


@dataclass(frozen=True)
class Frechet:
    """The Fréchet distance to a Gaussian's exact moments."""

    mean: torch.Tensor
    covariance: torch.Tensor
    distance_name: str = "Fréchet distance"

    def look(self, x):
        return x.double()

    def distance(self, features):
        covariance = torch.cov(features.T)
        return frechet_from_moments(features.mean(0), covariance, self.mean, self.covariance)


@pytest.fixture
def offset():
    return Offset()


@pytest.fixture
def frechet():
    return Frechet(MEAN, COVARIANCE)


@pytest.fixture
def exact():
    """A model of Gaussian data without an error: `gaussian-residual` samples it exactly."""
    recipe = find_recipe("moons", ["schedule=ve", "sampling.sampler=ddim", "sampling.steps=4"])
    spec = DataSpec((2,), 0, None, None, None)
    return Model(GaussianDenoiser(VE(0.002, 80.0), MEAN, COVARIANCE), recipe, spec, 1)
