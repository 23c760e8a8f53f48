"""How a model's network computes when samples are drawn: what 'auto' means, and what a batch is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.errors import unknown
from scorefield.nets.engine import Computed, Engine

Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["auto", "on", "off"]

BATCH = 256  # samples that are drawn at once, at most
PIXELS = {"cpu": 2**16}  # of a batch, at most: more are out of the processor's cache
PIXELS_ELSEWHERE = 2**20
WORTH = 2e12  # operations for each thread, some 30 s: below, compiling takes longer than it saves
AGREEMENT = {"fp32": 1e-3, "bf16": 0.05}  # of the output's norm: what may be rounding


@dataclass(frozen=True)
class Computing:
    """How the network computes when samples are drawn; the words are those of a recipe's training.

    Arguments:
        precision: 'fp32', 'bf16' (the network in bfloat16 and all else in fp32), or 'auto': 'bf16' for
            images where the machine has instructions for it, and 'fp32' elsewhere.
        compile: compile the network: 'on', 'off', or 'auto' for processors and requests so large that it
            pays.

    Raises:
        InputError: for other words.
    """

    precision: Precision = "fp32"
    compile: Compile = "off"

    def __post_init__(self) -> None:
        for name, words in (("precision", Precision), ("compile", Compile)):
            known = words.__args__  # type: ignore[attr-defined]
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)

    def engine(self, shape: tuple[int, ...], device: torch.device) -> Engine:
        """How this computes here; compiled only where it is asked for.

        Arguments:
            shape: of a sample.
            device: where.
        """
        precision, image = self.precision, len(shape) == 3
        if precision == "auto":
            # Rounding is below half a level of a picture; real numbers have no levels to hide it.
            precision = "bf16" if image and has_bf16(device) else "fp32"
        return Engine(precision, channels_last=image, compiled=self.compile == "on")


def has_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16.

    Arguments:
        device: the device.
    """
    if device.type == "cpu":
        # The public name came after the oldest torch that we allow.
        known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        return known is not None and bool(known())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def batch_for(shape: tuple[int, ...], device: torch.device) -> int:
    """How many samples are drawn at once: a power of two that keeps a batch in the cache.

    Arguments:
        shape: of a sample, (C, H, W) or (D,).
        device: where.
    """
    positions = 1 if len(shape) == 1 else shape[-1] * shape[-2]
    most = PIXELS.get(device.type, PIXELS_ELSEWHERE) // positions
    return min(BATCH, 1 << max(most, 1).bit_length() - 1)


def computed(denoiser: NetworkDenoiser, engine: Engine, rows: int) -> NetworkDenoiser:
    """The denoiser with its network computed in another way; it itself is left as it is.

    Arguments:
        denoiser: the denoiser.
        engine: the way.
        rows: samples in a batch of compiled code.
    """
    return denoiser.with_network(Computed(denoiser.network, engine, rows))


def worth() -> float:
    """Operations above which compiling takes less time than it saves, on a processor.

    Counted and not timed: a sample is not to depend on what else the machine was doing. On other devices
    it is not known.
    """
    return WORTH * torch.get_num_threads()


def operations(network: nn.Module, shape: tuple[int, ...], classes: int) -> int:
    """Multiplications and additions of one evaluation of a sample.

    Arguments:
        network: the network.
        shape: of a sample.
        classes: number of classes, 0 for none.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Computed(network, Engine(), 1)(*examples(network, shape, classes, 1))
    return int(counter.get_total_flops())


def failure(
    network: nn.Module, engine: Engine, shape: tuple[int, ...], classes: int, rows: int
) -> str:
    """Why compiled code is not to be used: the compiler's error, or another output than without it.

    Arguments:
        network: the network.
        engine: a compiled way.
        shape: of a sample.
        classes: number of classes, 0 for none.
        rows: samples in a batch.

    Returns:
        A clause for a sentence, or nothing.
    """
    given = examples(network, shape, classes, rows)
    with torch.no_grad():
        right = Computed(network, replace(engine, compiled=False), rows)(*given).float()
        try:
            found = Computed(network, engine, rows)(*given).float()
        except Exception as error:  # a compiler may be missing or fail in any way
            return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    if (found - right).norm() <= AGREEMENT[engine.precision] * right.norm():
        return ""
    return f"its output is wrong by {float((found - right).norm() / right.norm()):.1%}"


def examples(
    network: nn.Module, shape: tuple[int, ...], classes: int, rows: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What a network may be called with: states of unit variance, noise levels, labels; always the same.

    Arguments:
        network: the network.
        shape: of a sample.
        classes: number of classes, 0 for none.
        rows: how many samples.
    """
    device = next(network.parameters()).device
    x = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    label = torch.arange(rows, device=device) % classes if classes else None
    return x, torch.linspace(-1, 1, rows, device=device), label
