"""Runs that are stopped, killed and out of room, as processes of their own, and how they go on."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from scorefield.cli.main import main
from scorefield.cli.stopping import stopping
from scorefield.recipes import find_recipe
from scorefield.training import Trainer
from scorefield.training.checkpoints import Checkpoints
from scorefield.training.statefile import read_state

LONG = ["training.checkpoint_every=1step", "--budget", "100k steps"]
KEPT = ["training.keep=1000", *LONG]
COMMAND = [sys.executable, "-m", "scorefield"]


# A namespace in which anybody may mount; not every machine allows it.
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
MAY_MOUNT = (
    shutil.which("unshare") is not None
    and subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
)


def step_of(path):
    return int(path.name.removeprefix("step-").split(".")[0])


def states(out):
    return Checkpoints(out / "state")


def started(out, *words, step=1):
    """A run in a process of its own, with a state of a step or a later one."""
    process = subprocess.Popen(
        [*COMMAND, *words, *(["-o"] if words[0] == "train" else []), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(step_of(path) >= step for path in states(out).files()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process


def up_to(trainer, step):
    for progress in trainer:
        if progress.step == step and not progress.note:
            trainer.stop()
    return trainer


def same_as_straight(out, folder, more=3):
    """Whether a run goes on for some steps to what it would be without having been interrupted."""
    resumed = Trainer(None, out, resume=True)
    last = resumed.run.position.step + more
    up_to(resumed, last)
    rarely = find_recipe(str(out / "recipe.json"), ["training.checkpoint_every=1h"])
    up_to(Trainer(rarely, folder), last)
    one, other = states(out).newest(), states(folder).newest()
    assert step_of(one.path) == step_of(other.path) == last
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def unfinished(out):
    return [path for path in out.rglob("*") if "partial" in path.name]


def in_a_shell(script, *words):
    """A script in which "$@" is the command, in a namespace of its own where there is one."""
    return subprocess.run(
        [*(NAMESPACE if MAY_MOUNT else []), "sh", "-c", script, "sh", *COMMAND, *words],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def ctrl_c():
    """Python's own handler, which is not there when a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("ctrl_c")
def test_the_first_signal_asks_and_a_second_ctrl_c_insists(number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    asked = []
    with (  # noqa: PT012
        pytest.raises(KeyboardInterrupt),
        stopping(lambda: asked.append(1)) as caught,
    ):
        assert (asked, caught) == ([], [])
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)  # launchers send both
        assert (asked, caught) == ([1], [number])
        os.kill(os.getpid(), signal.SIGINT)
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]


def test_a_signal_that_was_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopping(lambda: None) as caught:
            os.kill(os.getpid(), signal.SIGINT)
            assert caught == []
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_run_that_is_asked_to_end_goes_on_exactly(here, small, capsys):
    process = started(here / "r", "train", "moons", *small, *LONG, step=2)
    # another cannot train there meanwhile
    assert main(["resume", str(here / "r")]) == 2
    assert re.match(
        rf"scorefield: process {process.pid} on \S+ is training in ", capsys.readouterr().err
    )
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, err.strip()) == (
        143,
        "stopping after this step; Ctrl-C again stops at once",
    )
    said = re.fullmatch(r"stopped at step ([\d,]+); go on with: scorefield resume (\S+)\n", out)
    assert step_of(states(here / "r").files()[-1]) == int(said[1].replace(",", ""))
    assert said[2] == str(here / "r")
    assert same_as_straight(here / "r", here / "straight")


def test_resume_needs_no_other_word(work, run, strict):
    (line,) = run("resume", "points", "--budget", "9steps", "--json")[-1:]
    assert strict(line).items() >= {"event": "done", "run": "points", "step": 9}.items()
    first, _ = run("resume", "points")
    assert first.startswith("points: trained for 9 steps")


def test_there_is_nothing_to_resume(here, capsys):
    (here / "empty").mkdir()
    for name in ("empty", "nowhere"):
        assert main(["resume", name]) == 2
        assert capsys.readouterr().err == f"scorefield: there is no run in {name} to resume\n"
    assert [path.name for path in here.iterdir()] == ["empty"]


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_once_and_twice(here, small):
    slow = ["network.width=256", "network.depth=3", "training.batch=65536"]
    once = started(here / "once", "train", "moons", *small, *LONG)
    once.send_signal(signal.SIGINT)
    out, _ = once.communicate()
    assert (once.returncode, out.startswith("stopped at step ")) == (130, True)
    twice = started(here / "twice", "train", "moons", *small, *slow, *LONG)  # a step takes seconds
    time.sleep(0.5)
    for _ in range(2):
        twice.send_signal(signal.SIGINT)
        time.sleep(0.2)
    out, err = twice.communicate()
    assert (twice.returncode, out) == (130, "")
    assert err.endswith("scorefield: interrupted\n")
    for name in ("once", "twice"):
        assert unfinished(here / name) == []
        assert states(here / name).newest().damaged == {}
    assert same_as_straight(here / "once", here / "straight")


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again(here, small):
    chance, out = random.Random(0), here / "r"
    words, reached = ["train", "moons", *small, *LONG], 0
    for _ in range(3):
        process = started(out, *words, step=reached + 1)
        time.sleep(chance.uniform(0, 0.3))  # most of which goes into writing checkpoints
        process.kill()
        process.communicate()
        reached = step_of(states(out).newest().path)
        words = ["resume"]
    assert same_as_straight(out, here / "straight")
    assert unfinished(out) == []


@pytest.mark.slow
def test_a_state_that_finds_no_room_leaves_the_one_before(work):
    before = {path: path.read_bytes() for path in states(work / "points").files()}
    small_files = 'ulimit -f 4 && "$@"'  # of 2 kB
    done = in_a_shell(small_files, "resume", "points", "--budget", "9steps")
    assert done.returncode == 2
    assert re.fullmatch(
        r"scorefield: cannot write points/(state|averages)/step-0000000\d\.safetensors: File too large, "
        r"0\.0 MB needed\n",
        done.stderr,
    )
    assert before == {path: path.read_bytes() for path in states(work / "points").files()}
    assert unfinished(work) == []
    assert main(["resume", "points"]) == 0


FULL = """
mkdir disk && mount -t tmpfs -o size=2m none disk || exit 99
"$@"; code=$?
cp -r disk/r . && exit $code
"""
FULL_LOG = """
mkdir disk; "$@" & run=$!
while [ ! -e disk/r/state/step-00000003.safetensors ]; do sleep 0.05; done
ln -sf /dev/full disk/r/log.jsonl
wait $run; code=$?
cp -r disk/r . && rm r/log.jsonl && exit $code
"""


@pytest.mark.slow
def test_a_disk_that_fills_up(here, small):
    words = ["train", "moons", *small, "network.width=64", *KEPT, "-o", "disk/r"]
    done = in_a_shell(FULL if MAY_MOUNT else FULL_LOG, *words)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(
        r"scorefield: cannot write disk/r.*: No space left on device.* MB free in disk/r.*\)\n",
        done.stderr,
    )
    assert unfinished(here / "r") == []
    for path in states(here / "r").files():
        read_state(path)
    assert same_as_straight(here / "r", here / "straight")


READ_ONLY = """
mkdir r; "$@" & run=$!
while [ ! -e r/state/step-00000003.safetensors ]; do sleep 0.05; done
mount --bind r r && mount -o remount,bind,ro r || exit 99
wait $run
"""
IN_THE_WAY = """
mkdir r; "$@" & run=$!
while [ ! -e r/state/step-00000003.safetensors ]; do sleep 0.05; done
mv r/state aside; touch r/state
wait $run; code=$?
rm r/state; mv aside r/state; exit $code
"""


@pytest.mark.slow
def test_a_folder_that_becomes_read_only(here, small):
    script = READ_ONLY if MAY_MOUNT else IN_THE_WAY
    done = in_a_shell(script, "train", "moons", *small, *KEPT, "-o", "r")
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"scorefield: cannot write r/.*: .*\n", done.stderr)
    assert ("Read-only file system" in done.stderr) == MAY_MOUNT
    assert same_as_straight(here / "r", here / "straight")
    # Where nothing can be deleted either, a file that was just begun stays until the run is opened again.
    assert unfinished(here / "r") == []
