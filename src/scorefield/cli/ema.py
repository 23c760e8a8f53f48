"""``scorefield ema``."""

from __future__ import annotations

import shlex
from pathlib import Path

from scorefield import save
from scorefield.atomic import check_file
from scorefield.cli.options import Json, Out
from scorefield.cli.output import say
from scorefield.training import averaged


def ema(
    run: str,
    /,
    *,
    length: float,
    out: Out | None = None,
    as_json: Json = False,
) -> None:
    """Average a run's weights over another length, after training.

    The averages that training kept, 16 times over the run, are put together to one of any length.

    Parameters
    ----------
    run
        A run folder.
    length
        Standard deviation of the average, relative to the run: 0.05 is what recipes have.
    out
        Where the model goes: RUN/ema-LENGTH.safetensors if not given.
    as_json
        Print one line of JSON.
    """
    out = Path(run) / f"ema-{length:g}.safetensors" if out is None else out
    check_file(out, ".safetensors")
    model = averaged(run, length)
    save(out, model)
    say(
        f"{out}: the weights of {run} at step {model.step:,}, averaged over {length:g} of the run\n"
        f"next: scorefield sample {shlex.quote(str(out))} -n 100 -o grid.png",
        as_json=as_json,
        event="done",
        out=str(out),
        length=length,
        step=model.step,
    )
