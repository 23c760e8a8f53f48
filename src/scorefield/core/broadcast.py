"""How a number per sample meets a tensor per sample; the only broadcasting rule of the library."""

from __future__ import annotations

from torch import Tensor

from scorefield.errors import InputError


def expand(value: Tensor, like: Tensor) -> Tensor:
    """Give ``value`` the dtype, the device and as many trailing axes as ``like`` has.

    Arguments:
        value: shape () or (B,), usually float64.
        like: shape (B, ...).

    Returns:
        ``value`` as () or (B, 1, ..., 1), ready to multiply ``like``.

    Raises:
        InputError: for a ``like`` of whole numbers.
    """
    check_floating(like)
    value = value.to(device=like.device, dtype=like.dtype)
    return value if value.ndim == 0 else rows(value, like)


def check_floating(x: Tensor) -> None:
    """Refuse states of whole numbers, to which α and σ would be rounded.

    Arguments:
        x: states.

    Raises:
        InputError: with their dtype.
    """
    if not x.is_floating_point():
        raise InputError(f"states must be floating point numbers, got {x.dtype}")


def check_states(x: Tensor) -> None:
    """Refuse states that no sampler and no flow can start from: whole numbers, infinite ones, NaN.

    Arguments:
        x: states.

    Raises:
        InputError: with what they are.
    """
    check_floating(x)
    if not bool(x.isfinite().all()):
        raise InputError("the states to start from must be finite, and some are not")


def rows(value: Tensor, like: Tensor) -> Tensor:
    """One entry for each sample, as (B, 1, ..., 1) where ``like`` is, in its own dtype.

    Arguments:
        value: shape (B,), such as a mask.
        like: shape (B, ...).
    """
    return value.to(like.device).reshape(-1, *[1] * (like.ndim - 1))
