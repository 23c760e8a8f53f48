"""Features to compare images in: a classifier of the real ones, for data that have none of their own.

The digit classifier's layers for any number of channels and pixels, trained for 8 epochs as that one was,
but with images mirrored and shifted only. Its weights are kept beside the data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from scorefield.data.base import Arrays, DataSpec
from scorefield.evaluation.digits import SIZE, DigitClassifier
from scorefield.evaluation.features import Features, Fitted, Seen, fingerprint

EPOCHS, BATCH, RATE, SEED, SHIFT = 8, 128, 0.004, 0, 3


class Classifier(DigitClassifier):
    """The digit classifier for images of another size; pixels in [0, 1].

    Arguments:
        shape: channels, height and width.
        classes: how many.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        width = self.stages[0][0].out_channels
        self.stages[0][0] = nn.Conv2d(shape[0], width, 3, padding=1, bias=False)
        self.hidden = nn.Linear(3 * width * (shape[1] // 8) * (shape[2] // 8), SIZE, bias=False)
        self.logits = nn.Linear(SIZE, classes)


def moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images mirrored, all shifted by as much."""
    flip = torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
    x = torch.where(flip, x.flip(-1), x)
    down, right = (int(torch.randint(2 * SHIFT + 1, (), generator=generator)) for _ in range(2))
    height, width = x.shape[-2:]
    return functional.pad(x, [SHIFT] * 4)[..., down : down + height, right : right + width]


def train(data: Arrays) -> Classifier:
    """The network after all epochs."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = Classifier(data.spec.shape, data.spec.classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.02)
    each, begin = len(data) // BATCH, time.perf_counter()
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=EPOCHS * each, pct_start=0.2
    )
    for _ in range(EPOCHS):
        for some in torch.randperm(len(data), generator=generator)[: each * BATCH].split(BATCH):
            x, label = data.batch(some)
            x = moved((x + 1) / 2, generator).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x)
            loss = functional.cross_entropy(logits.float(), label, label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    print(f"classifier trained in {time.perf_counter() - begin:.0f} s", flush=True)
    return network.to(memory_format=torch.contiguous_format).eval()


@dataclass(frozen=True)
class Learned(Features):
    """The 128 features of a classifier of the data themselves.

    Arguments:
        path: file of its weights.
        classes: how many it knows.
        shape: of the images.
    """

    path: Path
    classes: int
    shape: tuple[int, ...]

    def check(self, spec: DataSpec) -> None:
        assert spec.shape == self.shape

    def fitted(self, some: Tensor) -> Fitted:
        network = Classifier(self.shape, self.classes).eval()
        network.load_state_dict(load_file(self.path))

        @torch.no_grad()
        def look(images: Tensor) -> Seen:
            features = network.features(images.movedim(-1, 1).contiguous().float() / 255)
            return Seen(features.double(), network.logits(features).double())

        return Fitted("learned", fingerprint("learned", network), look, batch=250)


def learned(path: Path, data: Arrays) -> Learned:
    """The features, trained if their file is not there."""
    if not path.exists():
        save_file(train(data).state_dict(), path)
    return Learned(path, data.spec.classes, data.spec.shape)
