"""Denoisers that are exact: what every sampler, objective and network is held against.

For Gaussian data, Gaussian mixtures and finite data sets, E[x₀ | x_t] and p_t are known in closed
form. Components are kept in their eigenbases, so that one factorization serves every time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.moments import Moments, moments_of
from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError

SINGULAR = "data with a singular covariance have"
COVARIANCE = 1024  # numbers in a sample up to which a finite data set's covariance is computed


def _moments(mean: Tensor, covariance: Tensor) -> Moments | None:
    """Those of the data; none where they do not spread, as no sampler can use them then."""
    return moments_of(mean, covariance) if bool(covariance.trace() > 0) else None


def _check_density(sigma: Tensor, whose: str) -> None:
    """Refuse times at which there is no noise, for data without a density."""
    if not bool((sigma > 0).all()):
        raise InputError(f"{whose} no density at t = 0, got t = 0")


class MixtureDenoiser(Denoiser):
    """The exact denoiser of a mixture of Gaussians Σ_k w_k N(μ_k, C_k).

        x̂₀ = Σ_k r_k [ μ_k + α C_k (α² C_k + σ² I)⁻¹ (x - α μ_k) ],   r_k ∝ w_k N(x; α μ_k, α² C_k + σ² I)

    Arguments:
        schedule: the path.
        weights: w_k, shape (K,), positive; they are normalized.
        means: μ_k, shape (K, D).
        covariances: C_k, shape (K, D, D), positive semi-definite.

    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.116 and eq. 2.117.
    """

    log_weights: Tensor
    means: Tensor
    variances: Tensor
    basis: Tensor

    def __init__(
        self, schedule: Schedule, weights: Tensor, means: Tensor, covariances: Tensor
    ) -> None:
        super().__init__(schedule)
        count, dim = means.shape if means.ndim == 2 else (-1, -1)
        if weights.shape != (count,) or covariances.shape != (count, dim, dim):
            raise InputError(
                f"weights (K,), means (K, D), covariances (K, D, D) were expected, got "
                f"{tuple(weights.shape)}, {tuple(means.shape)}, {tuple(covariances.shape)}"
            )
        if not bool((weights > 0).all()):
            raise InputError(f"weights must be positive, got {weights.tolist()}")
        for name, numbers in (("means", means), ("covariances", covariances)):
            if not bool(numbers.isfinite().all()):
                raise InputError(f"{name} must be finite numbers")
        if not torch.allclose(covariances, covariances.mT, rtol=1e-4, atol=1e-7):
            raise InputError("covariances must be symmetric")
        variances, basis = torch.linalg.eigh(covariances.double())
        if not bool((variances >= -1e-9 * variances.abs().amax()).all()):
            raise InputError(
                f"covariances must be positive semi-definite, got an eigenvalue {variances.min():g}"
            )
        shares, means = weights.double() / weights.double().sum(), means.double()
        self.singular = not bool((variances > 0).all())
        self.register_buffer("log_weights", torch.log(shares))
        self.register_buffer("means", means)
        self.register_buffer("variances", variances.clamp(min=0))
        self.register_buffer("basis", basis)
        mean = shares @ means
        within = torch.einsum("k,kde->de", shares, covariances.double())
        between = torch.einsum("k,kd,ke->de", shares, means - mean, means - mean)
        self.moments = _moments(mean, within + between)

    def _centred(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x in each component's eigenbasis and its variances there, (B, K, D); α as (B, 1, 1)."""
        levels = self.schedule(t)
        if self.singular:
            _check_density(levels[1], SINGULAR)
        alpha, sigma = (v.to(x.device).expand(len(x)).reshape(-1, 1, 1) for v in levels)
        offset = x.double().flatten(1)[:, None] - alpha * self.means
        coordinates = torch.einsum("bkd,kde->bke", offset, self.basis)
        return coordinates, alpha**2 * self.variances + sigma**2, alpha

    def _log_components(self, coordinates: Tensor, variances: Tensor) -> Tensor:
        # log w_k N(x; α μ_k, α² C_k + σ² I), shape (B, K)
        quadratic = (coordinates**2 / variances).sum(-1)
        log_det = torch.log(2 * math.pi * variances).sum(-1)
        return self.log_weights - 0.5 * (quadratic + log_det)

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        coordinates, variances, alpha = self._centred(x, as_time(t))
        share = torch.softmax(self._log_components(coordinates, variances), dim=1)
        shrunk = alpha * self.variances / variances * coordinates
        means = self.means + torch.einsum("bke,kde->bkd", shrunk, self.basis)
        return (share[..., None] * means).sum(1).to(x.dtype).reshape(x.shape)

    def log_prob(self, x: Tensor, t: Tensor | float = 0.0) -> Tensor:
        """log p_t(x) in nats, shape (B,); at t = 0 that of the data, smoothed by σ(0) if it is not 0.

        Arguments:
            x: states, shape (B, D).
            t: the time, shape () or (B,).

        Raises:
            InputError: at t = 0, where a covariance is singular.
        """
        coordinates, variances, _ = self._centred(x, as_time(t))
        return torch.logsumexp(self._log_components(coordinates, variances), dim=1)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n exact samples of the data, shape (n, D), float64.

        Arguments:
            n: how many.
            generator: the source of randomness, on the CPU.
        """
        weights = self.log_weights.exp().cpu()
        k = torch.multinomial(weights, n, replacement=True, generator=generator)
        z = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        z = self.variances.cpu()[k].sqrt() * z
        return self.means.cpu()[k] + torch.einsum("ne,nde->nd", z, self.basis.cpu()[k])


class GaussianDenoiser(Denoiser):
    """The exact denoiser of Gaussian data N(m, C); its probability flow is known too.

        x̂₀ = m + α C (α² C + σ² I)⁻¹ (x - α m)

    Arguments:
        schedule: the path.
        mean: m, shape (D,).
        covariance: C, shape (D, D), positive semi-definite.

    Reference: Bishop 2006, Pattern Recognition and Machine Learning, eq. 2.116.
    """

    def __init__(self, schedule: Schedule, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(schedule)
        one = torch.ones(1, dtype=torch.float64)
        self.mixture = MixtureDenoiser(schedule, one, mean[None], covariance[None])
        self.moments = self.mixture.moments

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        x0: Tensor = self.mixture(x, t)
        return x0

    def log_prob(self, x: Tensor, t: Tensor | float = 0.0) -> Tensor:
        """log p_t(x) in nats, shape (B,), for x of shape (B, D)."""
        return self.mixture.log_prob(x, t)

    def flow(self, x: Tensor, t: Tensor | float, s: Tensor | float) -> Tensor:
        """The exact probability-flow map from time t to time s.

            x_s = α_s m + U √((α_s² Λ + σ_s²) / (α_t² Λ + σ_t²)) Uᵀ (x_t - α_t m)

        Arguments:
            x: states at time t, shape (B, D).
            t: the time of x, shape ().
            s: the time wanted, shape ().

        Raises:
            InputError: from t = 0, where the covariance is singular.
        """
        basis, variances, mean = (
            self.mixture.basis[0],
            self.mixture.variances[0],
            self.mixture.means[0],
        )
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.schedule(t), self.schedule(s)
        if self.mixture.singular:
            _check_density(sigma_t, SINGULAR)
        scale = torch.sqrt(
            (alpha_s**2 * variances + sigma_s**2) / (alpha_t**2 * variances + sigma_t**2)
        )
        coordinates = (x.double() - alpha_t * mean) @ basis
        return (alpha_s * mean + (scale * coordinates) @ basis.T).to(x.dtype)


class EmpiricalDenoiser(Denoiser):
    """The ideal denoiser of a finite data set: the best that memorizing it can do.

        x̂₀ = Σ_j softmax_j( -‖x - α x_j‖² / 2σ² ) x_j

    Arguments:
        schedule: the path.
        data: the data points x_j, shape (N, ...).

    Reference: Karras et al. 2022, Elucidating the Design Space, App. B.3, eq. 57. arXiv:2206.00364
    """

    data: Tensor

    def __init__(self, schedule: Schedule, data: Tensor) -> None:
        super().__init__(schedule)
        if len(data) == 0:
            raise InputError("a data set needs at least 1 point, got 0")
        self.register_buffer("data", data)
        if len(data) > 1 and data[0].numel() <= COVARIANCE:
            flat = data.double().flatten(1)
            covariance = torch.cov(flat.T, correction=0).reshape(flat.shape[1], flat.shape[1])
            self.moments = _moments(flat.mean(0), covariance)

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        share = torch.softmax(self._log_kernels(x, as_time(t)), dim=1)
        return (share @ self.data.to(x.dtype).flatten(1)).reshape(x.shape)

    def log_prob(self, x: Tensor, t: Tensor | float) -> Tensor:
        """log p_t(x) in nats, shape (B,): a kernel density estimate with bandwidth σ/α; t > 0.

        Arguments:
            x: states, shape (B, ...).
            t: the time, shape () or (B,).
        """
        t = as_time(t)
        _, sigma = self.schedule(t)
        dim = x[0].numel()
        log_norm = math.log(len(self.data)) + 0.5 * dim * torch.log(2 * math.pi * sigma**2)
        return torch.logsumexp(self._log_kernels(x, t), dim=1) - log_norm.to(x)

    def _log_kernels(self, x: Tensor, t: Tensor) -> Tensor:
        """-‖x - α x_j‖² / 2σ² for every pair, shape (B, N)."""
        levels = self.schedule(t)
        _check_density(levels[1], "a finite data set has")
        alpha, sigma = (v.to(x).expand(len(x))[:, None] for v in levels)
        flat, data = x.flatten(1), self.data.to(x.dtype).flatten(1)
        # Differences, not a matrix product, which would cancel at small σ.
        apart = torch.cdist(
            flat / torch.where(alpha > 0, alpha, 1),
            data,
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        apart = torch.where(alpha > 0, alpha * apart, flat.norm(dim=1, keepdim=True))
        return -0.5 * (apart / sigma) ** 2
