"""How good samples are: features that fit the data, and distances between sets of them."""

from scorefield.evaluation.digits import digit_classifier, digit_features
from scorefield.evaluation.metrics import frechet_distance, frechet_from_moments

__all__ = ["digit_classifier", "digit_features", "frechet_distance", "frechet_from_moments"]
