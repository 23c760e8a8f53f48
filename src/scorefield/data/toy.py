"""One- and two-dimensional distributions to learn on, each drawn from a formula."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from scorefield.data.base import Arrays, Dataset, Split, described
from scorefield.errors import InputError


@dataclass(frozen=True)
class Toy(Dataset):
    """Points drawn from a formula, standardized to mean 0 and standard deviation 1 in each direction."""

    size: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 2:
            raise InputError(f"size must be at least 2, got {self.size}")

    @abstractmethod
    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        """Points (N, D) from uniforms ``u`` (N, 3) in [0, 1) and standard normals ``z`` (N, 2)."""

    def load(self, split: Split = "train") -> Arrays:
        if split not in ("train", "test"):
            raise InputError(f"split must be 'train' or 'test', got '{split}'")
        points, test = (self._points(2 * self.seed + i) for i in range(2))
        mean, std = points.mean(0), points.std(0)  # of the training points, for both splits
        chosen = points if split == "train" else test
        return described(((chosen - mean) / std).float(), levels=None, low=None, high=None)

    def _points(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        u = torch.rand(self.size, 3, generator=generator, dtype=torch.float64)
        z = torch.randn(self.size, 2, generator=generator, dtype=torch.float64)
        return self.draw(u, z)


@dataclass(frozen=True)
class NoisyToy(Toy):
    """Points near a curve: Gaussian noise of one standard deviation is part of the formula."""

    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise >= 0:
            raise InputError(f"noise must be at least 0, got {self.noise}")


@dataclass(frozen=True)
class Mixture(Toy):
    """Two Gaussians on a line, the 1-D example of the minimal diffusion tutorial.

        x = ½ sign(u - left) + std z

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.
        left: weight of the left component; strictly between 0 and 1.
        std: standard deviation of a component; above 0.

    Reference: Minimal diffusion model from scratch for generative machine learning, 2023-03-22,
        sampleGaussianMixture.
    """

    left: float = 0.3
    std: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.left < 1:
            raise InputError(f"left must lie strictly between 0 and 1, got {self.left}")
        if not self.std > 0:
            raise InputError(f"std must be above 0, got {self.std}")

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        return torch.sign(u[:, :1] - self.left) / 2 + self.std * z[:, :1]


@dataclass(frozen=True)
class Ramp(Toy):
    """The smaller of two uniforms, whose density falls linearly from 2 to 0.

        x = min(u₁, u₂),   p(x) = 2 (1 - x) on [0, 1]

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.

    Reference: Minimal diffusion model from scratch for generative machine learning, 2023-03-22,
        sampleRamp.
    """

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        return torch.minimum(u[:, :1], u[:, 1:2])


@dataclass(frozen=True)
class Spiral(Toy):
    """A spiral of one and a half turns that widens outward.

        ρ = 0.65 u₁ + 0.25 + 0.15 u₂,   θ = 3π u₁,   x = ρ (cos θ, sin θ)

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.

    Reference: Minimal diffusion model from scratch for generative machine learning, 2023-03-22,
        sampleSpiral.
    """

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        rho = 0.65 * u[:, 0] + 0.25 + 0.15 * u[:, 1]
        theta = 3 * math.pi * u[:, 0]
        return torch.stack([rho * theta.cos(), rho * theta.sin()], dim=1)


@dataclass(frozen=True)
class Moons(NoisyToy):
    """Two interleaving half circles with Gaussian noise.

        x = (cos πu, sin πu)  or  (1 - cos πu, ½ - sin πu),   plus noise z

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.
        noise: standard deviation of the noise; at least 0.

    Reference: Pedregosa et al. 2011, scikit-learn, `make_moons`.
    """

    noise: float = 0.05

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        cos, sin = torch.cos(math.pi * u[:, 0]), torch.sin(math.pi * u[:, 0])
        upper, lower = torch.stack([cos, sin], 1), torch.stack([1 - cos, 0.5 - sin], 1)
        return torch.where(u[:, 1:2] < 0.5, upper, lower) + self.noise * z


@dataclass(frozen=True)
class Checkerboard(Toy):
    """Uniform on the dark squares of a 4×4 board.

        x₁ ~ U[-2, 2],   x₂ = u - 2k + (⌊x₁⌋ mod 2),   k ~ U{0, 1}

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.

    Reference: Grathwohl et al. 2019, FFJORD, fig. 2. arXiv:1810.01367
    """

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        x1 = 4 * u[:, 0] - 2
        x2 = u[:, 1] - 2 * torch.floor(2 * u[:, 2]) + torch.floor(x1) % 2
        return torch.stack([x1, x2], dim=1)


@dataclass(frozen=True)
class SwissRoll(NoisyToy):
    """A rolled-up strip seen from the side, with Gaussian noise.

        θ = 1.5π (1 + 2u),   x = θ (cos θ, sin θ) + noise z

    Arguments:
        size: number of points in each split; at least 2.
        seed: fixes the draw.
        noise: standard deviation of the noise; at least 0.

    Reference: Pedregosa et al. 2011, scikit-learn, `make_swiss_roll`; Sohl-Dickstein et al. 2015,
        fig. 1, for its use. arXiv:1503.03585
    """

    noise: float = 0.3

    def draw(self, u: Tensor, z: Tensor) -> Tensor:
        theta = 1.5 * math.pi * (1 + 2 * u[:, 0])
        return torch.stack([theta * theta.cos(), theta * theta.sin()], dim=1) + self.noise * z
