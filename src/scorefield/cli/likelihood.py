"""``scorefield likelihood``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from scorefield import (
    DormandPrince,
    LogLikelihood,
    Model,
    VariationalBound,
    bits_per_dim,
    load,
)
from scorefield.cli.options import Json, Number, Weights, Whole
from scorefield.cli.output import bar, say
from scorefield.models import bounds, data_of, levels_of, likelihoods, usual_dequantisation

Part = TypeVar("Part", LogLikelihood, VariationalBound)

LOOKED_AT = 4  # samples that are done again to half the tolerance


def likelihood(
    run: str,
    /,
    *,
    split: str = "test",
    n: Number = 64,
    probes: Whole = 1,
    probe: str = "rademacher",
    exact: bool | None = None,
    rtol: float = 1e-3,
    atol: float = 1e-3,
    dequantisation: str | None = None,
    bound: Whole | None = None,
    label: str = "data",
    seed: Whole = 0,
    batch: Whole = 16,
    device: str = "cpu",
    weights: Weights = "ema",
    as_json: Json = False,
) -> None:
    """Tell how likely a model finds data, in nats and in bits a dimension.

    Parameters
    ----------
    run
        A run folder, or a model.safetensors file.
    split
        Which data: train or test.
    n
        How many samples, from the first.
    probes
        Probes of the divergence for each sample; with two or more, their error is told.
    probe
        Their law: rademacher or gaussian.
    exact
        The whole trace in place of probes; as it is for up to 64 numbers a sample.
    rtol
        Relative tolerance of the solver.
    atol
        Absolute tolerance of the solver.
    dequantisation
        For data of levels: uniform (if not given) or variational; none for real numbers.
    bound
        Times of a chain of reverse steps, 1000 for DDPM's: the variational bound that training aims at, in
        place of the flow's likelihood. Solver, probes and dequantisation play no part in it.
    label
        What a conditional model is told: data for the samples' own classes, or none.
    seed
        Seed of the probes and of the dequantisation.
    batch
        Samples computed at once.
    device
        Where to compute, such as cpu or cuda.
    weights
        Of a run folder: ema, averaged over training, or raw, those of its last step.
    as_json
        Print lines of JSON.
    """
    solver = DormandPrince(rtol, atol)
    model = load(run, device=device, weights=weights)
    x, labels = data_of(model, split, n, label)  # type: ignore[arg-type]
    facts: dict[str, Any] = {"split": split, "samples": len(x)}
    if bound is not None:
        chain = bounds(model, x, labels, steps=bound, seed=seed, batch=batch)
        with bar(f"bound of {run}", as_json=as_json) as advance:
            facts |= {"steps": bound} | _bounded(model, chain, len(x), advance)
        say(_text_of_bound(facts), as_json=as_json, event="done", run=run, **facts)
        return
    ask: dict[str, Any] = {"probes": probes, "probe": probe, "exact": exact, "seed": seed}
    ask |= {"dequantisation": dequantisation, "batch": batch}
    begin = time.perf_counter()
    with bar(f"likelihood of {run}", as_json=as_json) as advance:
        found = likelihoods(model, x, labels, solver=solver, **ask)
        parts = _gathered(found, len(x), advance)
        seconds = time.perf_counter() - begin
        solver_error = _solver_error(model, x, labels, solver, _all(parts, "log_prob"), ask)
    facts |= {
        **_measured(model, _all(parts, "log_prob")),
        "probe_error": _probe_error(parts),
        **_left(model, dequantisation),
        **_ways(model, dequantisation, probes, probe, parts),
        "solver_error": solver_error,
        "evaluations": max(part.evaluations for part in parts),
        "seconds_each": round(seconds / len(x), 4),
        "rtol": rtol,
        "atol": atol,
    }
    say(_text(facts), as_json=as_json, event="done", run=run, **facts)


def _gathered(
    found: Iterator[Part], count: int, advance: Callable[[float, str], None]
) -> list[Part]:
    """Every batch's, with the mean so far told as they come."""
    parts: list[Part] = []
    for part in found:
        parts.append(part)
        log_prob = _all(parts, "log_prob")
        advance(len(log_prob) / count, f"{_mean(log_prob):.1f} nats")
    return parts


def _all(parts: Sequence[Part], field: Literal["log_prob", "error"]) -> Tensor:
    return torch.cat([getattr(part, field).cpu() for part in parts])


def _mean(values: Tensor) -> float:
    return float(values.mean())


def _standard_error(values: Tensor) -> float | None:
    return float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None


def _measured(model: Model, log_prob: Tensor) -> dict[str, Any]:
    """Nats and bits with what chance leaves open over samples."""
    facts: dict[str, Any] = {
        "nats": _mean(log_prob),
        "nats_error": _standard_error(log_prob),
        "bits_per_dim": None,
        "bits_error": None,
    }
    if levels_of(model.spec) is not None:
        bits = bits_per_dim(log_prob, model.spec)
        facts |= {"bits_per_dim": _mean(bits), "bits_error": _standard_error(bits)}
    return facts


def _probe_error(parts: list[LogLikelihood]) -> float | None:
    """The standard error of the mean over the probes alone; none where a single one cannot tell."""
    error = _all(parts, "error")
    whole = float(error.square().sum().sqrt()) / len(error)
    return None if bool(error.isnan().any()) else whole


def _bounded(
    model: Model,
    chain: Iterator[VariationalBound],
    count: int,
    advance: Callable[[float, str], None],
) -> dict[str, Any]:
    """A chain's bound, and the means of its parts in nats."""
    begin, parts = time.perf_counter(), _gathered(chain, count, advance)
    terms = [torch.stack([p.prior, p.steps.sum(1), p.data]).cpu() for p in parts]
    prior, steps, data = torch.cat(terms, 1).mean(1).tolist()
    return {
        **_measured(model, _all(parts, "log_prob")),
        "prior_nats": prior,
        "steps_nats": steps,
        "data_nats": data,
        "seconds_each": round((time.perf_counter() - begin) / count, 4),
    }


def _left(model: Model, dequantisation: str | None) -> dict[str, float | None]:
    """The noise at t_min in levels, and the most bits that it costs a number."""
    levels, schedule = levels_of(model.spec), model.denoiser.schedule
    if levels is None:
        return {"noise_left": None, "noise_bits": None}
    alpha, sigma = map(float, schedule(schedule.t_min))
    noise = sigma / alpha
    # A variational bound does not pay for it: see `data_log_likelihood`.
    bits = None if dequantisation == "variational" else levels.blur(noise)
    return {"noise_left": noise / levels.spacing, "noise_bits": bits}


def _ways(
    model: Model, dequantisation: str | None, probes: int, probe: str, parts: list[LogLikelihood]
) -> dict[str, str]:
    """How the figures were come by, in words."""
    exact = bool((_all(parts, "error") == 0).all())
    return {
        "dequantisation": dequantisation or usual_dequantisation(model.spec),
        "trace": "exact" if exact else f"{probes} {probe}",
        "prior": "normal, with the data's mean and variance",
    }


def _solver_error(
    model: Model,
    x: Tensor,
    labels: Tensor | None,
    solver: DormandPrince,
    coarse: Tensor,
    ask: dict[str, Any],
) -> float:
    """The mean change of the first samples' nats when the tolerance is halved."""
    few = slice(0, LOOKED_AT)
    some = None if labels is None else labels[few]
    finer = likelihoods(model, x[few], some, solver=solver.finer(), **ask)
    fine = torch.cat([found.log_prob.cpu() for found in finer])
    return _mean((coarse[few] - fine).abs())


def _first_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """How many samples, and their bits and nats."""

    def pm(error: float | None, digits: int) -> str:
        return "" if error is None else f" ± {error:.{digits}f}"

    rows = [("samples", f"{facts['samples']} of {facts['split']}")]
    if facts["bits_per_dim"] is not None:
        bits = f"{facts['bits_per_dim']:.4f}{pm(facts['bits_error'], 4)}"
        rows.append(("bits/dim", f"{bits} (standard error over samples)"))
    rows.append(("nats", f"{facts['nats']:.3f}{pm(facts['nats_error'], 3)} (log-density a sample)"))
    return rows


def _text_of_bound(facts: dict[str, Any]) -> str:
    """A bound's facts for people."""
    prior, steps, data = (facts[f"{part}_nats"] for part in ("prior", "steps", "data"))
    rows = [
        *_first_rows(facts),
        ("bound", f"variational, of {facts['steps']} times, by one draw of noise at each"),
        ("parts", f"{prior:.3g} prior, {steps:.4g} steps, {data:.4g} data (nats a sample)"),
        ("cost", f"{facts['steps']} evaluations, {facts['seconds_each']:.3g} s a sample"),
    ]
    return _aligned(rows)


def _aligned(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:>9}  {text}" for name, text in rows)


def _text(facts: dict[str, Any]) -> str:
    """The facts for people."""
    rows = _first_rows(facts)
    if facts["noise_left"] is not None:
        cost = facts["noise_bits"]
        dear = "" if cost is None else f"; {cost:.2g} bits for a number whose level is sure"
        rows.append(("noise", f"{facts['noise_left']:.2g} of a level is left at t_min{dear}"))
    if facts["dequantisation"] != "none":
        rows.append(
            ("levels", f"dequantised ({facts['dequantisation']}): a lower bound, by one draw")
        )
    known = facts["probe_error"]
    chance = "their error is not known" if known is None else f"{known:.3g} nats of that mean"
    words = "exact" if facts["trace"] == "exact" else f"{facts['trace']} a sample: {chance}"
    rows += [
        ("trace", words),
        ("prior", f"{facts['prior']} at t = 1"),
        ("solver", f"{facts['solver_error']:.3g} nats a sample, by halving the tolerance"),
        ("cost", f"{facts['evaluations']} evaluations, {facts['seconds_each']:.3g} s a sample"),
    ]
    return _aligned(rows)
