"""The exact denoiser of independent numbers: what laws of single numbers are held against."""

from __future__ import annotations

from torch import Tensor

from scorefield.core.denoisers import Denoiser
from scorefield.core.marginal import Marginal
from scorefield.core.schedule import Schedule, as_time
from scorefield.errors import InputError


class IndependentDenoiser(Denoiser):
    """The exact denoiser of data whose numbers are independent and alike.

        x̂₀ = E[x₀ | x_t], number by number

    Arguments:
        schedule: the path.
        marginal: the law of each number.

    Raises:
        InputError: for a law that is not known.
    """

    def __init__(self, schedule: Schedule, marginal: Marginal) -> None:
        super().__init__(schedule)
        if not marginal.known:
            raise InputError("a law with edges and masses is needed, got one that is not measured")
        self.marginal = marginal

    def forward(self, x: Tensor, t: Tensor, **cond: Tensor | None) -> Tensor:
        return self.marginal.denoised(x, *self.schedule(as_time(t)))

    def log_prob(self, x: Tensor, t: Tensor | float) -> Tensor:
        """log p_t(x) in nats, shape (B,), float64.

        Arguments:
            x: states, shape (B, ...).
            t: the time, shape () or (B,); where σ is above 0.
        """
        numbers = self.marginal.log_prob(x, *self.schedule(as_time(t)))
        total: Tensor = numbers.flatten(1).sum(1)
        return total
