"""How the network computes here, chosen by measuring: precision, memory layout and compilation."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from scorefield.nets.base import Network
from scorefield.nets.engine import Engine
from scorefield.recipes.training import Training

SHORT_RUN = 30.0  # seconds of training below which measuring does not pay
COMPILE_PAYS = 120.0  # seconds of training above which compiling may pay
PASSES = 10  # timed for each way
HOPELESS = 2.0  # times the best so far: a way is timed no further when two passes took more
WRONG = 0.5  # of a gradient's norm: bfloat16 alone is off by up to 0.1
SMALL = 0.01  # of the largest gradient's norm: below, a gradient may be all rounding


@dataclass(frozen=True)
class Trial:
    """A measured way to compute.

    Arguments:
        engine: the way.
        seconds: median time of a forward and backward pass of a batch; infinite if it failed.
        preparation: time of the first pass, which is where compiling happens.
        failure: why it failed, if it did.
    """

    engine: Engine
    seconds: float
    preparation: float
    failure: str = ""


def measured(
    engine: Engine,
    network: Network,
    run: Callable[[Engine], None],
    n: int = PASSES,
    best: float = math.inf,
) -> Trial:
    """Time a way to compute.

    Arguments:
        engine: the way.
        network: what it is applied to, and left so.
        run: one forward and backward pass.
        n: passes to time after the first, fewer if these are hopeless; 0 to take the time of the first.
        best: seconds of the best way so far.
    """
    times: list[float] = []
    try:
        engine.apply(network)
        while len(times) <= n and not _hopeless(times[1:], best):
            times.append(_timed(run, engine))
        failure = disagreement(engine, network, run) if engine.compiled else ""
    except Exception as error:  # a compiler may be missing or fail in any way
        if not engine.compiled:
            raise
        failure = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    if failure:
        replace(engine, compiled=False).apply(network)
        return Trial(engine, math.inf, 0.0, failure)
    return Trial(engine, statistics.median(times[1:] or times), times[0])


def _hopeless(times: Sequence[float], best: float) -> bool:
    """Whether two passes or more all say that a way is much slower than another."""
    return len(times) > 1 and min(times) > HOPELESS * best


def in_turns(
    ways: Sequence[Trial], network: Network, run: Callable[[Engine], None], n: int = PASSES
) -> list[Trial]:
    """Time ways again that have been tried, pass about, so that noise falls on all of them alike.

    Arguments:
        ways: what has been tried, and did not fail.
        network: what they are applied to, and left as the last of them.
        run: one forward and backward pass.
        n: passes to time of each.
    """
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(n):
        for way, found in zip(ways, times, strict=True):
            way.engine.apply(network)
            found.append(_timed(run, way.engine))
    return [
        replace(w, seconds=statistics.median(found)) for w, found in zip(ways, times, strict=True)
    ]


def _timed(run: Callable[[Engine], None], engine: Engine) -> float:
    begin = time.perf_counter()
    run(engine)
    return time.perf_counter() - begin


def disagreement(engine: Engine, network: Network, run: Callable[[Engine], None]) -> str:
    """What is wrong with the gradients of a compiled network, against the same without compiling.

    Compilers err: a gradient that is off by more than half of its norm is named. Weights are disturbed
    for the comparison, since fresh networks end in zeros, behind which there is no gradient to compare.

    Arguments:
        engine: the compiled way.
        network: laid out and compiled; left so.
        run: one forward and backward pass, which leaves its gradients.

    Returns:
        A clause for a sentence, or nothing when all gradients agree.
    """
    plain = replace(engine, compiled=False)
    # Compilers draw other dropout masks than eager code, and gradients differ by that alone.
    with _disturbed(network), _without_dropout(network):
        found = _gradients(engine, network, run)
        plain.apply(network)
        right = _gradients(plain, network, run)
        engine.apply(network)
    # A shift before the norm of a single channel, such as ScoreNet's, has no gradient but rounding.
    least = SMALL * max((float(g.norm()) for g in right.values()), default=0.0)
    for name, gradient in right.items():
        error = (found[name] - gradient).norm() / gradient.norm().clamp(min=least)
        if not error <= WRONG:
            return f"the compiled gradient of {name} is wrong by {float(error):.0%}"
    return ""


def _gradients(
    engine: Engine, network: Network, run: Callable[[Engine], None]
) -> dict[str, Tensor]:
    run(engine)
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@contextmanager
def _without_dropout(network: Network) -> Iterator[None]:
    active = [m for m in network.modules() if isinstance(m, nn.Dropout) and m.p and m.training]
    for module in active:
        module.eval()
    try:
        yield
    finally:
        for module in active:
            module.train()


@contextmanager
def _disturbed(network: Network) -> Iterator[None]:
    generator = torch.Generator().manual_seed(0)
    saved = [p.detach().clone() for p in network.parameters()]
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator).to(p))
    try:
        yield
    finally:
        with torch.no_grad():
            for p, before in zip(network.parameters(), saved, strict=True):
                p.copy_(before)


def trials(
    training: Training,
    network: Network,
    run: Callable[[Engine], None],
    remaining: Callable[[float], float],
    agreed: Callable[[Trial], Trial] = lambda trial: trial,
) -> Iterator[Trial]:
    """Measure the ways worth trying, cheapest first.

    The fastest is the one to use, by the last word on each: the best way without compiling is timed
    twice, at last in turns with compiled code, as a busy machine may slow down between the two.

    Arguments:
        training: what the recipe leaves open; nothing is measured that it settles.
        network: the network, which is left laid out as last tried.
        run: one forward and backward pass of a batch.
        remaining: seconds of training left, given the seconds of a step.
        agreed: what all processes make of a trial, which each has measured by itself.
    """
    images = any(p.ndim == 4 for p in network.parameters())
    fixed = "fp32" if training.precision == "auto" else training.precision
    first = Engine(fixed, channels_last=images)
    if training.precision != "auto" and training.compile == "off":
        yield Trial(first, 0.0, 0.0)
        return
    best = agreed(measured(first, network, run, n=1))
    yield best
    if remaining(best.seconds) > SHORT_RUN and training.precision == "auto":
        for engine in [replace(first, channels_last=False), replace(first, precision="bf16")]:
            trial = agreed(measured(engine, network, run, best=best.seconds))
            best = min(best, trial, key=lambda t: t.seconds)
            yield trial
    pays = training.compile == "auto" and remaining(best.seconds) > COMPILE_PAYS
    if pays or training.compile == "on":
        compiled = agreed(measured(replace(best.engine, compiled=True), network, run, n=1))
        if compiled.failure or training.compile == "on":
            yield compiled
        else:
            yield from map(agreed, in_turns([best, compiled], network, run))
