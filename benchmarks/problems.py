"""Sampling problems with exact answers: Gaussian mixtures, a common x_T and where the exact flow takes it.

x = x₀ + σ ε on the noise levels of DDPM's linear chain (β 1e-4 … 0.02, N = 1000: σ from 0.0100 to 157.4).
x_T is drawn from the exact marginal at σ_max; `x_0` is the end of the probability flow from it at σ = 0,
in float64. NumPy and SciPy only: neither Scorefield nor a peer has a hand in the reference. Run by
samplers.py, in the peers' environment (scikit-learn has the 8×8 digits).

    python benchmarks/problems.py FOLDER [--count 2048] [--seed 0] [--only gmm2d ...]
"""

from __future__ import annotations

import argparse
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray as Array
from scipy.integrate import DOP853

EMBEDDED = Path(__file__).parent.parent / "src" / "scorefield" / "data" / "embedded"
# A level at which the flow has ended: the rest of the way is of order σ².
SIGMA_END = 1e-6


@dataclass(frozen=True)
class Mixture:
    """Σ_k w_k N(μ_k, C_k), with its exact denoiser at any noise level.

    Arguments:
        weights: w_k, shape (K,), of sum 1.
        means: μ_k, shape (K, D).
        covariances: C_k, shape (K, D, D).
    """

    weights: Array
    means: Array
    covariances: Array

    def denoiser(self) -> Callable[[Array, float], Array]:
        """(x, σ) ↦ E[x₀ | x₀ + σε = x], for x of shape (B, D)."""
        count, dim = self.means.shape
        variances, basis = np.linalg.eigh(self.covariances)
        variances = variances.clip(min=0)
        into = np.ascontiguousarray(basis.transpose(1, 0, 2).reshape(dim, count * dim))
        centres = np.einsum("kd,kde->ke", self.means, basis)
        log_weights = np.log(self.weights)

        def denoise(x: Array, sigma: float) -> Array:
            total = variances + sigma**2
            offset = (x @ into).reshape(len(x), count, dim) - centres
            log_share = log_weights - 0.5 * np.log(total).sum(1)
            log_share = log_share - 0.5 * np.einsum("bke,ke->bk", offset**2, 1 / total)
            share = np.exp(log_share - log_share.max(1, keepdims=True))
            share /= share.sum(1, keepdims=True)
            offset *= (variances / total) * share[..., None]
            return share @ self.means + offset.reshape(len(x), -1) @ into.T

        return denoise

    def draw(self, count: int, generator: np.random.Generator) -> Array:
        """``count`` exact samples, shape (count, D)."""
        variances, basis = np.linalg.eigh(self.covariances)
        k = generator.choice(len(self.weights), count, p=self.weights)
        z = np.sqrt(variances.clip(min=0))[k] * generator.standard_normal((count, len(basis[0])))
        return self.means[k] + np.einsum("be,bde->bd", z, basis[k])

    def sigma_data(self) -> float:
        """The root of the mean variance of a coordinate."""
        centred = self.means - self.weights @ self.means
        variance = np.einsum("kdd->kd", self.covariances) + centred**2
        return float(np.sqrt((self.weights @ variance).mean()))


def chain_levels() -> Array:
    """σ/α at the N = 1000 knots of DDPM's linear chain, increasing."""
    log_signal = np.log1p(-np.linspace(1e-4, 0.02, 1000)).cumsum()
    return np.sqrt(np.expm1(-log_signal))


def flow(mixture: Mixture, x: Array, sigma: float, rtol: float = 1e-10) -> Array:
    """The end at σ = 0 of the exact probability flow dx/dσ = (x - D)/σ from x at ``sigma``.

    Arguments:
        mixture: the data.
        x: states at ``sigma``, shape (B, D).
        sigma: where they are.
        rtol: relative tolerance of the eighth-order solver; the absolute one is a tenth of it.
    """
    denoise = mixture.denoiser()

    # In u = log σ: dx/du = x - D. (Not solve_ivp: that would keep every step.)
    def slope(u: float, y: Array) -> Array:
        state = y.reshape(x.shape)
        return (state - denoise(state, float(np.exp(u)))).ravel()

    ends = float(np.log(sigma)), float(np.log(SIGMA_END))
    solver = DOP853(slope, ends[0], x.ravel(), ends[1], rtol=rtol, atol=rtol / 10)
    while solver.status == "running":
        solver.step()
    if solver.status != "finished":
        raise RuntimeError("the reference flow could not be solved")
    return solver.y.reshape(x.shape)


def random_rotation(dim: int, generator: np.random.Generator) -> Array:
    q, r = np.linalg.qr(generator.standard_normal((dim, dim)))
    return q * np.sign(np.diag(r))


def gmm2d(generator: np.random.Generator) -> Mixture:
    """Six thin Gaussians around a circle."""
    angles = 2 * np.pi * np.arange(6) / 6 + 0.3
    radii = np.array([1.3, 0.9, 1.4, 0.8, 1.2, 1.0])
    weights = np.array([1, 2, 0.5, 1.5, 1, 1.2])
    means = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    covariances = []
    for _ in range(6):
        spread = np.array([0.30, 0.05]) * (0.6 + generator.uniform(size=2))
        basis = random_rotation(2, generator)
        covariances.append(basis @ np.diag(spread**2) @ basis.T)
    return Mixture(weights / weights.sum(), means, np.stack(covariances))


def gmm8d(generator: np.random.Generator) -> Mixture:
    """Ten Gaussians in 8 dimensions; standard deviations from 0.03 to 0.5 in each."""
    covariances = []
    for _ in range(10):
        spread = np.exp(generator.uniform(np.log(0.03), np.log(0.5), 8))
        basis = random_rotation(8, generator)
        covariances.append(basis @ np.diag(spread**2) @ basis.T)
    weights = generator.dirichlet(np.full(10, 3.0))
    return Mixture(weights, 0.7 * generator.standard_normal((10, 8)), np.stack(covariances))


def mix1d(generator: np.random.Generator) -> Mixture:
    """Five Gaussians on the line, of widths from 0.02 to 0.3."""
    spread = np.exp(generator.uniform(np.log(0.02), np.log(0.3), 5))
    weights = generator.dirichlet(np.full(5, 3.0))
    return Mixture(weights, generator.uniform(-1.5, 1.5, (5, 1)), spread[:, None, None] ** 2)


def swiss2d(generator: np.random.Generator) -> Mixture:
    """400 round Gaussians along a Swiss roll, of standard deviation 0.03."""
    turn = np.linspace(1.5 * np.pi, 4.5 * np.pi, 400)
    means = 1.3 * (turn / turn[-1])[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
    covariances = np.broadcast_to(0.03**2 * np.eye(2), (400, 2, 2))
    # Nodes are equally spaced in angle: weights by arc length make the law even along the roll.
    return Mixture(turn / turn.sum(), means @ random_rotation(2, generator), covariances.copy())


def classes(images: Array, labels: Array) -> Mixture:
    """One Gaussian for each class of images (n, D), of full covariance plus 0.03² I."""
    groups = [images[labels == label] for label in range(10)]
    floor = 0.03**2 * np.eye(images.shape[1])
    weights = np.array([len(group) for group in groups]) / len(images)
    covariances = np.stack([np.cov(group.T) + floor for group in groups])
    return Mixture(weights, np.stack([group.mean(0) for group in groups]), covariances)


def digits64(_: np.random.Generator) -> Mixture:
    """scikit-learn's 8×8 digits in [-1, 1], a Gaussian for each class."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return classes(digits.data / 8 - 1, digits.target)


def mnist196(_: np.random.Generator) -> Mixture:
    """The embedded 10,000 digits of MNIST averaged to 14×14 in [-1, 1], a Gaussian for each class."""
    raw = lzma.decompress((EMBEDDED / "mnist10k-images.idx3.xz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 14, 2, 14, 2).mean((2, 4))
    raw = lzma.decompress((EMBEDDED / "mnist10k-labels.idx1.xz").read_bytes())
    return classes(pixels.reshape(-1, 196) / 127.5 - 1, np.frombuffer(raw, np.uint8, offset=8))


# How each is made, and what share of the samples asked for is affordable.
PROBLEMS: dict[str, tuple[Callable[[np.random.Generator], Mixture], float]] = {
    "gmm2d": (gmm2d, 1),
    "mix1d": (mix1d, 1),
    "gmm8d": (gmm8d, 1),
    "swiss2d": (swiss2d, 1 / 8),
    "digits64": (digits64, 1 / 4),
    "mnist196": (mnist196, 1 / 16),
}


def write(folder: Path, name: str, count: int, seed: int) -> None:
    """Save one problem with ``count`` starts, their exact ends and as many exact draws."""
    make, share = PROBLEMS[name]
    generator = np.random.default_rng([seed, list(PROBLEMS).index(name)])
    mixture = make(generator)
    n = max(64, round(count * share))
    levels = chain_levels()
    clean, draws = mixture.draw(n, generator), mixture.draw(n, generator)
    x_end = clean + levels[-1] * generator.standard_normal(clean.shape)
    np.savez(
        folder / f"{name}.npz",
        weights=mixture.weights,
        means=mixture.means,
        covariances=mixture.covariances,
        x_T=x_end,
        x_0=flow(mixture, x_end, levels[-1]),
        draws=draws,
        levels=levels,
        sigma_data=mixture.sigma_data(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for name in asked.only:
        write(asked.folder, name, asked.count, asked.seed)


if __name__ == "__main__":
    main()
