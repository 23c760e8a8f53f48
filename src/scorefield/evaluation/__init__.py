"""How good samples are: features that fit the data, and distances between sets of them."""

from scorefield.evaluation.classes import (
    ChiSquare,
    chi_square,
    chi_square_two,
    class_counts,
    confidence,
    inception_score,
    label_agreement,
)
from scorefield.evaluation.digits import digit_classifier, digit_features
from scorefield.evaluation.distances import Neighbours, nearest
from scorefield.evaluation.estimates import Estimate, Interval
from scorefield.evaluation.fidelity import (
    DensityCoverage,
    PrecisionRecall,
    density_coverage,
    precision_recall,
)
from scorefield.evaluation.frechet import (
    Gaussian,
    frechet_distance,
    frechet_from_moments,
    frechet_infinity,
    frechet_interval,
    gaussian_of,
)
from scorefield.evaluation.kernels import (
    energy_distance,
    kernel_distance,
    median_bandwidth,
    mmd,
)
from scorefield.evaluation.memorisation import Memorisation, memorisation, relative_distance
from scorefield.evaluation.sliced import sliced_wasserstein

__all__ = [
    "ChiSquare",
    "DensityCoverage",
    "Estimate",
    "Gaussian",
    "Interval",
    "Memorisation",
    "Neighbours",
    "PrecisionRecall",
    "chi_square",
    "chi_square_two",
    "class_counts",
    "confidence",
    "density_coverage",
    "digit_classifier",
    "digit_features",
    "energy_distance",
    "frechet_distance",
    "frechet_from_moments",
    "frechet_infinity",
    "frechet_interval",
    "gaussian_of",
    "inception_score",
    "kernel_distance",
    "label_agreement",
    "median_bandwidth",
    "memorisation",
    "mmd",
    "nearest",
    "precision_recall",
    "relative_distance",
    "sliced_wasserstein",
]
