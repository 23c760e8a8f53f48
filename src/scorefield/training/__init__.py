"""Training: the trainer, which is an iterator of progress, and the log it writes."""

from scorefield.training.devices import decided_once
from scorefield.training.folder import has_run
from scorefield.training.log import read_log
from scorefield.training.progress import Progress
from scorefield.training.trainer import Trainer

__all__ = ["Progress", "Trainer", "decided_once", "has_run", "read_log"]
