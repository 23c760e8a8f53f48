"""How much to train: a time, a number of images, or a number of steps."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from scorefield.errors import InputError

Unit = Literal["seconds", "images", "steps"]

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_THOUSANDS = {"": 1.0, "k": 1e3, "m": 1e6}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])", re.IGNORECASE | re.ASCII)
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([km]?)\s*(images?|steps?)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Budget:
    """An amount of training.

    Arguments:
        amount: how much; above 0.
        unit: of what: 'seconds' of training steps, 'images' seen, or optimizer 'steps'.
    """

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget in words: '90s', '5m', '2h', '600k images', '120steps', '120' (steps).

        Arguments:
            text: the words; upper and lower case and spaces do not matter.

        Raises:
            InputError: when they are not of these forms or not above 0.
        """
        words = str(text).strip()
        if match := _TIME.fullmatch(words):
            budget = cls(float(match[1]) * _SECONDS[match[2].lower()], "seconds")
        elif match := _COUNT.fullmatch(words):
            images = (match[3] or "steps").lower().startswith("image")
            amount = float(match[1]) * _THOUSANDS[match[2].lower()]
            budget = cls(amount, "images" if images else "steps")
        else:
            raise InputError(
                f"'{text}' is not a budget; give a time (90s, 5m, 2h), images (600k images) or "
                f"steps (120steps)"
            )
        if not budget.amount > 0 or (budget.unit != "seconds" and budget.amount < 1):
            raise InputError(f"a budget must be above 0, got '{text}'")
        return budget

    def spent(self, *, seconds: float, images: int, steps: int) -> float:
        """The share used, 0 at the start and 1 at the end.

        Arguments:
            seconds: time spent in training steps.
            images: images seen.
            steps: steps made.
        """
        return {"seconds": seconds, "images": images, "steps": steps}[self.unit] / self.amount
