"""Likelihoods and latent codes of a trained model, batch by batch, on data in the model's units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from scorefield.core.broadcast import expand
from scorefield.core.levels import Dequantisation, Levels, data_log_likelihood
from scorefield.core.likelihood import LogLikelihood, decode, encode, normal_prior, slerp
from scorefield.core.objective import NULL_LABEL
from scorefield.core.ode import Solver
from scorefield.core.variational import VariationalBound, variational_bound
from scorefield.data.base import DataSpec, Split
from scorefield.errors import InputError, check_count
from scorefield.models.model import Model
from scorefield.samplers.grids import UniformTime
from scorefield.samplers.noise import seeded


def levels_of(spec: DataSpec) -> Levels | None:
    """The levels of the data in the model's units; none for real numbers.

    Arguments:
        spec: the description of the data.
    """
    if spec.levels is None or spec.low is None or spec.high is None:
        return None
    return Levels(spec.low, spec.high, spec.levels)


def usual_dequantisation(spec: DataSpec) -> Dequantisation:
    """What is done with levels unless asked otherwise: 'uniform', or 'none' for real numbers.

    Arguments:
        spec: the description of the data.
    """
    return "none" if levels_of(spec) is None else "uniform"


def bits_per_dim(log_prob: Tensor, spec: DataSpec) -> Tensor:
    """Bits a number of a sample, from a log-density in nats in the model's units.

        b = -(log p + D log Δ) / (D log 2),   Δ = (high - low)/(levels - 1)

    A density that is constant over the cells of all levels gives exactly log₂ levels. D counts the
    numbers of the data; what a network pads is not among them.

    Arguments:
        log_prob: log p, shape (B,).
        spec: the description of the data.

    Raises:
        InputError: for data without levels, whose density has no bits.
    """
    levels = levels_of(spec)
    if levels is None:
        raise InputError("real numbers without levels have no bits a dimension; nats they have")
    dim = math.prod(spec.shape)
    return -(log_prob + dim * math.log(levels.spacing)) / (dim * math.log(2))


def data_of(
    model: Model, split: Split, n: int, label: Literal["data", "none"] = "data"
) -> tuple[Tensor, Tensor | None]:
    """The first n samples of the model's data, and the labels to ask it about them with.

    Arguments:
        model: a trained model.
        split: 'train' or 'test'.
        n: how many, or as many as there are; at least 1.
        label: 'data' for their own labels, 'none' to ask a conditional model without.

    Raises:
        InputError: for n below 1, a split that is not there, data in other units than the model's, or
            another word for ``label``.
    """
    check_count("the number of samples", n)
    if label not in ("data", "none"):
        raise InputError(f"label must be 'data' or 'none', got '{label}'")
    if label == "none" and model.classes and model.neutral >= 0:
        raise InputError(
            "label must be 'data' for a model that was trained with objective.drop=0, got 'none'"
        )
    data = model.recipe.data.load(split)
    model.spec.check_like(data.spec)
    x, found = data.batch(torch.arange(min(n, len(data))))
    if model.classes == 0 or found is None:
        return x, None
    return x, found if label == "data" else torch.full_like(found, NULL_LABEL)


def likelihoods(
    model: Model,
    x: Tensor,
    label: Tensor | None = None,
    *,
    solver: Solver | None = None,
    probes: int = 1,
    probe: Literal["rademacher", "gaussian"] = "rademacher",
    exact: bool | None = None,
    dequantisation: Dequantisation | None = None,
    seed: int = 0,
    batch: int = 64,
) -> Iterator[LogLikelihood]:
    """The log-likelihoods of data in nats, a batch at a time.

    The prior at t = 1 has the mean and the variance of the data. Sample i's noise depends on the seed
    and on i only.

    Arguments:
        model: a trained model.
        x: data in the model's units, shape (N, ...).
        label: classes, shape (N,); none for an unconditional model.
        solver: how the flow is solved; `DormandPrince()` if not given.
        probes: probes of the divergence for each sample; at least 1.
        probe: their law, 'rademacher' or 'gaussian'.
        exact: the whole trace; up to 64 numbers a sample if not given.
        dequantisation: 'uniform' or 'variational' for levels, 'none' for real numbers; the first that
            fits the data if not given.
        seed: of the probes and of the dequantisation.
        batch: samples computed at once; at least 1.

    Raises:
        InputError: for settings that do not fit the data.
    """
    levels, schedule = levels_of(model.spec), model.denoiser.schedule
    settings: dict[str, Any] = {"solver": solver, "probes": probes, "probe": probe, "exact": exact}
    settings |= {
        "prior": normal_prior(schedule, _mean(model.spec), model.spec.sigma_data),
        "dequantisation": dequantisation or usual_dequantisation(model.spec),
    }
    for part, part_label, start in _batches(model, x, label, batch):
        noise = seeded(seed, range(start, start + len(part)))
        yield data_log_likelihood(
            model.denoiser, part, levels, noise=noise, **settings, **_condition(part_label)
        )


def bounds(
    model: Model,
    x: Tensor,
    label: Tensor | None = None,
    *,
    steps: int = 1000,
    seed: int = 0,
    batch: int = 64,
) -> Iterator[VariationalBound]:
    """The variational bounds of data in nats, as densities, a batch at a time.

    The chain takes steps that are even in time from t = 1 to t_min: of a `DDPM` of as many knots, its own.
    Its variances are those for white data of the model's mean and σ_data. Sample i's noise depends on
    the seed and on i only.

    Arguments:
        model: a trained model.
        x: data in the model's units, shape (N, ...).
        label: classes, shape (N,); none for an unconditional model.
        steps: times of the chain; at least 1.
        seed: of the noise.
        batch: samples computed at once; at least 1.

    Raises:
        InputError: for steps below 1, or a model of coupled noise, which has no such bound.
    """
    if not model.recipe.objective.coupling.gives_score:
        kind = type(model.recipe.objective.coupling).__name__
        raise InputError(
            f"a variational bound needs noise that is independent of the data, and this model was "
            f"trained with {kind} pairs"
        )
    levels, schedule = levels_of(model.spec), model.denoiser.schedule
    times = UniformTime().times(schedule, steps)
    density = 0.0 if levels is None else math.prod(model.spec.shape) * math.log(levels.spacing)
    for part, part_label, start in _batches(model, x, label, batch):
        found = variational_bound(
            model.denoiser,
            part,
            times,
            mean=_mean(model.spec),
            variance=model.spec.sigma_data**2,
            levels=levels,
            noise=seeded(seed, range(start, start + len(part))),
            **_condition(part_label),
        )
        yield found._replace(log_prob=found.log_prob - density)


def codes(
    model: Model,
    x: Tensor,
    label: Tensor | None = None,
    *,
    solver: Solver | None = None,
    batch: int = 64,
) -> Iterator[Tensor]:
    """The latent codes of data, a batch at a time: x is taken for the state α x at t_min.

    Arguments:
        model: a trained model.
        x: data in the model's units, shape (N, ...).
        label: classes, shape (N,); none for an unconditional model.
        solver: how the flow is solved; `DormandPrince()` if not given.
        batch: samples computed at once; at least 1.
    """
    alpha, _ = model.denoiser.schedule(model.denoiser.schedule.t_min)
    for part, part_label, _ in _batches(model, x, label, batch):
        yield encode(
            model.denoiser, expand(alpha, part) * part, solver, **_condition(part_label)
        ).cpu()


def decoded(
    model: Model,
    z: Tensor,
    label: Tensor | None = None,
    *,
    solver: Solver | None = None,
    batch: int = 64,
) -> Iterator[Tensor]:
    """The data of latent codes, a batch at a time: the inverse of `codes`.

    Arguments:
        model: a trained model.
        z: codes, shape (N, ...).
        label: classes, shape (N,); none for an unconditional model.
        solver: how the flow is solved; `DormandPrince()` if not given.
        batch: samples computed at once; at least 1.
    """
    alpha, _ = model.denoiser.schedule(model.denoiser.schedule.t_min)
    for part, part_label, _ in _batches(model, z, label, batch):
        found = decode(model.denoiser, part, solver, **_condition(part_label))
        yield (found / expand(alpha, found)).cpu()


def between(a: Tensor, b: Tensor, n: int) -> Tensor:
    """n codes from each of a to each of b along the sphere, row by row, shape (N n, ...).

    Arguments:
        a: codes to start from, shape (N, ...).
        b: codes to end at, shape (N, ...).
        n: how many, the ends among them; at least 2.
    """
    if n < 2:
        raise InputError(f"the number of codes from end to end must be at least 2, got {n}")
    weights = torch.linspace(0, 1, n, dtype=torch.float64)
    return torch.stack([slerp(a, b, float(w)) for w in weights], 1).flatten(0, 1)


def _mean(spec: DataSpec) -> Tensor:
    return torch.tensor(spec.mean).reshape(-1, *[1] * (len(spec.shape) - 1))


def _batches(
    model: Model, x: Tensor, label: Tensor | None, batch: int
) -> Iterator[tuple[Tensor, Tensor | None, int]]:
    check_count("batch", batch)
    if tuple(x.shape[1:]) != model.spec.shape:
        raise InputError(f"the model is for shape {model.spec.shape}, got {tuple(x.shape[1:])}")
    device = next(model.denoiser.parameters()).device
    for start in range(0, len(x), batch):
        some = slice(start, start + batch)
        yield x[some].to(device), None if label is None else label[some].to(device), start


def _condition(label: Tensor | None) -> dict[str, Any]:
    return {} if label is None else {"label": label}
