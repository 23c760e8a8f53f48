"""Features by their name on the command line."""

from __future__ import annotations

from collections.abc import Mapping

from scorefield.data.base import DataSpec
from scorefield.errors import InputError, unknown
from scorefield.evaluation.features import DIGIT_SHAPE, Digits, Features, Pixels
from scorefield.evaluation.networks import Dinov2, Inception, Own
from scorefield.recipes.config import from_dict

# A function of the user's own has no kind here: it is named on the command line only, never in a file.
FEATURES: dict[str, type[Features]] = {
    "digits": Digits,
    "pixels": Pixels,
    "inception": Inception,
    "dinov2": Dinov2,
}


def find_features(name: str, settings: Mapping[str, object] | None = None) -> Features:
    """Features by what a user calls them.

    Arguments:
        name: a kind, or package.module:callable for a function of the user's own.
        settings: fields of that kind that differ from their defaults.

    Raises:
        InputError: for a name or a setting that there is not.
    """
    if ":" in name:
        if settings:
            raise InputError(f"features '{name}' have no settings, got {', '.join(settings)}")
        return Own(name)
    if name not in FEATURES:
        raise unknown("features", name, [*FEATURES, "package.module:callable"])
    return from_dict(FEATURES[name], dict(settings or {}), "features")


def features_for(spec: DataSpec) -> Features:
    """The features that fit the data if none are asked for.

    Arguments:
        spec: the description of the data.

    Raises:
        InputError: for images that have no features of their own here.
    """
    if spec.shape == DIGIT_SHAPE:
        return Digits()
    if not spec.is_image:
        return Pixels()
    raise InputError(
        f"images of shape {spec.shape} have no features of their own here; choose with --features: "
        "inception or dinov2 (networks for photographs), pixels (coarse), or package.module:callable"
    )
