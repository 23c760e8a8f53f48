"""Trained models: sampling from them, and the files that describe themselves."""

from scorefield.models.checkpoint import Card, load, read_card, save
from scorefield.models.model import Model

__all__ = ["Card", "Model", "load", "read_card", "save"]
