"""``scorefield resume``."""

from __future__ import annotations

from pathlib import Path

from scorefield import Trainer
from scorefield.cli.options import Json, Track
from scorefield.cli.running import finish


def resume(
    run: Path,
    /,
    *,
    budget: str | None = None,
    device: str = "auto",
    track: Track = (),
    as_json: Json = False,
) -> int:
    """Go on with a run from its last good state, with the recipe in its folder.

    Parameters
    ----------
    run
        The run folder.
    budget
        A new budget of the whole run, counted from its first step: a time (90s, 5m, 2h), images
        ("600k images") or steps (120steps). Trains a finished model further.
    device
        auto for the best there is, or cpu.
    track
        A tracker, as in `scorefield train`; that of the start is not remembered.
    as_json
        Print lines of JSON.
    """
    chosen = track or None
    trainer = Trainer(None, run, device=device, resume=True, budget=budget, trackers=chosen)
    return finish(trainer, as_json=as_json)
