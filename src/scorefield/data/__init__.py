"""Data sets: light descriptions that load arrays. They know nothing of models."""
