"""What a claim is, where it is tried, and what is found."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from scorefield.errors import InputError

AModule = TypeVar("AModule", bound=nn.Module)


@dataclass(frozen=True)
class Place:
    """Where claims are tried: a device and a floating point format.

    Arguments:
        device: such as 'cpu' or 'cuda'.
        dtype: the dtype of the states; times are float64 everywhere.
    """

    device: str = "cpu"
    dtype: torch.dtype = torch.float64

    @property
    def double(self) -> Place:
        """The same device in float64, for quantities that rounding to fewer digits would hide."""
        return replace(self, dtype=torch.float64)

    def tensor(self, values: Any) -> Tensor:  # noqa: ANN401  (nested lists of numbers)
        """Numbers or a tensor, here."""
        return torch.as_tensor(values, dtype=torch.float64).to(self.device, self.dtype)

    def normal(self, *shape: int, seed: int = 0) -> Tensor:
        """Standard normal numbers, the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        return self.tensor(torch.randn(*shape, generator=generator, dtype=torch.float64))

    def put(self, module: AModule) -> AModule:
        """A module, here; the exact denoisers compute in float64 whatever the states' dtype."""
        return module.to(self.device)


@dataclass(frozen=True)
class Claim:
    """Something that must hold, and how it is measured.

        passes if |measured - expected| ≤ tolerance

    Arguments:
        name: what is claimed, on one line.
        source: where the fact is from.
        how: measures it at a place.
        tolerance: how far the measured value may be from the expected; none for what is only reported.
        rounding: a tolerance in units of the dtype's epsilon, which counts where it is the larger.
        expected: the value expected; 0 where an error is measured.
        slow: left out unless everything is asked for.
        may_refuse: a user's error is no failure: what was asked for need not fit, and says why.
    """

    name: str
    source: str
    how: Callable[[Place], float]
    tolerance: float | None
    rounding: float = 0.0
    expected: float = 0.0
    slow: bool = False
    may_refuse: bool = False

    def bound(self, dtype: torch.dtype) -> float | None:
        """The tolerance in a dtype."""
        if self.tolerance is None:
            return None
        return max(self.tolerance, self.rounding * torch.finfo(dtype).eps)


@dataclass(frozen=True)
class Finding:
    """What came of a claim.

    Arguments:
        claim: what was tried.
        measured: the value; NaN where the measurement failed.
        tolerance: the tolerance that counted; none for what is only reported.
        passed: whether the claim holds; none for what is only reported, or was refused.
        seconds: how long it took.
        error: why there is no value, in one sentence.
    """

    claim: Claim
    measured: float
    tolerance: float | None
    passed: bool | None
    seconds: float
    error: str = ""


def verify(
    claims: Iterable[Claim], device: str = "cpu", dtype: torch.dtype = torch.float64
) -> Iterator[Finding]:
    """Try claims one by one and yield a `Finding` of each; a claim that raises has failed.

    Arguments:
        claims: what to try.
        device: where, such as 'cpu' or 'cuda'.
        dtype: the dtype of the states.
    """
    place = Place(device, dtype)
    for claim in claims:
        begin = time.perf_counter()
        bound = claim.bound(dtype)
        try:
            measured, error, failed = float(claim.how(place)), "", False
        except Exception as failure:
            refused = claim.may_refuse and isinstance(failure, InputError)
            words = str(failure) if refused else f"{type(failure).__name__}: {failure}"
            measured, error, failed = math.nan, " ".join(words.split()), not refused
        passed = None if bound is None else abs(measured - claim.expected) <= bound
        passed = (False if failed else None) if error else passed
        yield Finding(claim, measured, bound, passed, time.perf_counter() - begin, error)
