"""One step of training: draw, loss and gradients, clip, update. It knows no clock and no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from scorefield.core.denoisers import NetworkDenoiser
from scorefield.data.base import DataSpec
from scorefield.nets.base import Network
from scorefield.recipes.recipe import Recipe
from scorefield.samplers.noise import stream
from scorefield.training.engine import Engine
from scorefield.training.loss import LossModule
from scorefield.training.optimizers import build_optimizers
from scorefield.training.order import AUGMENT, DROPOUT, NOISE
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
        self.optimizers = [accelerator.prepare(optimizer) for optimizer in built]
        self.loss: nn.Module = self.module
        self.generator = torch.Generator()

    @property
    def parts(self) -> dict[str, Part]:
        """What a run goes on from, by name."""
        optimizers = {f"optimizer.{k}": OptimizerPart(o) for k, o in enumerate(self.optimizers)}
        return {"network": ModulePart(self.network), **optimizers, **self.module.parts}

    def prepare(self) -> None:
        """Let processes share gradients; when the weights are laid out, since that is taken for settled."""
        self.module.zero_grad(set_to_none=True)
        self.loss = self.accelerator.prepare(self.module)

    def gradients(
        self, engine: Engine, step: int, x0: Tensor, label: Tensor | None
    ) -> tuple[float, float]:
        """Leave the clipped gradients of a step; returns the loss and the norm before clipping.

        Arguments:
            engine: how to compute.
            step: the number of the step, from 0.
            x0: this process's rows of the batch.
            label: the labels of the whole batch.
        """
        with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
            loss = self._backward(engine, step, x0, label)
        clip = self.recipe.training.clip
        return loss, float(self.accelerator.clip_grad_norm_(self.module.parameters(), clip))

    def update(self, lr: float) -> None:
        """Change the weights by the gradients that are there.

        Arguments:
            lr: the learning rate.
        """
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.module.finish(self._summed)

    def dry_run(self, engine: Engine, x0: Tensor, label: Tensor | None) -> None:
        """A pass of the first step that changes no weights and leaves its gradients.

        Arguments:
            engine: how to compute.
            x0: this process's rows of the batch.
            label: the labels of the whole batch.
        """
        self.module.zero_grad(set_to_none=True)
        with torch.random.fork_rng(devices=[]):
            self._backward(engine, 0, x0, label)
        if self.accelerator.device.type != "cpu":
            torch.accelerator.synchronize()  # a GPU is timed when it is done, not when it is told

    def _drawn(
        self, step: int, x0: Tensor, label: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """What the loss of this process's rows takes: x₀, t, ε, label and what augmentation tells."""
        device, mine, objective = self.accelerator.device, self.mine, self.module.objective
        batch, seed = self.recipe.training.batch, self.recipe.training.seed
        # Every process draws for the whole batch and keeps its rows: no number of them changes a sample.
        self.generator.manual_seed(stream(seed, AUGMENT, step))
        changes = self.recipe.augmentation.draw(batch, self.spec, self.generator)[mine]
        self.generator.manual_seed(stream(seed, NOISE, step))
        whole = x0[:1].expand(batch, *x0.shape[1:])
        t, eps, label = objective.draw(self.denoiser.schedule, whole, label, self.generator)
        torch.manual_seed(stream(seed, DROPOUT, step, self.accelerator.process_index))
        x0 = changes(x0)
        label = None if label is None else label[mine]
        x0, t, eps = x0.to(device), t[mine], objective.coupling(x0, eps[mine], label).to(device)
        told, known = (None if c is None else c.to(device) for c in (changes.told, label))
        return x0, t, eps, known, told

    def _backward(self, engine: Engine, step: int, x0: Tensor, label: Tensor | None) -> float:
        """Gradients of the loss of a step, in as many parts as the recipe says; returns the loss."""
        self.module.begin()
        x0, t, eps, *cond = self._drawn(step, x0, label)
        total = 0.0
        for part in torch.arange(len(x0)).chunk(self.recipe.training.accumulate):
            with engine.autocast(self.accelerator.device):
                given = (None if c is None else c[part] for c in cond)
                loss = self.loss(x0[part], t[part], eps[part], *given)
            share = len(part) / len(x0)
            self.accelerator.backward(loss * share)
            total += float(loss.detach()) * share
        return total

    def _summed(self, tensor: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(tensor.to(self.accelerator.device), "sum")
        return total
