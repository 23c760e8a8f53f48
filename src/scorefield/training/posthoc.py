"""Averages of any width, put together after training from snapshots of two.

A power-function average at step t weighs the weights of step τ by the profile

    p(τ; t, γ) = (γ + 1) τ^γ / t^{γ+1},   0 ≤ τ ≤ t,

and the combination of stored averages whose profile is nearest to a wanted one solves A x = b with

    A_ij = ⟨p_i, p_j⟩,   b_i = ⟨p_i, p⟩,
    ⟨p_1, p_2⟩ = (γ₁ + 1)(γ₂ + 1) / (γ₁ + γ₂ + 1) · m^{γ₁+γ₂+1} / (t₁^{γ₁+1} t₂^{γ₂+1}),   m = min(t₁, t₂).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scorefield.errors import InputError
from scorefield.models.checkpoint import load
from scorefield.models.model import Model
from scorefield.models.tensors import write_tensors
from scorefield.training.ema import PROFILES, Profiles, exponent
from scorefield.training.folder import AVERAGES
from scorefield.training.sharding import whole
from scorefield.training.stepfiles import step_file, step_files, step_of

SNAPSHOTS = 16  # over the budget
FAR = 0.1  # of a profile's norm; a whole run comes within 0.08 of widths from 0.03 to 0.25
LARGE = 6e4  # near the end of half precision
ENDING = ".safetensors"

Kind = Literal["step", "last"]


@dataclass(frozen=True)
class Profile:
    """What an average weighs the weights of each step by.

    Arguments:
        step: t, the step it was taken at; above 0.
        width: its standard deviation relative to t; above 0 and below 0.28.

    Reference: Karras et al. 2024, eq. 122 (the profile) and eq. 126 (its width). arXiv:2312.02696
    """

    step: float
    width: float


def product(one: Profile, other: Profile) -> float:
    """⟨p₁, p₂⟩ = ∫ p(τ; t₁, γ₁) p(τ; t₂, γ₂) dτ, in units of 1/step.

    Arguments:
        one: a profile.
        other: another.

    Reference: Karras et al. 2024, Algorithm 3. arXiv:2312.02696
    """
    a, b = exponent(one.width), exponent(other.width)
    least = min(one.step, other.step)
    ratio = (least / one.step) ** a * (least / other.step) ** b
    size: float = (a + 1) * (b + 1) / (a + b + 1) * ratio * least / (one.step * other.step)
    return size


def combination(stored: Sequence[Profile], wanted: Profile) -> Tensor:
    """The coefficients, float64, shape (N,), with which stored averages come nearest to a wanted one.

    Arguments:
        stored: what there is; at least one.
        wanted: what is to be made.

    Reference: Karras et al. 2024, Algorithm 3. arXiv:2312.02696
    """
    gram = torch.tensor([[product(p, q) for q in stored] for p in stored], dtype=torch.float64)
    right = torch.tensor([product(p, wanted) for p in stored], dtype=torch.float64)
    # Equal scales: a profile of an early step has a large norm. Near copies are told apart to rounding.
    scale = gram.diagonal().rsqrt()
    alike = scale[:, None] * gram * scale
    found = torch.linalg.lstsq(alike, (scale * right)[:, None], rcond=1e-12, driver="gelsd")
    coefficients: Tensor = scale * found.solution[:, 0]
    return coefficients


def missed(stored: Sequence[Profile], wanted: Profile, coefficients: Tensor) -> float:
    """How far a combination's profile is from the wanted one, relative to that: ‖p - Σ xᵢ pᵢ‖/‖p‖.

    Arguments:
        stored: what there is.
        wanted: what is to be made.
        coefficients: as `combination` gives them.
    """
    right = torch.tensor([product(p, wanted) for p in stored], dtype=torch.float64)
    explained = float(coefficients @ right) / product(wanted, wanted)
    return math.sqrt(max(0.0, 1 - explained))


@dataclass(frozen=True)
class Snapshots:
    """The averages of a run as they were at moments spread evenly over its budget, in half precision.

    Arguments:
        folder: where they are, one file a moment.
    """

    folder: Path

    def files(self) -> list[Path]:
        """The files there are, oldest first."""
        found = [f for kind in get_args(Kind) for f in step_files(self.folder, ENDING, kind)]
        return sorted(found, key=step_of)

    def is_due(self, before: float, now: float) -> bool:
        """Whether a step passes one of the moments.

        Arguments:
            before: the share of the budget that was spent before it.
            now: and after it.
        """
        return int(before * SNAPSHOTS) < int(min(now, 1.0) * SNAPSHOTS)

    def write(self, step: int, profiles: Profiles, kind: Kind = "step") -> None:
        """Write the averages of a step to ``step-N``, or to ``last-N``, which the next of its kind removes.

        Arguments:
            step: the step.
            profiles: the averages.
            kind: 'step' for one of the moments, 'last' for wherever the run stands.

        Raises:
            InputError: when the file cannot be written.
        """
        tensors = {
            f"{width:g}.{name}": _half(whole(values))
            for width, average in profiles.averages.items()
            for name, values in average.named.items()
        }
        path = step_file(self.folder, step, ENDING, kind)
        write_tensors(path, tensors, {})
        if kind == "last":  # of a checkpoint, whose model needs it until there is another
            for old in step_files(self.folder, ENDING, kind):
                if old != path:
                    old.unlink()

    def drop_after(self, step: int) -> None:
        """Delete those of later steps, which a run that goes on from this one makes again.

        Arguments:
            step: where the run stands.
        """
        for file in self.files():
            if step_of(file) > step:
                file.unlink()

    def average(self, width: float, step: int) -> dict[str, Tensor]:
        """The average of a width at a step, by the names of the parameters, float32.

        Arguments:
            width: σ_rel, above 0 and below 0.28.
            step: the last step that counts.

        Raises:
            InputError: for a width that there is no average of, one that the snapshots come not near to,
                and when there are none or one is damaged.
        """
        exponent(width)
        files = {step_of(file): file for file in self.files() if step_of(file) <= step}.values()
        stored = [(file, w) for file in files for w in _widths(file)]
        if not stored:
            raise InputError(
                f"there are no averages in {self.folder} to put another together from; runs keep them from "
                f"their start"
            )
        profiles, wanted = [Profile(step_of(f), w) for f, w in stored], Profile(step, width)
        shares = combination(profiles, wanted)
        if (apart := missed(profiles, wanted, shares)) > FAR:
            raise InputError(
                f"the averages of this run come no nearer than {apart:.0%} to one of length {width:g}; "
                f"0.03 to 0.25 can be had of a whole run"
            )
        total: dict[str, Tensor] = {}
        for (file, w), share in zip(stored, shares.tolist(), strict=True):
            for name, values in _averages(file, w).items():
                total[name] = share * values.double() + total.get(name, 0.0)
        return {name: values.float() for name, values in total.items()}


def averaged(run: str | Path, width: float) -> Model:
    """The model of a run with another average of its weights.

    Arguments:
        run: the run folder.
        width: σ_rel of the average, relative to the run; above 0 and below 0.28.

    Raises:
        InputError: for a width that there is no average of, and a run without a model or snapshots.
    """
    model = load(run)
    weights = Snapshots(Path(run) / AVERAGES).average(width, model.step)
    network = model.denoiser.network
    network.load_state_dict({**network.state_dict(), **weights})
    training = replace(model.recipe.training, ema=width)
    return replace(model, recipe=replace(model.recipe, training=training))


def _averages(file: Path, width: float) -> dict[str, Tensor]:
    prefix = f"{width:g}."
    with _opened(file) as content:
        names = [k for k in content.keys() if k.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): content.get_tensor(name) for name in names}


def _widths(file: Path) -> list[float]:
    with _opened(file) as content:
        names = list(content.keys())
    return [w for w in PROFILES if any(name.startswith(f"{w:g}.") for name in names)]


def _opened(file: Path) -> safe_open:
    try:
        return safe_open(file, "pt")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{file} is damaged: {error}") from None


def _half(values: Tensor) -> Tensor:
    return values.half() if float(values.abs().max()) < LARGE else values
