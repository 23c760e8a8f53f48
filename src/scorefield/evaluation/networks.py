"""Features of networks that others trained: used when they are at hand, never fetched, never silently."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.evaluation.features import Features, Fitted, Seen, fingerprint

INSTALL = 'pip install "scorefield[evaluation]"'
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
# What DINOv2 was trained on: 224 pixels, and the mean and spread of ImageNet's channels.
DINO_SIDE, DINO_MEAN, DINO_STD = 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Inception(Features):
    """The 2,048 features of the Inception network that published FIDs are measured in.

    The network is torch-fidelity's, whose weights are looked for where torch keeps downloads.

    Arguments:
        weights: path of the weights; torch's folder of downloads if not given.

    Reference: Heusel et al. 2017, GANs trained by a two time-scale update rule. arXiv:1706.08500
    """

    weights: str = ""

    def check(self, spec: DataSpec) -> None:
        _check_colours("inception", spec)

    def fitted(self, some: Tensor) -> Fitted:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise _missing("inception", "torch-fidelity", error) from error
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        path = Path(self.weights) if self.weights else folder / INCEPTION_FILE
        if not path.is_file():
            raise InputError(
                f"features 'inception' need the weights {INCEPTION_FILE} of torch-fidelity's release "
                f"v0.2.0; there is no {path} (see features.weights)"
            )
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(path),
        ).eval()

        @torch.no_grad()
        def look(images: Tensor) -> Seen:
            features, logits = network(_coloured(images))
            return Seen(features.double(), logits.double())

        return Fitted("inception", fingerprint("inception 1", network), look, 50, published=True)


@dataclass(frozen=True)
class Dinov2(Features):
    """The class token of a DINOv2 network, which judges photographs closer to how people do.

    The network is transformers'; its weights must be in its cache or in a folder.

    Arguments:
        model: a name in the cache of Hugging Face, or a folder.

    Reference: Stein et al. 2023, Exposing flaws of generative model evaluation metrics. arXiv:2306.04675
    """

    model: str = "facebook/dinov2-large"

    def check(self, spec: DataSpec) -> None:
        _check_colours("dinov2", spec)

    def fitted(self, some: Tensor) -> Fitted:
        try:
            from transformers import Dinov2Model
        except ImportError as error:
            raise _missing("dinov2", "transformers", error) from error
        try:
            network = Dinov2Model.from_pretrained(self.model, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise InputError(
                f"features 'dinov2' need the weights of '{self.model}' in Hugging Face's cache or in a "
                "folder (see features.model); nothing is downloaded"
            ) from error
        mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (DINO_MEAN, DINO_STD))

        @torch.no_grad()
        def look(images: Tensor) -> Seen:
            x = functional.interpolate(
                _coloured(images).float() / 255,
                (DINO_SIDE, DINO_SIDE),
                mode="bicubic",
                antialias=True,
            )
            return Seen(network((x.clamp(0, 1) - mean) / std).pooler_output.double(), None)

        return Fitted("dinov2", fingerprint("dinov2 1", network), look, 25, published=True)


@dataclass(frozen=True)
class Own(Features):
    """A function of the user's own, named on the command line and nowhere else.

    It gets a batch of images, uint8 (B, H, W, C), or of vectors, float32, and gives features (B, D), or
    these and logits (B, K).

    Arguments:
        path: 'package.module:callable'.

    Reference: Python's entry points, https://packaging.python.org/specifications/entry-points
    """

    path: str = ""

    def check(self, spec: DataSpec) -> None:
        """Fit what the function fits."""

    def fitted(self, some: Tensor) -> Fitted:
        call = self._called()

        @torch.no_grad()
        def look(samples: Tensor) -> Seen:
            return _seen(call(samples), samples, self.path)

        look(some[:2])  # so that a function that does not fit fails before any work is done
        weights = call if isinstance(call, nn.Module) else _source(call)
        return Fitted(self.path, fingerprint("own 1", self.path, weights), look, 100)

    def _called(self) -> Callable[[Tensor], Any]:
        module, _, name = self.path.partition(":")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise InputError(
                f"features '{self.path}' cannot be imported ({error}); write package.module:callable"
            ) from error
        if not callable(found):
            raise InputError(
                f"features '{self.path}' are not a function but {type(found).__name__}"
            )
        return found  # type: ignore[no-any-return]


def _seen(made: object, samples: Tensor, path: str) -> Seen:
    features, logits = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    for values in (features, logits):
        if values is not None and not (isinstance(values, Tensor) and values.ndim == 2):
            raise InputError(f"features '{path}' must give tensors (B, D), got {type(values)}")
    if not isinstance(features, Tensor) or len(features) != len(samples):
        raise InputError(f"features '{path}' must give a row for each of {len(samples)} samples")
    return Seen(features.cpu().double(), None if logits is None else logits.cpu().double())


def _source(call: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(inspect.getmodule(call) or call)
    except (OSError, TypeError):
        return ""


def _check_colours(name: str, spec: DataSpec) -> None:
    if not spec.is_image or spec.shape[0] not in (1, 3):
        raise InputError(f"features '{name}' look at gray or RGB images, the data are {spec.shape}")


def _coloured(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) of images (B, H, W, C), C = 1 or 3."""
    return images.movedim(-1, 1).expand(-1, 3, -1, -1).contiguous()


def _missing(name: str, package: str, error: ImportError) -> InputError:
    return InputError(
        f"features '{name}' need {package}, which cannot be imported ({error}); install it with: "
        f"{INSTALL}"
    )
