"""How much memory a step takes, estimated from a forward pass of two samples, and how much is free."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scorefield.data.base import Data
from scorefield.errors import is_out_of_memory
from scorefield.nets.engine import Engine
from scorefield.training.progress import Remark
from scorefield.training.state import Part

if TYPE_CHECKING:
    from scorefield.training.stepper import Stepper

MOMENTS = {"adamw": 2, "muon": 1}  # numbers that an optimizer remembers of each weight
WORTH_SAYING = 2**28  # bytes; below a quarter of a gigabyte nobody asks
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Memory:
    """An estimate of the memory of training, in bytes.

    Arguments:
        weights: the weights and buffers.
        averages: averages of the weights.
        origin: the copy of weights and averages that a run begins with, in the machine's memory.
        data: samples that are kept in memory.
        gradients: the gradient.
        moments: what the optimizer remembers.
        activations: what the forward pass of this process's rows leaves for the backward pass.
        rows: how many these are.
    """

    weights: int
    averages: int
    origin: int
    data: int
    gradients: int
    moments: int
    activations: int
    rows: int

    def to_come(self, split: int) -> int:
        """What is not there before the first step.

        Arguments:
            split: parts a batch is computed in.
        """
        return self.origin + self.gradients + self.moments + self.activations // split


@dataclass(frozen=True)
class Room:
    """What is needed, and what is free.

    Arguments:
        needed: the estimate.
        free: bytes that are free.
    """

    needed: Memory
    free: int

    @property
    def is_notable(self) -> bool:
        """Whether it is so much that somebody may ask."""
        return self.needed.to_come(1) > WORTH_SAYING

    def is_short(self, split: int) -> bool:
        """Whether a batch in so many parts does not fit."""
        return self.needed.to_come(split) > self.free

    def parts(self, split: int) -> int:
        """Parts in which a batch fits, by doubling; as many as it has rows if it never does.

        Arguments:
            split: parts to begin with.
        """
        while self.is_short(split) and split < self.needed.rows:
            split = min(2 * split, self.needed.rows)
        return split

    def fitted(self, split: int) -> tuple[int, list[Remark]]:
        """Parts in which a batch fits, and what there is to say of the memory.

        Arguments:
            split: parts to begin with.
        """
        parts = self.parts(split)
        warning = self.is_short(parts) or parts > split
        said = [(self.describe(parts), warning)] if warning or self.is_notable else []
        return parts, said

    def describe(self, split: int) -> str:
        """A sentence about what is needed, what of that is still to come, and what is free.

        Arguments:
            split: parts a batch is computed in.
        """
        needed = self.needed
        shares = {
            "weights": needed.weights,
            "averages": needed.averages,
            "their copy until there is a checkpoint": needed.origin,
            "data": needed.data,
            "gradients": needed.gradients,
            "optimizer": needed.moments,
            "activations": needed.activations // split,
        }
        words = ", ".join(f"{name} {size(number)}" for name, number in shares.items())
        parts = f"; a batch is computed in {split} parts" if split > 1 else ""
        return (
            f"memory: about {size(sum(shares.values()))} ({words}), of which "
            f"{size(needed.to_come(split))} are still to come, and {size(self.free)} are free{parts}"
        )


def size(number: int) -> str:
    """A number of bytes in words, such as '1.3 GB'."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


def kept_bytes(run: Callable[[], Tensor], held: Iterable[Tensor]) -> int | None:
    """Bytes that a forward pass keeps for the backward pass; none if memory runs out before.

    Arguments:
        run: the pass; its result is dropped.
        held: tensors that are there anyway, such as the weights.
    """
    try:
        return saved_bytes(run, held)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def saved_bytes(run: Callable[[], Tensor], held: Iterable[Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward pass; each storage counts once.

    Arguments:
        run: the pass; its result is dropped.
        held: tensors that are there anyway, such as the weights.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in held}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = run()  # kept until all is counted, as storages that are let go are used again
    del out
    return sum(storages.values())


def scaled(one: int, two: int, rows: int) -> int:
    """What a batch keeps, given what 1 and 2 rows keep: some once, the rest for each row.

    Arguments:
        one: bytes that 1 row keeps.
        two: bytes that 2 rows keep.
        rows: rows of the batch.
    """
    return max(0, one + (two - one) * (rows - 1))


def estimated(
    stepper: Stepper,
    averages: Sequence[Part],
    data: Data,
    first: tuple[Tensor, Tensor | None],
    *,
    copied: bool,
) -> Memory:
    """The memory of training, as far as two small passes tell.

    Arguments:
        stepper: before its weights are compiled or shared.
        averages: of the weights.
        data: the data.
        first: this process's rows of the first batch, and its labels.
        copied: whether weights and averages are to be copied, in the memory that is looked at.
    """
    training, network = stepper.recipe.training, stepper.network
    gradients = sum(p.nbytes for p in network.parameters())
    # What is chosen by measuring is not known yet; fp32 takes the most.
    precision = "fp32" if training.precision == "auto" else training.precision
    weights = sum(w.nbytes for w in network.state_dict().values())
    averaged = sum(w.nbytes for part in averages for w in part.tensors().values())
    return Memory(
        weights=weights,
        averages=averaged,
        origin=weights + averaged if copied else 0,
        data=sum(v.nbytes for v in vars(data).values() if _is_in_memory(v)),
        gradients=gradients,
        moments=MOMENTS[training.optimizer] * gradients,
        activations=stepper.activations(Engine(precision), *first),
        rows=len(first[0]),
    )


def _is_in_memory(value: object) -> TypeGuard[Tensor | NDArray[Any]]:
    return isinstance(value, (Tensor, np.ndarray)) and not isinstance(value, np.memmap)


def free_bytes(device: torch.device) -> int:
    """Bytes that are free where the network computes; limits of the container count.

    Arguments:
        device: what computes.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return min(int(psutil.virtual_memory().available), *left_by_cgroups(CGROUPS), 2**62)


def left_by_cgroups(root: Path) -> list[int]:
    """What limits of control groups leave: none, or one number for each kind that has a limit.

    Arguments:
        root: where control groups are mounted.
    """
    kinds = [
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ]
    left = []
    for limit, used, stat, cached in kinds:
        try:
            words = [(root / name).read_text(encoding="utf-8").strip() for name in (limit, used)]
            numbers = dict(
                line.split() for line in (root / stat).read_text(encoding="utf-8").splitlines()
            )
        except (OSError, ValueError):  # no such limit here
            continue
        if all(word.isdigit() for word in words):
            # Files that are only cached are given up when memory is asked for.
            left.append(max(0, int(words[0]) - int(words[1]) + int(numbers.get(cached, 0))))
    return left
