"""One step of training: draw, loss and gradients, clip, update. It knows no clock and no file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.nets.base import Network
from scorefield.nets.engine import Engine
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.noise import stream
from scorefield.training.draws import drawn_by_row
from scorefield.training.fitting import until_it_fits
from scorefield.training.loss import LossModule
from scorefield.training.memory import kept_bytes, scaled
from scorefield.training.optimizers import build_optimizers
from scorefield.training.order import AUGMENT, DEQUANTISE, DROPOUT, NOISE
from scorefield.training.processes import Processes
from scorefield.training.scaling import loss_scale
from scorefield.training.sharding import check_shardable, sharded, sharder, whole
from scorefield.training.state import ModulePart, OptimizerPart, Part

if TYPE_CHECKING:
    from accelerate import Accelerator


class Stepper:
    """The steps of a recipe; each is a function of the weights, the batch, the seed and its number.

    Arguments:
        recipe: what is trained, fitted to its data.
        spec: the description of the data.
        denoiser: whose network is trained.
        accelerator: devices and processes.
        mine: which rows of a batch this process trains on.
    """

    def __init__(
        self,
        recipe: Recipe,
        spec: DataSpec,
        denoiser: NetworkDenoiser,
        accelerator: Accelerator,
        mine: slice,
    ) -> None:
        self.recipe, self.spec, self.denoiser = recipe, spec, denoiser
        self.accelerator, self.mine = accelerator, mine
        training = recipe.training
        self.network = cast(Network, denoiser.network)
        self.network.recompute = training.gradient_checkpointing
        self.module = LossModule(denoiser, recipe.objective)
        built = build_optimizers(
            *(self.network, training.optimizer, training.lr, training.weight_decay),
            beside=self.module.learned,
        )
        self.shard = sharder(accelerator)  # with weights, in `prepare`
        if self.shard is not None:
            check_shardable(training.optimizer)
            self.optimizers = built
        else:
            self.optimizers = [accelerator.prepare(optimizer) for optimizer in built]
        self.loss: nn.Module = self.module
        self.generator = torch.Generator()
        self.scaling = loss_scale(training.precision, accelerator.device)
        self.split = training.accumulate  # parts a batch is computed in; more when memory runs out

    @property
    def parts(self) -> dict[str, Part]:
        """What a run goes on from, by name."""
        optimizers = {f"optimizer.{k}": OptimizerPart(o) for k, o in enumerate(self.optimizers)}
        scaling = {"scaling": self.scaling} if self.scaling else {}
        return {
            "network": ModulePart(self.network),
            **optimizers,
            **scaling,
            **self.module.parts,
        }

    def prepare(self) -> None:
        """Let processes share gradients; when the weights are laid out, since that is taken for settled."""
        self.module.zero_grad(set_to_none=True)
        self.split = max(Processes(self.accelerator).gathered(self.split))
        if self.shard is not None:
            self.loss, self.optimizers = sharded(self.shard, self.module, self.optimizers)
        else:
            self.loss = self.accelerator.prepare(self.module)

    def gradients(
        self, engine: Engine, step: int, x0: Tensor, label: Tensor | None
    ) -> tuple[float, float]:
        """Leave the clipped gradients of a step; returns the batch's loss and the norm before clipping.

        Arguments:
            engine: how to compute.
            step: the number of the step, from 0.
            x0: this process's rows of the batch.
            label: the labels of the whole batch.
        """
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            # Processes that wait for each other cannot begin again one by one.
            alone = self.accelerator.num_processes == 1
            loss = self._fitted(engine, step, x0, label, len(x0) if alone else self.split)
        loss = Processes(self.accelerator).mean(loss)
        if self.scaling:
            self.scaling.unscale(self.module.parameters())
        clip = self.recipe.training.clip
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), clip)
        return loss, float(whole(norm))

    @property
    def is_sound(self) -> bool:
        """Whether the weights are finite: the last update may have been too much."""
        norms = torch._foreach_norm(list(self.module.parameters()))
        return bool(torch.stack([whole(norm) for norm in norms]).isfinite().all())

    def overflowed(self, loss: float, norm: float) -> bool:
        """Whether gradients are not finite only because their scale was too large, which is lowered.

        Arguments:
            loss: the loss of a step.
            norm: the norm of its gradient.
        """
        helps = self.scaling is not None and self.scaling.adjust(finite=math.isfinite(norm))
        return helps and math.isfinite(loss)

    def leave_out(self) -> None:
        """Drop the gradients that are there."""
        self.module.zero_grad(set_to_none=True)

    def update(self, engine: Engine, lr: float) -> None:
        """Change the weights by the gradients that are there.

        Arguments:
            engine: how to compute.
            lr: the learning rate.
        """
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            with engine.autocast(self.accelerator.device):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.module.finish(Processes(self.accelerator).sum)

    def dry_run(self, engine: Engine, x0: Tensor, label: Tensor | None) -> None:
        """A pass of the first step that changes no weights and leaves its gradients.

        Arguments:
            engine: how to compute.
            x0: this process's rows of the batch.
            label: the labels of the whole batch.
        """
        self.module.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            self._fitted(engine, 0, x0, label, len(x0))
        if self.accelerator.device.type != "cpu":
            torch.accelerator.synchronize()  # a GPU is timed when it is done, not when it is told

    def drawn(
        self, step: int, x0: Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """What the loss of this process's rows takes: x₀, t, ε, label and what augmentation tells.

        Arguments:
            step: the number of the step, from 0.
            x0: this process's rows of the batch.
            label: the labels of the whole batch.
        """
        device, mine, objective = self.accelerator.device, self.mine, self.module.objective
        batch, seed = self.recipe.training.batch, self.recipe.training.seed
        # No number of processes changes a sample: each draws what is a few numbers a row for the whole
        # batch and keeps its rows, and what has the size of an image by the rows.
        self.generator.manual_seed(stream(seed, AUGMENT, step))
        changes = self.recipe.augmentation.draw(
            batch,
            self.spec,
            self.generator,
            mine,
            partial(drawn_by_row, torch.rand, mine, self.spec.shape, seed, DEQUANTISE, step),
        )
        self.generator.manual_seed(stream(seed, NOISE, step))
        no_pixels = x0.new_empty(batch, 0)
        t, _, label = objective.draw(self.denoiser.schedule, no_pixels, label, self.generator)
        shape = tuple(x0.shape[1:])
        eps = drawn_by_row(torch.randn, mine, shape, seed, NOISE, step, dtype=x0.dtype)
        torch.manual_seed(stream(seed, DROPOUT, step, self.accelerator.process_index))
        x0 = changes(x0)
        label = None if label is None else label[mine]
        x0, t, eps = x0.to(device), t[mine], objective.coupling(x0, eps, label).to(device)
        told, known = (None if c is None else c.to(device) for c in (changes.told, label))
        return x0, t, eps, known, told

    def activations(self, engine: Engine, x0: Tensor, label: Tensor | None) -> int:
        """Bytes that the forward pass of a batch keeps, by passes of its first one and two samples.

        Arguments:
            engine: how to compute; compiled code is not looked at.
            x0: this process's rows of the batch.
            label: the labels of the whole batch.
        """
        held = [*self.network.parameters(), *self.network.buffers()]
        with torch.random.fork_rng(devices=[]):
            given = self.drawn(0, x0, label)
            passes = (
                partial(self._loss, replace(engine, compiled=False), given, slice(rows))
                for rows in (1, min(2, len(x0)))
            )
            one, two = (kept_bytes(run, held) for run in passes)
        if one is None:
            raise InputError(
                "a single sample does not fit into memory; try a smaller network or smaller images"
            )
        return scaled(one, 2 * one if two is None else two, len(x0))

    def _fitted(
        self, engine: Engine, step: int, x0: Tensor, label: Tensor | None, most: int
    ) -> float:
        """Gradients of the loss of a step, in parts that fit into memory; returns the loss."""
        loss, self.split = until_it_fits(
            lambda parts: self._backward(engine, step, x0, label, parts),
            self.split,
            most,
            self.leave_out,
        )
        return loss

    def _backward(
        self, engine: Engine, step: int, x0: Tensor, label: Tensor | None, parts: int = 1
    ) -> float:
        self.module.begin()
        given = self.drawn(step, x0, label)
        scale = self.scaling.scale if self.scaling else 1.0
        total = 0.0
        for part in torch.arange(len(x0)).chunk(parts):
            loss = self._loss(engine, given, part)
            share = len(part) / len(x0)
            self.accelerator.backward(loss * share * scale)
            total += float(loss.detach()) * share
        return total

    def _loss(self, engine: Engine, given: Sequence[Tensor | None], part: Tensor | slice) -> Tensor:
        with engine.autocast(self.accelerator.device):
            loss: Tensor = self.loss(*(None if c is None else c[part] for c in given))
        return loss
