"""Problems with exact answers, and every kind of schedule, for all tests."""

import gc
import os
import warnings

import pytest
import torch

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import EmpiricalDenoiser, GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedules import VE, VP, Cosine, Flow, SubVP, TutorialVE

with warnings.catch_warnings():
    # torch compiles a few rules with its own deprecated torch.jit.script at the first jvp.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))

SCHEDULES = {
    "vp": VP(),
    "subvp": SubVP(),
    "ve": VE(),
    "ve-edm": VE(0.002, 80.0),
    "ve-tutorial": TutorialVE(),
    "cosine": Cosine(),
    "flow": Flow(),
    # Ho et al.'s chain with a tenth of the steps and ten times the noise in each.
    "ddpm": DDPM(100, LinearBetas(1e-3, 0.2)),
}


class Labelled(Denoiser):
    """N(-½, 1) for label 0, N(½, 1) for label 1 and N(0, 1) for none, each exactly."""

    def __init__(self, schedule):
        super().__init__(schedule)
        one = torch.ones(1, 1)
        means = [torch.full((1,), m) for m in (-0.5, 0.5, 0.0)]
        self.parts = torch.nn.ModuleList(GaussianDenoiser(schedule, m, one) for m in means)

    def forward(self, x, t, *, label):
        each = torch.stack([part(x, t) for part in self.parts])
        return each[label, torch.arange(len(x))]


def double(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def pytest_collection_finish():
    """Torch and what else was imported stays: no search for garbage need look at it again."""
    gc.freeze()


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES.keys())
def schedule(request):
    return request.param


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def normal(generator):
    """normal(2, 3): standard normal numbers of that shape, float64."""
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def gaussian():
    """Correlated Gaussian data off the origin, for a schedule."""
    mean, covariance = double(0.5, -0.3), double([0.5, 0.2], [0.2, 0.3])
    return lambda schedule: GaussianDenoiser(schedule, mean, covariance)


@pytest.fixture
def mixture():
    """Three Gaussians of different weight, shape and orientation, for a schedule."""
    weights = double(0.5, 0.2, 0.3)
    means = double([1.0, 0.5], [-1.0, 0.2], [0.2, -1.1])
    covariances = double(
        [[0.30, 0.10], [0.10, 0.20]],
        [[0.20, -0.05], [-0.05, 0.40]],
        [[0.15, 0.00], [0.00, 0.25]],
    )
    return lambda schedule: MixtureDenoiser(schedule, weights, means, covariances)


@pytest.fixture
def labelled():
    """Two classes of numbers, for a schedule."""
    return Labelled


@pytest.fixture
def points():
    """Five points of the plane as a data set, for a schedule."""
    data = double([1.0, 0.4], [-0.7, 0.9], [0.1, -1.2], [-1.1, -0.5], [0.6, 1.3])
    return lambda schedule: EmpiricalDenoiser(schedule, data)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_disks():
    """No test cuts the power, so no file need be on the disk, which would take milliseconds each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    """What is remembered of data goes to a folder of the tests, not to the user's."""
    monkeypatch.setattr("scorefield.data.surveys.cache_folder", lambda: cache)


@pytest.fixture
def previews():
    """Asked for by the tests that want the pictures of a run; the others save the time."""


@pytest.fixture(autouse=True)
def no_previews(request, monkeypatch):
    if "previews" not in request.fixturenames:
        monkeypatch.setattr("scorefield.training.run.save_preview", lambda *args: None)
