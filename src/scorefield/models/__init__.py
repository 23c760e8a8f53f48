"""Trained models: sampling from them, and the files that describe themselves."""

from scorefield.models.checkpoint import load, read_header, save
from scorefield.models.model import Model

__all__ = ["Model", "load", "read_header", "save"]
