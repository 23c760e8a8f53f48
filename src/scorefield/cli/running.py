"""A run on the command line: its bar, its remarks, its signals and its last words."""

from __future__ import annotations

import shlex
import signal

from scorefield import Trainer
from scorefield.cli.output import bar, remark, say
from scorefield.cli.stopping import stopping


def finish(trainer: Trainer, *, as_json: bool) -> int:
    """Train until the budget is spent or a signal comes; returns the exit code, 128 + the signal's number.

    Arguments:
        trainer: the run, opened.
        as_json: print lines of JSON.
    """
    path = str(trainer.run.out)
    name = shlex.quote(path)
    with stopping(trainer.stop) as caught, bar(f"training {path}", as_json=as_json) as advance:
        for progress in trainer:
            if progress.note:
                remark(progress.note, as_json=as_json, warning=progress.warning)
            else:
                words = f"loss {progress.loss:.4f}, {progress.rate:,.0f} images/s"
                advance(progress.spent, words)
    position = trainer.run.position
    facts = {
        "run": path,
        "step": position.step,
        "images": position.step * trainer.recipe.training.batch,
        "seconds": round(position.seconds, 3),
        "engine": str(trainer.run.engine),
    }
    if not trainer.is_finished:
        number = caught[0] if caught else signal.SIGTERM  # another process may have been asked
        where = f"stopped at step {position.step:,}; go on with: scorefield resume {name}"
        say(where, as_json=as_json, event="stopped", signal=int(number), **facts)
        return 128 + number
    say(
        f"{path}: trained for {position.step:,} steps, {facts['images']:,} images, "
        f"{position.seconds:.0f} s ({trainer.run.engine})\n"
        f"next: scorefield sample {name} -n 100 -o {shlex.quote(f'{path}/samples/grid.png')}",
        as_json=as_json,
        event="done",
        **facts,
    )
    return 0
