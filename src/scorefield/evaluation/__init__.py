"""How good samples are: features that fit the data, and distances between sets of them."""

from scorefield.evaluation.choice import features_for, find_features
from scorefield.evaluation.classes import (
    ChiSquare,
    chi_square,
    chi_square_two,
    class_counts,
    confidence,
    inception_score,
    label_agreement,
)
from scorefield.evaluation.comparison import compared
from scorefield.evaluation.digits import digit_classifier, digit_features
from scorefield.evaluation.distances import Neighbours, nearest
from scorefield.evaluation.estimates import Estimate, Interval
from scorefield.evaluation.evaluating import Evaluation, Stage, evaluate
from scorefield.evaluation.features import Features
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
from scorefield.evaluation.page import nearest_pairs, write_page
from scorefield.evaluation.reference import Reference
from scorefield.evaluation.result import Result, read_result, write_result
from scorefield.evaluation.samples import Drawing
from scorefield.evaluation.scores import Figure, Scores
from scorefield.evaluation.sliced import sliced_wasserstein
from scorefield.evaluation.table import caution, figure_rows, floor_words, verdict

__all__ = [
    "ChiSquare",
    "DensityCoverage",
    "Drawing",
    "Estimate",
    "Evaluation",
    "Features",
    "Figure",
    "Gaussian",
    "Interval",
    "Memorisation",
    "Neighbours",
    "PrecisionRecall",
    "Reference",
    "Result",
    "Scores",
    "Stage",
    "caution",
    "chi_square",
    "chi_square_two",
    "class_counts",
    "compared",
    "confidence",
    "density_coverage",
    "digit_classifier",
    "digit_features",
    "energy_distance",
    "evaluate",
    "features_for",
    "figure_rows",
    "find_features",
    "floor_words",
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
    "nearest_pairs",
    "precision_recall",
    "read_result",
    "relative_distance",
    "sliced_wasserstein",
    "verdict",
    "write_page",
    "write_result",
]
