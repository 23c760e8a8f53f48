"""Small untrained models whose outputs are not zero."""

import pytest
import torch
from torch import nn

from scorefield.data.base import DataSpec
from scorefield.models import Model
from scorefield.recipes import find_recipe

IMAGES = DataSpec((1, 9, 10), 3, mean=(-0.4,), sigma_data=0.5)
POINTS = DataSpec((2,), 0, None, None, None, (0.1, -0.2), 1.0)


def build(recipe, spec):
    recipe = recipe.fitted(spec)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = recipe.build(spec)
        for parameter in denoiser.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.1)
    return Model(denoiser.eval().requires_grad_(False), recipe, spec, 120)


@pytest.fixture(scope="session")
def images():
    """A model of images with three classes."""
    words = ["network.width=8", "network.heads=2", "sampling.steps=4"]
    return build(find_recipe("mnist-vp", words), IMAGES)


@pytest.fixture(scope="session")
def points():
    """A model of points without labels."""
    return build(find_recipe("moons", ["network.width=8", "sampling.steps=4"]), POINTS)


@pytest.fixture(params=["images", "points"])
def model(request):
    return request.getfixturevalue(request.param)
