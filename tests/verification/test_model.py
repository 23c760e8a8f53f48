"""What `verify RUN` says of models that are right, and of models that are not."""

from types import SimpleNamespace

import pytest
import torch

from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import EmpiricalDenoiser
from scorefield.core.schedules import VP
from scorefield.data.base import DataSpec
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.verification import Place
from scorefield.verification.model import alone_and_among, regret, round_trip, two_step_sizes
from scorefield.verification.subject import Subject


class Rough(Denoiser):
    """A denoiser with a ripple in log-SNR that 40 steps do not resolve."""

    def __init__(self, denoiser):
        super().__init__(denoiser.schedule)
        self.denoiser = denoiser

    def forward(self, x, t, **cond):
        return self.denoiser(x, t) * (1 + 0.5 * torch.sin(5 * self.schedule.log_snr(t)))


def subject(denoiser):
    spec = DataSpec((2,), sigma_data=0.9)
    return Subject(SimpleNamespace(denoiser=denoiser, spec=spec, classes=0))


def test_two_step_sizes_agree_on_a_smooth_flow_only(mixture):
    exact = mixture(VP())
    assert two_step_sizes(subject(exact), Place()) < 0.01
    assert two_step_sizes(subject(Rough(exact)), Place()) > 0.1


class Mixed(Rough):
    """A denoiser that looks at the other samples too."""

    def forward(self, x, t, **cond):
        return self.denoiser(x, t) + 0.1 * x.mean(0)


@pytest.mark.parametrize(("wrong", "least"), [(False, 0), (True, 1e-2)])
def test_a_sample_alone_is_that_among_others(mixture, wrong, least):
    exact = mixture(VP())
    one = subject(Mixed(exact) if wrong else exact)
    own = SimpleNamespace(sampler=DPMSolverPP(), steps=5)
    one.model.recipe = SimpleNamespace(sampling=own)
    found = alone_and_among(one, Place())
    assert found > least if wrong else found < 1e-6


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_regret_knows_the_ideal(mixture, generator, shift):
    exact = mixture(VP())
    points, one = exact.draw(200, generator).float(), subject(exact)
    vars(one).update(data=points, ideal=EmpiricalDenoiser(VP(), points + shift))
    assert (abs(regret(one, Place())) > 4) == (shift > 0)


class Jumping(Rough):
    """A denoiser that takes another way by the last bits of its state: no flow leads back."""

    def forward(self, x, t, **cond):
        return self.denoiser(x, t) + 0.3 * torch.sign(torch.sin(1e6 * x))


@pytest.mark.parametrize("wrong", [False, True])
def test_the_way_back_is_the_way(mixture, generator, wrong):
    exact = mixture(VP())
    one = subject(Jumping(exact) if wrong else exact)
    vars(one).update(data=exact.draw(200, generator).float())
    assert (round_trip(one, Place()) > 0.05) == wrong
