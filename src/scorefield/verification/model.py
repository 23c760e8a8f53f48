"""A trained model against its own data: the ideal denoiser, the flow, calibration, and what fits it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.sde import transition
from scorefield.models.computing import Computing, computed
from scorefield.models.model import Model
from scorefield.recipes.catalog import SAMPLERS
from scorefield.samplers.base import Sampler, sample
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.noise import seeded
from scorefield.verification.claims import Claim, Place
from scorefield.verification.schedules import runge_kutta
from scorefield.verification.subject import POINTS, Subject

LEVELS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)  # noise levels σ/α in units of σ_data
STEPS = 40  # of DPM-Solver++; its samples are held against those of twice as many
SAMPLES = 16  # that are compared so


How = Callable[[Subject, float, Place], float]


def _mean_square(x: Tensor) -> float:
    return float(x.double().square().mean())


def distance_to_ideal(subject: Subject, level: float, place: Place) -> float:
    """The root-mean-square distance of the model to the ideal denoiser, in σ_data."""
    t = subject.time(level)
    _, x = subject.noised(t, place, subject.count)
    apart = subject.denoise(x, t, place) - _ideal(subject, x, t)
    return float(_mean_square(apart) ** 0.5 / subject.model.spec.sigma_data)


def squared_error(subject: Subject, level: float, place: Place) -> float:
    """E‖x̂₀ - x₀‖², in σ_data²."""
    t = subject.time(level)
    x0, x = subject.noised(t, place, subject.count)
    return _mean_square(subject.denoise(x, t, place) - x0) / subject.model.spec.sigma_data**2


def least_error(subject: Subject, level: float, place: Place) -> float:
    """E‖x̂₀* - x₀‖² of the ideal denoiser, the least there is on its points, in σ_data²."""
    t = subject.time(level)
    x0, x = subject.noised(t, place, subject.count)
    return _mean_square(_ideal(subject, x, t) - x0) / subject.model.spec.sigma_data**2


def regret(subject: Subject, place: Place) -> float:
    """E‖x̂₀ - x₀‖² - E‖x̂₀* - x₀‖² - E‖x̂₀ - x̂₀*‖² at σ/α = σ_data, in standard errors of the mean.

    0 for every model, however bad, when x̂₀* is the ideal denoiser of the points.
    """
    t = subject.time(1.0)
    x0, x = subject.noised(t, place, subject.count)
    got, ideal = subject.denoise(x, t, place).double(), _ideal(subject, x, t).double()
    cross = 2 * ((got - ideal) * (ideal - x0.double())).flatten(1).sum(1)
    return float(cross.mean() / (cross.std() / len(cross) ** 0.5))


def _ideal(subject: Subject, x: Tensor, t: Tensor) -> Tensor:
    ideal = subject.ideal.to(x.device)
    return torch.cat([ideal(part, t) for part in torch.split(x, 64)])


def calibration(subject: Subject, level: float, place: Place) -> float:
    """The slope of x₀ on x̂₀ about the data's mean, which is 1 for E[x₀ | x_t]."""
    t = subject.time(level)
    x0, x = subject.noised(t, place, subject.count, key=3)
    return _slope(subject.denoise(x, t, place), x0)


def martingale(subject: Subject, level: float, place: Place) -> float:
    """The slope of x̂₀(x_s) on x̂₀(x_t), s at half the noise of t, which is 1 for E[x₀ | x_t].

    x_t is x_s noised further, as in the forward process.
    """
    s, t = subject.time(level / 2), subject.time(level)
    _, x = subject.noised(s, place, subject.count, key=4)
    kept, variance = transition(subject.model.denoiser.schedule, s, t)
    fresh = torch.randn(x.shape, generator=subject.generator(5)).to(x)
    noisier = expand(kept, x) * x + expand(torch.sqrt(variance), x) * fresh
    return _slope(subject.denoise(noisier, t, place), subject.denoise(x, s, place))


def _slope(x: Tensor, y: Tensor) -> float:
    x, y = x.double().flatten(1), y.double().flatten(1)
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x * y).sum() / (x * x).sum())


def predicted_error(subject: Subject, level: float, place: Place) -> float:
    """E‖x̂₀ - x₀‖² over what the model's own Jacobian predicts, (σ²/α) tr ∂x̂₀/∂x, less 1.

    The trace is measured with one sign vector a sample, by central differences.
    """
    t = subject.time(level)
    x0, x = subject.noised(t, place, subject.count, key=6)
    alpha, sigma = (float(v) for v in subject.model.denoiser.schedule(t))
    z = torch.randint(2, x.shape, generator=subject.generator(7)).to(x) * 2 - 1
    h = 0.05 * sigma
    change = subject.denoise(x + h * z, t, place) - subject.denoise(x - h * z, t, place)
    predicted = sigma**2 / alpha * float((z * change).double().mean()) / (2 * h)
    return _mean_square(subject.denoise(x, t, place) - x0) / predicted - 1


def two_step_sizes(subject: Subject, place: Place) -> float:
    """The distance between a sample in `STEPS` and in twice as many, in σ_data: the median of some.

    Of many samples one begins so near to where the flow parts that it ends as something else. The
    median says how well the others are resolved; a mean would say how many such samples there were.
    """
    which = range(SAMPLES)
    ends = [_samples(subject, DPMSolverPP(), n, which, place) for n in (STEPS, 2 * STEPS)]
    apart = (ends[0] - ends[1]).double().flatten(1).square().mean(1).sqrt()
    return float(apart.median() / subject.model.spec.sigma_data)


def _samples(subject: Subject, sampler: Sampler, steps: int, which: range, place: Place) -> Tensor:
    model = subject.model
    noise, cond = seeded(0, which), subject.cond(len(which), place)
    return sample(
        model.denoiser, (len(which), *model.spec.shape), sampler, steps, noise=noise, **cond
    )


def round_trip(subject: Subject, place: Place) -> float:
    """Data to noise along the flow and back, by Runge-Kutta in 12 steps each way, in σ_data.

    From the noise level 0.1 σ_data to 10 σ_data, or as far as the path goes.
    """
    low, high = (float(subject.time(level)) for level in (0.1, 10.0))
    path, denoiser = subject.model.denoiser.schedule, subject.model.denoiser
    ends = path.log_snr(low), path.log_snr(min(high, 0.98))
    ramp = torch.linspace(0, 1, 13, dtype=torch.float64)
    times = path.time(ends[0] + ramp * (ends[1] - ends[0]))
    _, start = subject.noised(times[0], place, subject.few, key=8)
    cond, x = subject.cond(subject.few, place), start
    with torch.no_grad():
        for t, s in [*pairwise(times), *pairwise(times.flip(0))]:
            x = runge_kutta(lambda t, x: denoiser.velocity(x, t, **cond), x, t, s)
    return float(_mean_square(x - start) ** 0.5 / subject.model.spec.sigma_data)


def alone_and_among(subject: Subject, place: Place) -> float:
    """The largest difference between the last of a few samples and the same one alone, in σ_data."""
    own, n = subject.model.recipe.sampling, subject.few
    many = _samples(subject, own.sampler, own.steps, range(n), place)
    one = _samples(subject, own.sampler, own.steps, range(n - 1, n), place)
    return float((many[-1] - one[0]).abs().max() / subject.model.spec.sigma_data)


def compiled_and_eager(subject: Subject, place: Place) -> float:
    """The largest difference that compiling the network makes to x̂₀, in σ_data."""
    return float(_change(subject, Computing("fp32", "on"), place).abs().max())


def rounded_and_exact(subject: Subject, place: Place) -> float:
    """The root-mean-square difference that a network in bfloat16 makes to x̂₀, in σ_data."""
    return math.sqrt(_mean_square(_change(subject, Computing("bf16"), place)))


def _change(subject: Subject, how: Computing, place: Place) -> Tensor:
    """What computing the network in another way changes in x̂₀ at σ/α = σ_data, in σ_data."""
    model, t = subject.model, subject.time(1.0)
    _, x = subject.noised(t, place, 8, key=9)
    engine = how.engine(model.spec.shape, x.device)
    with torch.no_grad():
        way = computed(model.denoiser, engine, len(x))
        found: Tensor = way(x, t, **subject.cond(len(x), place))
    return (found - subject.denoise(x, t, place)) / model.spec.sigma_data


def runs(subject: Subject, sampler: Sampler, place: Place) -> float:
    """The share of finite numbers in samples with a sampler; it may refuse the model instead."""
    subject.model.recipe.check_sampler(sampler)
    drawn = _samples(subject, sampler, 4, range(2), place)
    return float(torch.isfinite(drawn).double().mean())


def model_claims(model: Model, seed: int = 0) -> tuple[Claim, ...]:
    """The claims on a trained model; those without a tolerance only describe it.

    Arguments:
        model: the model.
        seed: fixes the choice of points and the noise.
    """
    subject = Subject(model, seed)
    return (*_on_data(subject), *_on_samples(subject), *_on_samplers(subject))


def _on_data(subject: Subject) -> Iterator[Claim]:
    """What it makes of noisy training points."""
    what = f"{min(POINTS, len(subject.data))} training points"
    ideal, forward = f"ideal denoiser of {what}", "E[x₀ | x_t] is one"

    def at(levels: Sequence[float], name: str, source: str, how: How) -> Iterator[Claim]:
        named = (
            (f"σ/α = {level:g} σ_data: {name}", partial(how, subject, level)) for level in levels
        )
        return (Claim(name, source, measure, None) for name, measure in named)

    def is_one(claims: Iterator[Claim]) -> Iterator[Claim]:
        return (replace(claim, tolerance=0.1, expected=1.0) for claim in claims)

    middle = LEVELS[1:4]
    yield from at(LEVELS, "distance to the ideal, σ_data", ideal, distance_to_ideal)
    yield from at(LEVELS, "squared error, σ_data²", what, squared_error)
    yield from at(LEVELS, "the least squared error, σ_data²", ideal, least_error)
    yield Claim("regret is the distance to the ideal, in SE", ideal, partial(regret, subject), 4.0)
    yield from is_one(at(middle, "slope of x₀ on x̂₀ is 1", forward, calibration))
    yield from is_one(at(middle, "slope of x̂₀(x_s) on x̂₀(x_t) is 1", forward, martingale))
    yield from at(middle, "error over what ∂x̂₀/∂x predicts, less 1", "Stein 1981", predicted_error)


def _on_samples(subject: Subject) -> Iterator[Claim]:
    """Its flow and its samples."""
    flow = "the flow is a map"
    yield Claim(
        f"{STEPS} and {2 * STEPS} steps agree, σ_data", flow, partial(two_step_sizes, subject), 0.03
    )
    yield Claim("to noise and back, σ_data", flow, partial(round_trip, subject), 0.05)
    alone = partial(alone_and_among, subject)
    yield Claim("a sample alone and among others, σ_data", "seeded noise", alone, 1e-3)
    rounded = partial(rounded_and_exact, subject)
    yield Claim("bf16 and fp32 agree, RMS, σ_data", "8 bits of bfloat16", rounded, 0.03)
    compiled = partial(compiled_and_eager, subject)
    yield Claim("compiled and eager agree, σ_data", "torch.compile", compiled, 1e-3, slow=True)


def _on_samplers(subject: Subject) -> Iterator[Claim]:
    """Which samplers of the catalog fit it."""
    for kind, cls in SAMPLERS.items():
        how = partial(runs, subject, cls())
        yield Claim(f"sampler {kind} runs", "the catalog", how, 0.0, expected=1, may_refuse=True)
