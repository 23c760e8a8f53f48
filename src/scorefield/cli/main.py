"""The command ``scorefield``: which commands there are, and how all of them fail."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from scorefield import __version__
from scorefield.cli.memory import keep_memory
from scorefield.cli.once import first_to_say
from scorefield.cli.streams import lasting
from scorefield.errors import InputError, is_out_of_memory

# What torch is told, unless the user has told it something else, before it is imported.
FOR_TORCH = {
    # The processor's word for its vector instructions is taken; three trial compilations take 5 seconds.
    "TORCHINDUCTOR_VEC_ISA_OK": "1",
}

app = App(
    name="scorefield",
    help="Score-based and diffusion generative models, on the machine you have.",
    help_epilogue="Start with: scorefield train mnist10k -o runs/first. Every command takes --debug, "
    "which shows where an error came from.",
    version=__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
# By import path: a command's module, and torch with it, is loaded when the command is used.
app.command("scorefield.cli.train:train", help="Train a recipe, or go on with a run.")
app.command(
    "scorefield.cli.resume:resume", help="Go on with a run from its last good state, or for longer."
)
app.command(
    "scorefield.cli.doctor:doctor", help="Examine data, and fit a recipe to them and to a budget."
)
app.command("scorefield.cli.ema:ema", help="Average a run's weights over another length.")
app.command("scorefield.cli.sample:sample", help="Draw samples from a trained model.")
app.command(
    "scorefield.cli.likelihood:likelihood", help="Tell how likely a model finds data, in bits."
)
app.command(
    "scorefield.cli.latent:app", name="latent", help="Encode data to noise and decode it back."
)
app.command(
    "scorefield.cli.evaluate:evaluate_run",
    name="evaluate",
    help="Tell how good a model's samples are.",
)
app.command("scorefield.cli.compare:compare", help="Put evaluations side by side.")
app.command(
    "scorefield.cli.tune:tune_run",
    name="tune",
    help="Find the sampler, steps, grid and guidance that suit a model.",
)
app.command("scorefield.cli.show:show", help="Tell what a model is and how its training went.")
app.command(
    "scorefield.cli.report:report",
    help="Write a run's report: verdict, curves and samples on a page.",
)
app.command(
    "scorefield.cli.calibrate:calibrate_run",
    name="calibrate",
    help="Fit the Gaussian-residual sampler to a model.",
)
app.command(
    "scorefield.cli.list:list_names", name="list", help="List what there is to choose from."
)
app.command(
    "scorefield.cli.plot:app", name="plot", help="Draw grids, animations, paths, schedules, losses."
)
app.command(
    "scorefield.cli.verify:verify",
    help="Try problems with exact answers here, or on a trained model.",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0, 1 where a claim of `verify` fails, 2 for a user's error, 130 when interrupted, 143 when asked to end.

    Arguments:
        argv: the words after the program's name; those of the process if not given.
    """
    for name, value in FOR_TORCH.items():
        os.environ.setdefault(name, value)
    keep_memory()
    output = lasting()
    words = list(sys.argv[1:] if argv is None else argv)
    code = _run([word for word in words if word != "--debug"], debug="--debug" in words)
    sys.stdout.flush()
    if output is not None and output.complaint and not code:
        return _refused(f"cannot write to standard output: {output.complaint}")
    return code


def _run(words: list[str], *, debug: bool) -> int:
    try:
        code = app(words, exit_on_error=False, print_error=False)
    except KeyboardInterrupt:
        if first_to_say("interrupted"):
            print("scorefield: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        sentence = _sentence(error)
        if not sentence:
            raise
        if debug:
            traceback.print_exc()
        return _refused(sentence)
    return code if isinstance(code, int) else 0


def _refused(sentence: str) -> int:
    if first_to_say(sentence):
        print(f"scorefield: {sentence}", file=sys.stderr)
    return 2


def _sentence(error: Exception) -> str:
    """What to tell a user of an error that is theirs or their machine's; '' for one of ours."""
    words = ""
    if isinstance(error, (InputError, CycloptsError)):
        words = str(error)
    elif isinstance(error, OSError) and error.filename is not None:
        words = f"cannot use {error.filename}: {error.strerror}"
    elif is_out_of_memory(error):
        size = re.search(r"allocate (\d+) bytes", str(error))
        reason = f"{int(size[1]) / 1e9:,.1f} GB were asked for" if size else str(error)[:200]
        words = f"not enough memory: {reason or 'no more is said'}"
    return " ".join(words.split())
