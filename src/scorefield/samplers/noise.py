"""Noise with a stream for each sample, so that image 17 is the same in a batch of 1 and of 100."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scorefield.errors import InputError

Noise = Callable[[Tensor], Tensor]

_MASK = (1 << 64) - 1
AFRESH = 0x5EED  # of a walk's noise where the state was drawn before, as a rule by a small number


def stream(*keys: int) -> int:
    """A 63-bit seed that depends on every key and on their order (SplitMix64 over the keys)."""
    state = 0
    for key in keys:
        state = (state + (key & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seeded(seed: int, indices: Sequence[int]) -> Noise:
    """Noise whose i-th row is drawn from a stream of its own, fixed by (seed, indices[i]).

    Each call with a state of shape (B, ...) gives the next standard normal numbers of B = len(indices)
    streams. Numbers are drawn on the CPU, so a seed means the same on every device.

    Arguments:
        seed: the seed of the whole set of samples.
        indices: the place of each sample in that set.

    Examples:
        >>> one, many = seeded(0, [17]), seeded(0, range(100))
        >>> bool((one(torch.zeros(1, 3)) == many(torch.zeros(100, 3))[17]).all())
        True
    """
    generators = [torch.Generator().manual_seed(stream(seed, i)) for i in indices]

    def noise(like: Tensor) -> Tensor:
        if len(like) != len(generators):
            raise InputError(f"noise for {len(generators)} samples was asked for {len(like)}")
        rows = [torch.randn(like.shape[1:], generator=g, dtype=like.dtype) for g in generators]
        return torch.stack(rows).to(like.device) if rows else torch.empty_like(like)

    return noise


def unseeded(generator: torch.Generator) -> Noise:
    """Noise for a whole batch from one generator: faster, but a row depends on its batch.

    Arguments:
        generator: the source of randomness, on the CPU.
    """

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)

    return noise
