"""Ways of sampling a trained model, tried on a budget: quality against network evaluations."""

from scorefield.tuning.judge import Judge
from scorefield.tuning.picture import brief, front_picture
from scorefield.tuning.race import Purse, Standing
from scorefield.tuning.reference import ByReference, judge_of
from scorefield.tuning.tune import own_setting, parse_purse, tune
from scorefield.tuning.verdict import Point, Tuned, verdict

__all__ = [
    "ByReference",
    "Judge",
    "Point",
    "Purse",
    "Standing",
    "Tuned",
    "brief",
    "front_picture",
    "judge_of",
    "own_setting",
    "parse_purse",
    "tune",
    "verdict",
]
