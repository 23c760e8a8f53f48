"""Standard streams that are cut off, full, closed or of few letters; the work is done all the same."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scorefield.cli.streams import Outlet

COMMAND = f"{sys.executable} -m scorefield"
TRAIN = "train moons data.size=64 training.batch=16 network.width=8 network.depth=1 --budget 2steps -o out"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")


def shell(words):
    return subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)


def test_a_reader_that_leaves():
    ours, theirs = os.pipe()
    outlet = Outlet(theirs)
    assert outlet.write(b"one") == 3
    assert os.read(ours, 9) == b"one"
    os.close(ours)
    assert outlet.write(memoryview(b"two and more")) == 12
    assert isinstance(outlet.fault, BrokenPipeError)
    assert outlet.complaint == ""
    outlet.close()
    os.close(theirs)


@FULL
def test_a_full_disk():
    with open("/dev/full", "wb") as file:
        outlet = Outlet(file.fileno())
        assert outlet.write(b"one") == outlet.write(b"two") == 3
    assert outlet.fault.errno == errno.ENOSPC
    assert outlet.complaint == os.strerror(errno.ENOSPC)


def test_a_run_whose_reader_leaves_is_trained_to_its_end(here):
    done = shell(f"({COMMAND} {TRAIN} --json; echo $? >&2) | true")
    assert (done.stdout, done.stderr) == ("", "0\n")
    assert (here / "out" / "model.safetensors").is_file()


@FULL
def test_a_run_whose_output_is_full_is_trained_and_complains(here):
    done = shell(f"{COMMAND} {TRAIN} --json > /dev/full")
    assert done.returncode == 2
    assert done.stderr == "scorefield: cannot write to standard output: No space left on device\n"
    assert (here / "out" / "model.safetensors").is_file()


def test_closed_streams_and_few_letters():
    done = shell(f"PYTHONIOENCODING=ascii PYTHONUTF8=0 {COMMAND} list schedules <&- 2>&-")
    assert done.returncode == 0
    assert "?" in done.stdout
    assert shell(f"{COMMAND} --help | true").stderr == ""
