"""What a check of a run found, as it stands in ``log.jsonl``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Losses = tuple[float | None, ...]  # one for each level, none where it is not known


@dataclass(frozen=True)
class Health:
    """What a check of a run found. All losses are in units of the network's own target.

        E‖x̂₀ - x₀‖² / (D c_out²)

    The same samples and the same noise are used at every check, so that losses of two checks differ by
    what was learnt between them and by nothing else.

    Arguments:
        levels: noise levels σ/α, ascending.
        ema: loss of the averaged weights on held-out samples at each level; empty without held-out samples.
        raw: the same for the weights as they are.
        train: loss of the averaged weights on as many training samples: held-out minus this is memorised.
        ideal: loss on these training samples of the ideal denoiser of the training set, which knows it by
            heart: no network gets lower on them.
        gaussian: loss of the best affine denoiser, all that mean and covariance tell: the ceiling for a
            network that learns more than those.
        gradient: this check's estimates of ‖G‖² and tr Σ; empty if not known.
        noise_scale: the gradient noise scale tr Σ / ‖G‖² in images over the checks so far; none where it
            is not known.
        ema_lag: distance of the averaged weights from the weights as they are, ‖θ_ema - θ‖ / ‖θ‖.
        data_share: share of the time of steps that was spent waiting for data.
        processes: how many trained.
    """

    levels: tuple[float, ...]
    ema: Losses = ()
    raw: Losses = ()
    train: Losses = ()
    ideal: Losses = ()
    gaussian: Losses = ()
    gradient: tuple[float, ...] = ()
    noise_scale: float | None = None
    ema_lag: float | None = None
    data_share: float | None = None
    processes: int = 1

    @property
    def score(self) -> float | None:
        """The held-out loss of the averaged weights, its mean over levels; none where it is not known."""
        return mean(self.ema)

    def plain(self) -> dict[str, Any]:
        """As it stands in the log: numbers that are not finite become none."""
        return {
            "levels": list(self.levels),
            "held_out": {"ema": _finite(self.ema), "raw": _finite(self.raw)} if self.ema else None,
            "train": _finite(self.train),
            "ideal": _finite(self.ideal),
            "gaussian": _finite(self.gaussian),
            "gradient": list(self.gradient) if all(map(math.isfinite, self.gradient)) else [],
            "noise_scale": _finite([self.noise_scale])[0],
            "ema_lag": _finite([self.ema_lag])[0],
            "data_share": _finite([self.data_share])[0],
            "processes": self.processes,
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Health:
        """Back from the log; what is missing there is not known.

        Arguments:
            plain: as `plain` gave it.
        """
        held_out = plain.get("held_out") or {}
        lists = {name: tuple(plain.get(name) or ()) for name in ("train", "ideal", "gaussian")}
        return cls(
            tuple(plain["levels"]),
            tuple(held_out.get("ema") or ()),
            tuple(held_out.get("raw") or ()),
            **lists,
            gradient=tuple(plain.get("gradient") or ()),
            noise_scale=plain.get("noise_scale"),
            ema_lag=plain.get("ema_lag"),
            data_share=plain.get("data_share"),
            processes=plain.get("processes", 1),
        )


def mean(losses: Losses) -> float | None:
    """The mean over levels; none if one is not known, or there are none.

    Arguments:
        losses: one for each level.
    """
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    return sum(known) / len(known) if known and len(known) == len(losses) else None


def _finite(values: Sequence[float | None]) -> list[float | None]:
    return [v if v is not None and math.isfinite(v) else None for v in values]
