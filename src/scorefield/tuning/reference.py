"""Real samples as the judge of settings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scorefield.data.base import Dataset
from scorefield.evaluation.choice import features_for
from scorefield.evaluation.features import Features
from scorefield.evaluation.reference import Reference
from scorefield.evaluation.splits import spread
from scorefield.models.model import Model

IMAGES, VECTORS = 5000, 1000  # real samples: those of vectors are compared pair by pair


@dataclass(frozen=True)
class ByReference:
    """A judge that compares with real samples.

    Arguments:
        reference: the real samples, as features see them.
    """

    reference: Reference

    @property
    def name(self) -> str:
        """What the features are called."""
        return self.reference.name

    @property
    def distance_name(self) -> str:
        """What is measured."""
        return self.reference.distance_name

    def look(self, x: Tensor) -> Tensor:
        """Features of samples in the model's units, a row for each.

        Arguments:
            x: the samples, shape (n, ...).
        """
        return self.reference.look(x).features

    def distance(self, features: Tensor) -> float:
        """How far samples of these features are from the data; lower is better.

        Arguments:
            features: a row for each sample.
        """
        return self.reference.distance(features)


def judge_of(
    model: Model, features: Features | None = None, data: Dataset | None = None
) -> ByReference:
    """The judge that training data make.

    Arguments:
        model: a trained model.
        features: what to compare in; what fits the data if not given.
        data: the data; the recipe's if not given.

    Raises:
        InputError: when the data are not at hand, or features do not fit them.
    """
    real = (data or model.recipe.data).load("train")
    some = spread(real, IMAGES if real.spec.is_image else VECTORS)
    return ByReference(Reference.of(features or features_for(real.spec), some))
