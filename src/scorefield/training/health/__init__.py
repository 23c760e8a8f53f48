"""How a run is doing, measured every so often on fixed samples and fixed noise."""

from scorefield.training.health.record import Health

__all__ = ["Health"]
