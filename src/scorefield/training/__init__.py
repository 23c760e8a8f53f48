"""Training: the trainer, which is an iterator of progress, and the log it writes."""

from scorefield.training.devices import decided_once
from scorefield.training.ema import half_life
from scorefield.training.faults import Fault, read_faults
from scorefield.training.folder import has_run
from scorefield.training.log import read_log
from scorefield.training.posthoc import averaged
from scorefield.training.progress import Progress
from scorefield.training.report import verdict_of, write_report
from scorefield.training.trainer import Trainer
from scorefield.training.verdict import Verdict, judge

__all__ = [
    "Fault",
    "Progress",
    "Trainer",
    "Verdict",
    "averaged",
    "decided_once",
    "half_life",
    "has_run",
    "judge",
    "read_faults",
    "read_log",
    "verdict_of",
    "write_report",
]
