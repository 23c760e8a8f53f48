"""diffusers and denoising-diffusion-pytorch in the comparison side by side; imports nothing of Scorefield.

Run by side_by_side.py, in the peers' environment. Each is trained as its own example or trainer does it,
written out here since those end after a number of steps, not at a time: the loops take the same calls in
the same order. Images come from memory, which is faster than from the files that they read.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import contest
import numpy as np
import torch
from contest import Task
from torch import Tensor


def images(task: Task) -> Tensor:
    """The training images, uint8 (N, 1, 28, 28)."""
    return torch.from_numpy(np.load(task.folder / "images.npz")["x"]).permute(0, 3, 1, 2)


def loader(x: Tensor, batch: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x), batch_size=batch, shuffle=True
    )


def endless(batches: torch.utils.data.DataLoader) -> Iterator[Tensor]:
    """Batches of images in [0, 1], epoch after epoch."""
    while True:
        for (x,) in batches:
            yield x / 255


def size(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@dataclass(frozen=True)
class Diffusers:
    """UNet2DModel and DDPMScheduler as examples/unconditional_image_generation trains them.

    AdamW (0.95, 0.999), weight decay 1e-6, a warm-up and a cosine, gradients clipped to 1, EMAModel with
    its warm-up to the power 3/4. The cosine follows the clock, so that it ends with the time. Blocks have
    one layer, and levels no attention, as our network has it.

    Arguments:
        channels: of each level.
        patch: side of the blocks of pixels that are folded into channels; 1 for none.
        lr: the peak.
        batch: images in a step.
        warmup: steps of warm-up.
        precision: Accelerate's mixed precision.
    """

    channels: tuple[int, ...] = (32, 48, 64)
    patch: int = 1
    lr: float = 1e-4
    batch: int = 16
    warmup: int = 500
    precision: str = "no"

    def __str__(self) -> str:
        precision = "fp32" if self.precision == "no" else self.precision
        return f"AdamW {self.lr:g}, batch {self.batch}, warm-up {self.warmup}, {precision}, eager"

    def build(self):
        from diffusers import UNet2DModel

        levels = len(self.channels)
        return UNet2DModel(
            sample_size=28 // self.patch,
            in_channels=self.patch**2,
            out_channels=self.patch**2,
            layers_per_block=1,
            block_out_channels=self.channels,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            norm_num_groups=16,
            add_attention=False,
        )

    def train(self, task: Task) -> None:
        from accelerate import Accelerator
        from diffusers import DDPMScheduler
        from diffusers.training_utils import EMAModel

        torch.manual_seed(0)
        accelerator, model = Accelerator(mixed_precision=self.precision, cpu=True), self.build()
        chain = DDPMScheduler(num_train_timesteps=1000)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=self.lr, betas=(0.95, 0.999), weight_decay=1e-6
        )
        network, optimizer, batches = accelerator.prepare(
            model, optimizer, loader(images(task), self.batch)
        )
        average = EMAModel(
            model.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75
        )
        walk = endless(batches)

        def step(number: int, share: float) -> None:
            rate = min(1.0, (number + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * share))
            optimizer.param_groups[0]["lr"] = self.lr * rate
            clean = torch.nn.functional.pixel_unshuffle(next(walk) * 2 - 1, self.patch)
            noise = torch.randn_like(clean)
            t = torch.randint(0, 1000, (len(clean),))
            found = network(chain.add_noise(clean, noise, t), t).sample
            loss = torch.nn.functional.mse_loss(found.float(), noise)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            average.step(model.parameters())
            optimizer.zero_grad()

        levels = f"{len(self.channels)} levels of 1 layer"
        kind = "28×28" if self.patch == 1 else "14×14 of 2×2 patches"
        contest.train(
            task,
            step,
            batch=self.batch,
            parameters=size(model),
            network=f"UNet2DModel, {levels}, {kind}",
            settings=str(self),
        )
        average.copy_to(model.parameters())
        model.save_pretrained(task.home / "model")

    def sample(self, task: Task) -> None:
        """By DDPMPipeline: DDPM's 1000 steps, or DPM-Solver++ of order 3, as advised without guidance."""
        from diffusers import (
            DDPMPipeline,
            DDPMScheduler,
            DPMSolverMultistepScheduler,
            UNet2DModel,
        )

        torch.manual_seed(0)
        model = UNet2DModel.from_pretrained(task.home / "model").eval()
        scheduler, steps = DDPMScheduler(num_train_timesteps=1000), 1000
        if task.stage == "compared":
            steps = task.evaluations
            # Its clipping, as DDPM has by itself: without, so little trained networks diverge.
            scheduler = DPMSolverMultistepScheduler.from_config(
                scheduler.config, solver_order=3, thresholding=True
            )
        pipeline, calls = DDPMPipeline(model, scheduler), 0
        pipeline.set_progress_bar_config(disable=True)

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        model.register_forward_hook(count)

        few_bits = torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bf16")

        def batch(number: int) -> np.ndarray:
            with few_bits:
                made = pipeline(number, num_inference_steps=steps, output_type="np").images
            x = torch.from_numpy(made).permute(0, 3, 1, 2)
            return contest.to_bytes(torch.nn.functional.pixel_shuffle(x, self.patch).numpy())

        contest.draw(task, batch, lambda: calls)


@dataclass(frozen=True)
class DenoisingDiffusion:
    """denoising-diffusion-pytorch's Unet and GaussianDiffusion as its Trainer trains them.

    Its own settings (batches of 16, Adam 1e-4 with (0.9, 0.99), gradients clipped to 1, EMA 0.995 every
    ten steps, v and a sigmoid schedule), flash attention off. Its flips are left out, as digits have none,
    and so are its samples and FID on the way.

    Arguments:
        dim: channels of the finest level.
        multipliers: of each level, in dim.
        lr: the learning rate.
        batch: images in a step.
    """

    dim: int = 18
    multipliers: tuple[int, ...] = (1, 2, 4)
    lr: float = 1e-4
    batch: int = 16

    def build(self, library, steps: int | None = None):
        unet = library.Unet(self.dim, dim_mults=self.multipliers, channels=1, flash_attn=False)
        return library.GaussianDiffusion(unet, image_size=28, sampling_timesteps=steps)

    def train(self, task: Task) -> None:
        from stand_ins import denoising_diffusion

        library = denoising_diffusion()
        torch.manual_seed(0)
        accelerator = library.Accelerator(split_batches=True, mixed_precision="no", cpu=True)
        diffusion = self.build(library)
        optimizer = torch.optim.Adam(diffusion.parameters(), lr=self.lr, betas=(0.9, 0.99))
        average = library.EMA(diffusion, beta=0.995, update_every=10)
        model, optimizer, batches = accelerator.prepare(
            diffusion, optimizer, loader(images(task), self.batch)
        )
        walk = endless(batches)

        def step(number: int, share: float) -> None:
            model.train()
            with accelerator.autocast():
                loss = model(next(walk))
            loss.item()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            average.update()

        contest.train(
            task,
            step,
            batch=self.batch,
            parameters=size(diffusion),
            network="Unet, 3 levels of 2 blocks, attention, 28×28",
            settings=f"Adam {self.lr:g}, batch {self.batch}, fp32, eager",
        )
        torch.save(average.ema_model.state_dict(), task.home / "model.pt")

    def sample(self, task: Task) -> None:
        """By DDIM, as GaussianDiffusion offers it: in 250 steps, as its documentation has it, or fewer."""
        from stand_ins import denoising_diffusion

        library = denoising_diffusion()
        library.tqdm = lambda steps, **_: steps
        torch.manual_seed(0)
        steps = task.evaluations if task.stage == "compared" else 250
        diffusion, calls = self.build(library, steps).eval(), 0
        diffusion.load_state_dict(torch.load(task.home / "model.pt", weights_only=True))

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        diffusion.model.register_forward_hook(count)

        def batch(number: int) -> np.ndarray:
            return contest.to_bytes(diffusion.sample(batch_size=number).numpy())

        contest.draw(task, batch, lambda: calls)


PEERS = {
    "diffusers": Diffusers(),
    "diffusers-tuned": Diffusers((32, 80), 2, lr=1e-3, batch=128, warmup=50, precision="bf16"),
    "denoising-diffusion-pytorch": DenoisingDiffusion(),
}


def main() -> None:
    warnings.simplefilter("ignore")
    task = contest.task()
    peer = PEERS[task.name]
    (peer.train if task.stage == "train" else peer.sample)(task)


if __name__ == "__main__":
    main()
