"""Data in memory as a data set, and pictures of smooth noise to plant things in."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional

from scorefield.data.base import Data, Dataset, described
from scorefield.doctor import Examination
from scorefield.errors import InputError


@dataclass(frozen=True)
class InMemory(Dataset):
    """Data that are there already."""

    train: Data
    test: Data | None = None

    def load(self, split="train"):
        if split == "test" and self.test is None:
            raise InputError("there is no test split")
        return self.train if split == "train" else self.test


@pytest.fixture
def pictures(generator):
    """pictures(50): different images, uint8 (50, 1, 20, 20), blurred noise over the whole range."""

    def pictures(count, channels=1, side=20):
        coarse = torch.rand(count, channels, 5, 5, generator=generator)
        smooth = functional.interpolate(coarse, size=(side, side), mode="bicubic")
        return (smooth.clamp(0, 1) * 255).round().to(torch.uint8)

    return pictures


@pytest.fixture
def diagnosed():
    """diagnosed(data): the diagnosis of data, and of a test split."""
    return lambda data, test=None: Examination(InMemory(data, test)).diagnosis


@pytest.fixture
def examined(diagnosed):
    """examined(x, label, test=y): the diagnosis of stored samples."""

    def examined(x, label=None, test=None, **known):
        test = None if test is None else described(test, **known)
        return diagnosed(described(x, label, **known), test)

    return examined


@pytest.fixture
def names():
    """names(diagnosis): what was found, by name."""
    return lambda diagnosis: {finding.name: finding for finding in diagnosis.findings}
