"""Training: the trainer, which is an iterator of progress, and the log it writes."""

from scorefield.training.log import read_log
from scorefield.training.progress import Progress
from scorefield.training.trainer import Trainer

__all__ = ["Progress", "Trainer", "read_log"]
