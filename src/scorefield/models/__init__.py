"""Trained models: sampling from them, their likelihoods, and the files that describe themselves."""

from scorefield.models.checkpoint import Card, check_device, load, read_card, save, store_sampling
from scorefield.models.computing import Computing
from scorefield.models.likelihoods import (
    between,
    bits_per_dim,
    bounds,
    codes,
    data_of,
    decoded,
    levels_of,
    likelihoods,
    usual_dequantisation,
)
from scorefield.models.model import Model

__all__ = [
    "Card",
    "Computing",
    "Model",
    "between",
    "bits_per_dim",
    "bounds",
    "check_device",
    "codes",
    "data_of",
    "decoded",
    "levels_of",
    "likelihoods",
    "load",
    "read_card",
    "save",
    "store_sampling",
    "usual_dequantisation",
]
