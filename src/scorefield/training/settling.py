"""How a run computes from its first step on: measured when it begins, as before when it goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

from scorefield.nets.base import Network
from scorefield.nets.engine import Engine
from scorefield.recipes.training import Training
from scorefield.training.engine import Trial, measured, trials
from scorefield.training.progress import Remark

Run = Callable[[Engine], None]


def fastest(
    training: Training,
    network: Network,
    run: Run,
    remaining: Callable[[float], float],
    slowest: Callable[[Trial], Trial],
) -> Generator[Remark, None, Engine]:
    """The fastest way to compute, with a remark on each that was tried.

    Arguments:
        training: what the recipe leaves open.
        network: the network, which is left laid out as last tried.
        run: one forward and backward pass of a batch.
        remaining: seconds of training left, given the seconds of a step.
        slowest: a trial as it went in the process that took longest.
    """
    tried = {}
    for trial in trials(training, network, run, remaining, slowest):
        tried[trial.engine] = trial
        if trial.failure:
            yield _uncompiled(trial)
        elif trial.seconds:
            words = f"{trial.engine}: {training.batch / trial.seconds:.0f} images/s"
            if trial.engine.compiled:
                words += f", after {trial.preparation:.0f} s of compiling"
            yield words, False
    forced = training.compile == "on"
    return min(
        (trial for trial in tried.values() if not trial.failure),
        key=lambda trial: (forced and not trial.engine.compiled, trial.seconds),
    ).engine


def as_before(
    engine: Engine, network: Network, run: Run, slowest: Callable[[Trial], Trial]
) -> Generator[Remark, None, Engine]:
    """The way a run has computed so far; without compiling, where this machine is not able to.

    Arguments:
        engine: the way so far.
        network: the network.
        run: one forward and backward pass of a batch.
        slowest: a trial as it went in the process that took longest.
    """
    if engine.compiled:  # before the first step, as compiling is not training time
        trial = slowest(measured(engine, network, run, n=0))
        if trial.failure:
            yield _uncompiled(trial)
            return replace(engine, compiled=False)
    return engine


def _uncompiled(trial: Trial) -> Remark:
    return f"not compiled ({trial.failure}); training goes on without", True
