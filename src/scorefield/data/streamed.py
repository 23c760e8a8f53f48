"""Data larger than memory: samples are decoded when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorefield.data.ahead import ahead
from scorefield.data.base import Arrays, Data, measured
from scorefield.data.blocks import blocks, representatives
from scorefield.errors import InputError

THREADS = min(8, os.cpu_count() or 1)
SHARE = (
    16  # samples that a thread decodes in one go: small ones take no longer than handing them over
)


@dataclass(frozen=True, kw_only=True)
class Streamed(Data):
    """Samples that threads decode as they are asked for; none is held longer than its batch.

    Arguments:
        label: class of each sample, shape (N,), int64; none if there are no labels.
        spec: the description.
        caption: a sentence about each sample; none if there are no sentences.
        skipped: files that could not be used.
        size: number of samples, N.
        decode: gives the sample of a number as it is stored, in the shape of the description; called in
            several threads at a time.
        name: what the sample of a number is called in an error.
        workers: number of threads.
    """

    size: int
    decode: Callable[[int], Tensor | NDArray[np.generic]]
    name: Callable[[int], str] = "sample {}".format
    workers: int = THREADS

    def __len__(self) -> int:
        return self.size

    def stored(self, indices: Tensor) -> Tensor:
        shares = torch.split(indices, SHARE)
        threads = min(self.workers, len(shares))
        return torch.cat(list(ahead(self._share, shares, threads=threads, depth=len(shares))))

    def _share(self, indices: Tensor) -> Tensor:
        return torch.stack([self._sample(index) for index in indices.tolist()])

    def _sample(self, index: int) -> Tensor:
        try:
            sample = torch.as_tensor(self.decode(index))
        except InputError:
            raise
        except Exception as error:  # what others' files hold makes decoders fail in any way
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"cannot decode {self.name(index)}: {reason}") from error
        if sample.shape != self.spec.shape:
            shapes = f"{tuple(sample.shape)}, not {self.spec.shape} as the data"
            raise InputError(f"{self.name(index)} has the shape {shapes}; it has been changed")
        return sample

    def settled(self, memory: int) -> Data:
        """These data with their mean and σ_data measured; held in memory if they fit there.

        Data that do not fit are measured on representatives, see `representatives`.

        Arguments:
            memory: bytes that samples, as stored, may take.

        Raises:
            InputError: when a sample cannot be decoded, or all are equal.
        """
        first = self.stored(torch.zeros(1, dtype=torch.int64))
        if first.nbytes * self.size > memory:
            some = blocks(representatives(self.size, self.spec), self.spec)
            return replace(self, spec=measured(self.spec, (self.stored(rows) for rows in some)))
        x = first.new_empty((self.size, *self.spec.shape))
        everything = blocks(torch.arange(self.size), self.spec)
        for rows in everything:
            x[rows[0] : rows[-1] + 1] = self.stored(rows)
        spec = measured(self.spec, (x[rows[0] : rows[-1] + 1] for rows in everything))
        return Arrays(x=x, label=self.label, spec=spec, caption=self.caption, skipped=self.skipped)
