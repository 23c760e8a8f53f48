"""Plots of what is behind the pictures: sample paths x(t), schedules, the loss of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from PIL import Image

from scorefield.core.schedule import Schedule
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.samplers.base import Step
from scorefield.viz.figures import literal, new_figure, rendered

SHOWN = 300  # lines in a plot of paths; more would hide each other


def plot_paths(
    steps: Iterable[Step], schedule: Schedule, spec: DataSpec, title: str = ""
) -> Image.Image:
    """Every number of every sample as a path x(t) from noise, left, to data, right.

    The dashed lines are α m ± 2 √(α² s² + σ²), twice the standard deviation of x(t) for data of mean m
    and standard deviation s: the marginal's, not the diffusion coefficient g(t).

    Arguments:
        steps: from `trajectory`.
        schedule: the path.
        spec: the description of the data.
        title: written above.
    """
    walked = list(steps)
    times = torch.stack([step.t for step in walked])
    x = torch.stack([step.x.flatten() for step in walked]).cpu().float()
    x = x[:, torch.linspace(0, x.shape[1] - 1, min(SHOWN, x.shape[1])).long()]
    alpha, sigma = schedule(times)
    centre = alpha * (sum(spec.mean) / len(spec.mean))
    spread = 2 * torch.sqrt((alpha * spec.sigma_data) ** 2 + sigma**2)
    figure, (axes,) = new_figure()
    axes.plot(times.numpy(), x.numpy(), color="#2a6f97", alpha=0.25, linewidth=0.6)
    for edge, label in ((centre + spread, "α m ± 2 √(α²s² + σ²)"), (centre - spread, None)):
        axes.plot(times.numpy(), edge.numpy(), "--", color="#c1121f", linewidth=1.2, label=label)
    axes.set(
        xlim=(float(times[0]), float(times[-1])), xlabel="t (1: noise, 0: data)", ylabel="x(t)"
    )
    axes.set_yscale("asinh", linear_width=1.0)  # linear near the data, logarithmic far out
    axes.set_title(title)
    axes.legend(loc="upper right")
    return rendered(figure)


def plot_schedules(schedules: Mapping[str, Schedule]) -> Image.Image:
    """α, σ and log-SNR of schedules over time.

    Arguments:
        schedules: by the name to show.
    """
    t = torch.linspace(1e-3, 1 - 1e-3, 400, dtype=torch.float64)
    figure, panels = new_figure(12, 4, panels=3)
    for number, (name, schedule) in enumerate(schedules.items()):
        style = ("-", "--", ":", "-.")[number % 4]  # some lie on top of each other
        alpha, sigma = schedule(t)
        for axes, values in zip(panels, (alpha, sigma, schedule.log_snr(t)), strict=True):
            axes.plot(t.numpy(), values.numpy(), style, label=name)
    for axes, label in zip(panels, ("α(t)", "σ(t)", "log α²/σ²"), strict=True):
        axes.set(xlabel="t (0: data, 1: noise)", title=label)
    if any(float(s.sigma(torch.ones(()).double())) > 2 for s in schedules.values()):
        panels[1].set_yscale("log")
    panels[0].legend()
    return rendered(figure)


def plot_loss(logs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Image.Image:
    """The training loss of runs over the images seen.

    Arguments:
        logs: lines of ``log.jsonl`` by the name to show.

    Raises:
        InputError: when a log has no loss yet.
    """
    figure, (axes,) = new_figure()
    for name, lines in logs.items():
        points = [(line["images"], line["loss"]) for line in lines if "loss" in line]
        if not points:
            raise InputError(f"the log of {name} has no loss yet")
        images, losses = zip(*points, strict=True)
        (drawn,) = axes.plot(images, losses, alpha=0.3, linewidth=0.8)
        smooth = smoothed(losses)
        axes.plot(
            images, smooth, color=drawn.get_color(), label=literal(f"{name} ({smooth[-1]:.4f})")
        )
    above = all(line["loss"] > 0 for lines in logs.values() for line in lines if "loss" in line)
    axes.set(xlabel="images seen", ylabel="loss", yscale="log" if above else "linear")
    axes.legend()
    return rendered(figure)


def smoothed(values: Sequence[float], reach: int = 10) -> list[float]:
    """The average of each value and its neighbours on both sides, so that a fall is not late.

    Near the beginning, where losses fall fast, there are fewer; at the end those before are left.

    Arguments:
        values: one after the other.
        reach: neighbours on either side.
    """
    near = [min(reach, i // 4) for i in range(len(values))]
    return [fmean(values[i - k : i + k + 1]) for i, k in enumerate(near)]
