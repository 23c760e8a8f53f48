"""What is tried: ways of sampling, each in as many steps as a number of network evaluations allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scorefield.recipes.recipe import Sampling
from scorefield.samplers.adams import DEIS, IPNDM
from scorefield.samplers.ancestral import DDIM, Ancestral
from scorefield.samplers.base import Sampler
from scorefield.samplers.correctors import SASolver, UniPC
from scorefield.samplers.exponential import DPMSolver, DPMSolverPP, SDEDPMSolverPP
from scorefield.samplers.flow import Euler, Heun
from scorefield.samplers.grids import Karras, UniformLogSNR, UniformTime
from scorefield.samplers.residual import GaussianResidual
from scorefield.samplers.restart import Restart
from scorefield.samplers.stochastic import EulerMaruyama, PredictorCorrector

GUIDANCES = (None, 1.5, 2.5)
GUIDED = 2  # places down the list that the next guidance of the same sampler is taken up


@dataclass(frozen=True)
class Way:
    """A sampler that is tried.

    Arguments:
        sampler: the sampler.
        least: network evaluations below which it is not worth its time.
    """

    sampler: Sampler
    least: int = 3


# In the order in which they are taken up: a small budget tries the first of them.
OTHERS = (
    Way(DPMSolverPP(UniformLogSNR())),
    Way(UniPC(UniformLogSNR())),
    Way(SDEDPMSolverPP(UniformLogSNR())),
    Way(DPMSolver(UniformLogSNR(), order=3)),
    Way(DDIM(UniformLogSNR(), eta=0.5)),
    Way(IPNDM(Karras())),
    Way(DPMSolverPP(Karras())),
    Way(SASolver(UniformLogSNR(), tau=0.5)),
    Way(DDIM(UniformTime())),
    Way(Heun(Karras()), 9),
    Way(DEIS(UniformLogSNR())),
    Way(Ancestral(UniformLogSNR()), 9),
    Way(Heun(Karras(), churn=5.0), 15),
    Way(SDEDPMSolverPP(Karras(), eta=0.5)),
    Way(UniPC(Karras())),
    Way(DDIM(Karras(), eta=1.0)),
    Way(EulerMaruyama(UniformLogSNR()), 15),
    Way(Restart(), 20),
    Way(PredictorCorrector(UniformTime(), snr=0.08), 20),
    Way(Euler(UniformTime())),
    Way(IPNDM(UniformLogSNR())),
    Way(DDIM(UniformLogSNR())),
)


@dataclass(frozen=True)
class Setting:
    """A way of sampling that takes part in a race.

    Arguments:
        sampling: the way.
        level: network evaluations a sample that it may take; those of one level race each other.
    """

    sampling: Sampling
    level: int

    @property
    def evaluations(self) -> int:
        """Network evaluations that a sample takes."""
        return self.sampling.evaluations


def ways(image: bool) -> tuple[Way, ...]:
    """All that is tried: an image's last noise is best left to the network, a vector's to the flow.

    Arguments:
        image: whether samples are images.
    """
    flow, trained = Way(GaussianResidual()), Way(GaussianResidual.for_networks())
    return (trained, *OTHERS, flow) if image else (flow, *OTHERS, trained)


def settings_at(
    level: int, known: Sequence[Way], *, moments: bool, guidances: Sequence[float | None] = (None,)
) -> list[Setting]:
    """What can be done with a number of network evaluations, the most promising first.

    Arguments:
        level: network evaluations a sample, at most.
        known: what is tried, the most promising first.
        moments: whether the model knows its data's moments.
        guidances: what to try of those.
    """
    ranked = sorted(
        (place + GUIDED * number, number, place)
        for place in range(len(known))
        for number in range(len(guidances))
    )
    made = (_made(known[place], level, guidances[number]) for _, number, place in ranked)
    return [one for one in made if one and (moments or not one.sampling.sampler.needs)]


def _made(way: Way, level: int, guidance: float | None) -> Setting | None:
    within = level // _each(guidance)
    if within < way.least:
        return None
    sampler = way.sampler
    steps = (within - 1 - sampler.extra_evaluations) // sampler.evaluations_per_step + 1
    if steps < 2:
        return None
    return Setting(Sampling(sampler=sampler, steps=steps, guidance=guidance), level)


def _each(guidance: float | None) -> int:
    return 1 if guidance in (None, 0, 1) else 2
