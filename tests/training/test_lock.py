"""Two runs do not write to one folder."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from scorefield.errors import InputError
from scorefield.training import lock
from scorefield.training.lock import Holder, locked

# The module alone: all of scorefield.training would import torch, and take a second.
HOLD = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
spec = spec_from_file_location("lock", sys.argv[2])
lock = sys.modules["lock"] = module_from_spec(spec)
spec.loader.exec_module(lock)
with lock.locked(Path(sys.argv[1])):
    print("mine", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process, which has the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), lock.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_another_process_has_is_refused(tmp_path, other):
    who = rf"^process {other.pid} on {socket.gethostname()} is training in {tmp_path}"
    for _ in range(2):  # being refused changes nothing
        with pytest.raises(InputError, match=who), locked(tmp_path):
            raise AssertionError("both have it")


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGKILL,
        *(pytest.param(how, marks=pytest.mark.slow) for how in (signal.SIGTERM, None)),
    ],
)
def test_the_lock_ends_with_its_process(tmp_path, other, how):
    if how is None:
        other.communicate()
    else:
        other.send_signal(how)
        other.wait()
    with locked(tmp_path) as before:
        assert before == Holder(other.pid, socket.gethostname())
    with locked(tmp_path) as before:
        assert before.pid == os.getpid()


def test_one_process_does_not_have_it_twice(tmp_path):
    with locked(tmp_path / "new") as before:
        assert before is None
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), locked(tmp_path / "new"):
            raise AssertionError("both have it")
    with locked(tmp_path / "new"), locked(tmp_path / "other"):
        pass


def test_a_torn_lock_file_is_no_obstacle(tmp_path):
    for content in ("", '{"pid": 1', "[]", '{"pid": 1}'):
        (tmp_path / ".lock").write_text(content)
        with locked(tmp_path) as before:
            assert before is None


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"^cannot write .*\.lock: "), locked(tmp_path / "file"):
        pass
