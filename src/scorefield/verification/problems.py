"""The problems that claims are tried on: paths, data whose law is known, and every sampler there is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from scorefield.core.ddpm import DDPM, LinearBetas
from scorefield.core.denoisers import Denoiser
from scorefield.core.oracles import GaussianDenoiser, MixtureDenoiser
from scorefield.core.schedule import Schedule, as_time
from scorefield.core.schedules import VE, VP
from scorefield.errors import InputError
from scorefield.recipes.catalog import SAMPLERS, SCHEDULES
from scorefield.samplers.base import Sampler
from scorefield.samplers.grids import UniformLogSNR
from scorefield.verification.claims import Place

# Every path of the catalog, EDM's range of noise, and Ho et al.'s chain with a tenth of its steps.
PATHS: dict[str, Schedule] = {name: cls() for name, cls in SCHEDULES.items()} | {
    "ve-edm": VE(0.002, 80.0),
    "ddpm": DDPM(100, LinearBetas(1e-3, 0.2)),
}
SMOOTH = {name: path for name, path in PATHS.items() if name != "ddpm"}
MIDDLE = (0.1, 0.35, 0.6, 0.85)  # times at which identities are tried


def gaussian(path: Schedule, place: Place) -> GaussianDenoiser:
    """Correlated Gaussian data of the plane, off the origin."""
    mean = torch.tensor([0.5, -0.3], dtype=torch.float64)
    covariance = torch.tensor([[0.5, 0.2], [0.2, 0.3]], dtype=torch.float64)
    return place.put(GaussianDenoiser(path, mean, covariance))


MIXTURE = (
    torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64),
    torch.tensor([[1.0, 0.5], [-1.0, 0.2], [0.2, -1.1]], dtype=torch.float64),
    torch.tensor(
        [
            [[0.30, 0.10], [0.10, 0.20]],
            [[0.20, -0.05], [-0.05, 0.40]],
            [[0.15, 0.00], [0.00, 0.25]],
        ],
        dtype=torch.float64,
    ),
)


def mixture(path: Schedule, place: Place) -> MixtureDenoiser:
    """Three Gaussians of the plane, of different weight, shape and orientation."""
    return place.put(MixtureDenoiser(path, *MIXTURE))


def wide_mixture(dim: int, place: Place) -> MixtureDenoiser:
    """Three Gaussians of any number of dimensions, on VP."""
    generator = torch.Generator().manual_seed(dim)
    means = torch.randn(3, dim, generator=generator, dtype=torch.float64)
    roots = torch.randn(3, dim, dim, generator=generator, dtype=torch.float64) / math.sqrt(dim)
    spread = 0.3 * roots @ roots.mT + 0.05 * torch.eye(dim, dtype=torch.float64)
    return place.put(MixtureDenoiser(VP(), torch.tensor([0.5, 0.3, 0.2]), means, spread))


def states(denoiser: Denoiser, place: Place, t: float, n: int = 16, dim: int = 2) -> Tensor:
    """States at time t about where those of the problems here lie, shape (n, dim)."""
    alpha, sigma = (float(v) for v in denoiser.schedule(t))
    return alpha * 0.9 * place.normal(n, dim) + sigma * place.normal(n, dim, seed=1)


def clock(t: float) -> Tensor:
    """A time as the library has it."""
    return as_time(t)


class Labelled(Denoiser):
    """One denoiser where there is no label, and one for each label.

    Arguments:
        free: the denoiser for "no label".
        classes: the denoisers of labels 0, 1, …
    """

    def __init__(self, free: Denoiser, *classes: Denoiser) -> None:
        super().__init__(free.schedule)
        self.parts = torch.nn.ModuleList([*classes, free])  # the last, at -1, is "no label"

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        """E[x₀ | x_t, label]; the arguments are those of any denoiser."""
        label = cond.get("label")
        label = torch.full((len(x),), -1) if label is None else label
        each = torch.stack([part(x, t) for part in self.parts])
        rows = torch.arange(len(x), device=x.device)
        return each[label.to(x.device) % len(self.parts), rows]


def every_sampler(*, stochastic: bool) -> Iterator[tuple[str, Sampler]]:
    """The samplers of the catalog in all their orders, kinds and amounts of noise, with titles."""
    for kind, cls in SAMPLERS.items():
        for changed in _settings(cls):
            try:
                sampler = cls(**changed)
            except InputError:
                continue  # not a setting of this sampler
            if sampler.stochastic is stochastic:
                yield " ".join([kind, *(f"{k}={v}" for k, v in changed.items())]), sampler


def _settings(cls: type[Sampler]) -> Iterator[dict[str, Any]]:
    """The default, and each field that changes the method given its other values in turn."""
    yield {}
    types = get_type_hints(cls)
    for field in dataclasses.fields(cls):
        values: tuple[Any, ...] = ()
        if field.name == "unfinished":
            continue  # what becomes of samples that do not arrive; these do
        if get_origin(types[field.name]) is Literal:
            values = get_args(types[field.name])
        elif field.name == "order":
            values = (1, 2, 3, 4)
        elif field.name == "eta":
            values = (0.5, 1.0)
        elif field.name == "churn":
            values = (10.0,)
        yield from ({field.name: value} for value in values if value != field.default)


def on_grid(sampler: Sampler, **grid: Any) -> Sampler:  # noqa: ANN401
    """The sampler with another grid."""
    return replace(sampler, **grid)


def held(sampler: Sampler) -> Sampler:
    """The sampler on even ratios of noise; what a rule would change with the steps is held."""
    names = {field.name for field in dataclasses.fields(sampler)}
    fixed: dict[str, Any] = {"grid": UniformLogSNR(), "offset": 0.3, "final": "denoise"}
    return replace(sampler, **{name: value for name, value in fixed.items() if name in names})
