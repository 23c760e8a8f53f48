"""What `verify RUN` says of a model's flow: a smooth one passes, a rough one does not."""

from types import SimpleNamespace

import torch

from scorefield.core.denoisers import Denoiser
from scorefield.core.schedules import VP
from scorefield.data.base import DataSpec
from scorefield.verification import Place
from scorefield.verification.model import two_step_sizes
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
