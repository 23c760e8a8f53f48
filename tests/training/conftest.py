"""Small data and small recipes to train on."""

import pytest

from scorefield.data.base import described
from scorefield.data.mnist import MNIST10k
from scorefield.recipes import find_recipe

IMAGES = [
    *("network.width=8", "network.heads=2", "training.batch=16", "training.warmup=2"),
    *("training.precision=fp32", "training.compile=off", "training.budget=6steps"),
    "training.health_every=off",
]
POINTS = [
    *("data.size=64", "network.width=8", "network.depth=1", "training.batch=16"),
    *("training.warmup=2", "training.budget=6steps", "training.health_every=off"),
]


@pytest.fixture(scope="session")
def few():
    """96 digits of 14×14 pixels."""
    arrays = MNIST10k().load()
    return described(arrays.x[:96, :, ::2, ::2].contiguous(), arrays.label[:96], classes=10)


@pytest.fixture
def recipe(few, monkeypatch):
    """recipe("images", "training.seed=1"): a small recipe with settings of one's own."""
    monkeypatch.setattr(MNIST10k, "load", lambda self, split="train": few)

    def small(kind, *words):
        name, own = ("mnist10k", IMAGES) if kind == "images" else ("moons", POINTS)
        return find_recipe(name, [*own, *words])

    return small
