"""How the digit classifier of `scorefield.evaluation` was trained; running this makes its file anew.

60,000 training images of MNIST, 12 epochs in batches of 128, AdamW (weight decay 0.02) with one cosine
cycle up to 0.004, labels smoothed by 0.05, images moved by chance (turned up to 12°, sheared up to 0.15,
scaled by 0.88 to 1.12, shifted up to 2.4 pixels), the mean of the weights over about the last epoch and a
half. All of this was fixed beforehand: the test images are looked at once, after the last step, with the
weights as they are stored (float16).

    SCOREFIELD_DATA=... python benchmarks/digit_classifier.py [--out digits.safetensors]
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scorefield.data.mnist import MNIST
from scorefield.evaluation.digits import DigitClassifier

EPOCHS, BATCH, RATE, SEED = 12, 128, 0.004, 0
TURN, SHEAR, SCALE, SHIFT = math.radians(12), 0.15, 0.12, 2.4 / 14


def moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images under affine maps near the identity, each under its own."""
    turn, shear, wide, high, right, down = (
        2 * torch.rand(6, len(x), generator=generator) - 1
    ).unbind()
    turn, shear = turn * TURN, shear * SHEAR
    wide, high = 1 + wide * SCALE, 1 + high * SCALE
    theta = torch.zeros(len(x), 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = turn.cos() * wide, (shear - turn.sin()) * wide
    theta[:, 1, 0], theta[:, 1, 1] = turn.sin() * high, turn.cos() * high
    theta[:, 0, 2], theta[:, 1, 2] = right * SHIFT, down * SHIFT
    grid = functional.affine_grid(theta, [*x.shape], align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


def train(x: Tensor, label: Tensor) -> DigitClassifier:
    """The averaged network after all epochs."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = DigitClassifier().to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9985), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.02)
    each = len(x) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=EPOCHS * each, pct_start=0.2
    )
    begin = time.perf_counter()
    for epoch in range(EPOCHS):
        total = 0.0
        for some in torch.randperm(len(x), generator=generator)[: each * BATCH].split(BATCH):
            images = moved(x[some].float() / 255, generator)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(images.to(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits.float(), label[some], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            total += float(loss.detach())
        print(
            f"epoch {epoch + 1:2d}: loss {total / each:.4f}, {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
    return average.module.eval()


@torch.no_grad()
def accuracy(network: DigitClassifier, x: Tensor, label: Tensor) -> float:
    """Share of images whose largest logit is their class's, in float32."""
    right = sum(
        int((network(a.float() / 255).argmax(1) == b).sum())
        for a, b in zip(x.split(500), label.split(500), strict=True)
    )
    return right / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("digits.safetensors"))
    out = parser.parse_args().out
    data, held_out = MNIST().load("train"), MNIST().load("test")
    network = train(data.x, data.label)
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    network.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False)
    network = network.to(memory_format=torch.contiguous_format)
    found = accuracy(network, held_out.x, held_out.label)
    header = {
        "what": "digit classifier of scorefield.evaluation",
        "accuracy": f"{found:.4f} on the 10,000 test images of MNIST",
        "recipe": " ".join(__doc__.split("\n\n")[1].split()),
        "script": "benchmarks/digit_classifier.py",
    }
    content = save(weights, header)
    out.write_bytes(content)
    count = sum(p.numel() for p in network.parameters())
    print(f"{count} parameters, accuracy {found:.4f}, {len(content)} bytes")
    print(f"sha256 {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
