"""Changes to images in training: some become part of what is learnt, of others the network is told.

A mirrored or shifted copy that the network takes for data comes out of it again. One that it is told of
need not: it learns the data and their changed copies side by side, and is asked for the unchanged ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from scorefield.data.base import DataSpec
from scorefield.data.transformations import KINDS, Kind, Transformation
from scorefield.data.warp import scaling, translation, warped
from scorefield.errors import InputError, unknown

ALL = slice(None)


@dataclass(frozen=True)
class Changes:
    """What is done to each of B samples.

    Arguments:
        matrix: where their points go, shape (B, 3, 3); none if they stay.
        between: whether pixels land between pixels there, shape (B,).
        noise: what is added, shape (B, ...); none for nothing.
        told: what the network is told, shape (B, K); none if K = 0.
        low: the least value of a sample; none for no bounds.
        high: the greatest.
    """

    matrix: Tensor | None
    between: Tensor | None
    noise: Tensor | None
    told: Tensor | None
    low: float | None
    high: float | None

    def __getitem__(self, rows: slice) -> Changes:
        """What is done to some of the samples."""
        matrix, between, noise, told = (
            None if part is None else part[rows]
            for part in (self.matrix, self.between, self.noise, self.told)
        )
        return Changes(matrix, between, noise, told, self.low, self.high)

    def __call__(self, x: Tensor) -> Tensor:
        """The changed samples.

        Arguments:
            x: samples in the model's units, shape (B, ...), on the CPU.
        """
        if self.matrix is not None and self.between is not None:
            out, still = x.clone(), ~self.between
            out[still] = warped(x[still], self.matrix[still], "nearest")
            smooth = warped(x[self.between], self.matrix[self.between], "bicubic")
            out[self.between] = smooth if self.low is None else smooth.clamp(self.low, self.high)
            x = out
        return x if self.noise is None else x + self.noise


@dataclass(frozen=True)
class Augmentation:
    """Random changes to the samples of a training step; all are off unless asked for.

        x₀ ← x(M⁻¹ ·) + Δ(u - ½),   u uniform in [0, 1)

    Mirror images and crops become part of what is learnt. Of the transformations whose probability is
    ``told`` the network is told, by a vector that is 0 where there was none, as it is in sampling. What
    lies beyond an edge is the image mirrored in it.

    Arguments:
        flip: probability of a mirror image, left for right, that counts as data; from 0 to 1.
        crop: pixels by which images are padded before their own size is cut out anywhere; at least 0.
        dequantise: add uniform noise as wide as the spacing Δ of the levels. It is centred, so that a
            level is the middle of its cell: the mean stays, rounding gives the level back, and it is
            the density that 'uniform' likelihoods ask for.
        told: probability of each transformation that the network is told of, 0 for none; 0.12 and 0.15
            are published. An x-flip then has ½ in any case, as published.
        transformations: which those are. Those published are there; 'quarter-turn' (90° rotations) and
            'shift' (by whole pixels, up to an eighth of the side) move pixels onto pixels.

    Reference: Karras et al. 2022, appendix F.2, table 6, for what is told; Karras et al. 2020, Training
        Generative Adversarial Networks with Limited Data, appendix B, for the last two; Theis et al.
        2016, section 3.1, for the noise. arXiv:2206.00364, arXiv:2006.06676, arXiv:1511.01844
    """

    flip: float = 0.0
    crop: int = 0
    dequantise: bool = False
    told: float = 0.0
    transformations: tuple[Transformation, ...] = (
        "x-flip",
        "y-flip",
        "scaling",
        "rotation",
        "anisotropy",
        "translation",
    )

    def __post_init__(self) -> None:
        for name in ("flip", "told"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.crop < 0:
            raise InputError(f"crop must be at least 0, got {self.crop}")
        for name in self.transformations:
            if name not in KINDS:
                raise unknown("transformation", name, get_args(Transformation))
        if len(set(self.transformations)) < max(1, len(self.transformations)):
            raise InputError(
                f"transformations must name each at most once and at least one, "
                f"got {list(self.transformations)}"
            )

    @property
    def told_length(self) -> int:
        """How many numbers the network is told, 0 for none."""
        return sum(kind.length for _, kind in self._kinds())

    def check(self, spec: DataSpec) -> None:
        """Refuse data that cannot be changed so.

        Arguments:
            spec: the description of the data.

        Raises:
            InputError: with the setting that does not fit.
        """
        moving = [name for name in ("flip", "crop", "told") if getattr(self, name)]
        if moving and not spec.is_image:
            raise InputError(
                f"augmentation.{moving[0]} needs images (C, H, W), got data of shape {spec.shape}"
            )
        if self.dequantise and _spacing(spec) is None:
            raise InputError("augmentation.dequantise needs data of levels, got real numbers")
        if self.crop and self.crop >= min(spec.shape[-2:]):
            raise InputError(
                f"augmentation.crop must be less than the sides of the images, which are "
                f"{spec.shape[-2]} × {spec.shape[-1]}, got {self.crop}"
            )
        if self.told and "quarter-turn" in self.transformations and len({*spec.shape[-2:]}) > 1:
            raise InputError(f"a quarter-turn needs square images, got shape {spec.shape}")

    def draw(
        self,
        count: int,
        spec: DataSpec,
        generator: torch.Generator,
        rows: slice = ALL,
        uniforms: Callable[[], Tensor] | None = None,
    ) -> Changes:
        """The random part: what is done to each of some samples.

        Arguments:
            count: number of samples.
            spec: their description, which `check` has passed.
            generator: the source of all randomness, on the CPU.
            rows: of which samples it is asked for; what is drawn does not depend on it.
            uniforms: gives numbers in [0, 1) of the shape of these samples, for dequantisation; from the
                generator if not given.
        """
        matrix = between = told = noise = None
        if self.flip or self.crop or self.told:
            matrix, between, told = self._moves(count, spec, generator)
        if self.dequantise and (spacing := _spacing(spec)) is not None:
            if uniforms is None:
                u = torch.rand(count, *spec.shape, generator=generator)[rows]
            else:
                u = uniforms()
            noise = spacing * (u - 0.5)
        moves = Changes(matrix, between, None, told, spec.low, spec.high)[rows]
        return replace(moves, noise=noise)

    def _kinds(self) -> list[tuple[Transformation, Kind]]:
        """The transformations that the network is told of, in the order of their application."""
        return [(n, k) for n, k in KINDS.items() if n in self.transformations and self.told]

    def _moves(
        self, count: int, spec: DataSpec, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Matrices, whether they take pixels between pixels, and what the network is told of them."""
        size = (spec.shape[-1], spec.shape[-2])
        matrix, between = self._untold(count, generator), torch.zeros(count, dtype=torch.bool)
        told = []
        for name, kind in self._kinds():
            share = 1.0 if name == "x-flip" else self.told
            kept = torch.rand(count, 1, generator=generator) < share
            parameters = kind.draw(count, size, generator) * kept
            matrix = kind.matrix(parameters, size) @ matrix
            told.append(kind.told(parameters))
            between |= kept[:, 0] & (not kind.exact)
        return matrix, between, torch.cat(told, dim=1).float() if told else None

    def _untold(self, count: int, generator: torch.Generator) -> Tensor:
        """The matrices of mirror images and crops."""
        flipped = (torch.rand(count, generator=generator) < self.flip).double()
        by = torch.randint(-self.crop, self.crop + 1, (2, count), generator=generator).double()
        return translation(by[0], by[1]) @ scaling(1 - 2 * flipped, torch.ones(count))


def _spacing(spec: DataSpec) -> float | None:
    """Δ, the distance of two levels in the model's units; none for real numbers."""
    if spec.levels is None or spec.low is None or spec.high is None:
        return None
    return (spec.high - spec.low) / (spec.levels - 1)
