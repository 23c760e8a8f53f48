"""The learning rate as a function of the step and of the share of the budget that is spent."""

from __future__ import annotations

import math

from scorefield.recipes.training import Training


def learning_rate(training: Training, step: int, spent: float) -> float:
    """The rate of a step: the peak, times a linear warm-up over steps, times a fall over the budget.

        linear        min(1, r)                      r = (1 - spent)/decay
        cosine        (1 - cos π min(1, r))/2
        inverse-root  1/√max(1, spent/(1 - decay))
        constant      1

    Arguments:
        training: the peak, the warm-up, the schedule and its decay.
        step: the number of the step, from 0.
        spent: the share of the budget that is spent before it.

    Reference: Loshchilov & Hutter 2017, SGDR, eq. 5, for the cosine; Karras et al. 2024, section 2.3, for
        the inverse root, with t_ref as a share of the budget. arXiv:1608.03983, arXiv:2312.02696
    """
    up = min(1.0, (step + 1) / training.warmup) if training.warmup else 1.0
    return training.lr * up * _fall(training.lr_schedule, training.decay, spent)


def _fall(kind: str, decay: float, spent: float) -> float:
    left = min(1.0, (1 - spent) / decay) if decay else 1.0
    if kind == "linear":
        return left
    if kind == "cosine":
        return (1 - math.cos(math.pi * left)) / 2
    if kind == "inverse-root":
        return 1 / math.sqrt(max(1.0, spent / (1 - decay)))
    return 1.0
