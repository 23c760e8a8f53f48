"""The network that looks at digits: a small classifier, whose weights come with this package."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional

from scorefield.errors import InputError

SIZE = 128  # numbers in the features
WEIGHTS = "digits.safetensors"
SHA256 = "5af7204279256251dee863d977e3335d0c7aed4e8172aa0c0e68473cd45c520c"


class DigitClassifier(nn.Module):
    """A convolutional network of 0.3 million parameters for gray images of 28×28 pixels.

    Three stages of two 3×3 convolutions with batch norm, each ending in a 2×2 maximum, then 128 features
    (after their ReLU) and from these the 10 logits, linearly.

    Arguments:
        width: channels of the first stage; the next two have 2 and 3 times as many.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = [(1, width), (width, 2 * width), (2 * width, 3 * width)]
        self.stages = nn.Sequential(*(_stage(*size) for size in sizes))
        self.hidden = nn.Linear(3 * width * 9, SIZE, bias=False)
        self.norm = nn.BatchNorm1d(SIZE)
        self.logits = nn.Linear(SIZE, 10)

    def features(self, x: Tensor) -> Tensor:
        """Features (B, 128) of images (B, 1, 28, 28) in [0, 1]."""
        hidden: Tensor = self.norm(self.hidden(self.stages((x - 0.1307) / 0.3081).flatten(1)))
        return functional.relu(hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 1, 28, 28) in [0, 1]."""
        out: Tensor = self.logits(self.features(x))
        return out


def _stage(before: int, after: int) -> nn.Sequential:
    first = nn.Conv2d(before, after, 3, padding=1, bias=False)
    second = nn.Conv2d(after, after, 3, padding=1, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(after), nn.ReLU()]
    layers += [second, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


@cache
def digit_classifier() -> DigitClassifier:
    """The trained classifier, from the weights in this package; not to be changed."""
    content = (resources.files("scorefield.evaluation") / "embedded" / WEIGHTS).read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise InputError(f"{WEIGHTS} is damaged: its sha256 is {found}, not {SHA256}")
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
        network = DigitClassifier()
    # A count of batches, which averaging of weights needs and looking does not, is not in the file.
    network.load_state_dict({k: v.float() for k, v in load(content).items()}, strict=False)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def digit_features(images: Tensor, batch: int = 500) -> tuple[Tensor, Tensor]:
    """What the classifier makes of digits: features (N, 128) and logits (N, 10), float64.

    Arguments:
        images: gray images as people keep them, uint8, shape (N, 28, 28, 1).
        batch: images looked at at once.

    Raises:
        InputError: for images of another shape or type.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1:] != (28, 28, 1):
        raise InputError(
            f"the digit classifier looks at uint8 images (N, 28, 28, 1), got {images.dtype} "
            f"{tuple(images.shape)}"
        )
    network = digit_classifier()
    # Images are laid out anew, so that nobody's memory format decides how the sums are rounded.
    parts = [
        network.features(part.movedim(-1, 1).contiguous().float() / 255)
        for part in torch.split(images, batch)
    ]
    features = torch.cat(parts)
    return features.double(), network.logits(features).double()
