"""A run of two processes is a run of one, on the command line too, and it survives the loss of one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from safetensors import safe_open

from scorefield.models import load
from scorefield.training import read_log

WORDS = [
    *("network.width=8", "network.heads=2", "training.batch=16", "training.warmup=2"),
    *("training.precision=fp32", "training.compile=off", "training.optimizer=adamw"),
    *("training.lr=1e-3", "augmentation.flip=0.3", "augmentation.crop=2", "network.dropout=0.1"),
    *("augmentation.dequantise=true", "augmentation.told=0.4"),
]
TWO = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port={port}"]
ACCELERATE = [
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--main_process_port", "{port}"),
]
# The command line with time-outs of seconds, and, told so, a process that stands still at a step.
SLOW = """
import os, signal, sys
from datetime import timedelta
from scorefield.cli.main import main
from scorefield.training import devices
from scorefield.training.run import Run
devices.TIMEOUT = timedelta(seconds=5)
step = Run.step
def stepping(self, batches, stopping):
    if self.position.step == 3 and os.environ["RANK"] == os.environ.get("LOST"):
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    return step(self, batches, stopping)
Run.step = stepping
sys.exit(main(sys.argv[1:]))
"""
# The command line with weights cut up, where Accelerate would do it: without a GPU it does not.
SHARDED = """
import sys
from torch.distributed.fsdp import fully_shard
from scorefield.cli.main import main
from scorefield.training import stepper
def cut(module, *optimizers):
    names = {id(p): n for n, p in module.named_parameters()}
    groups = [g for o in optimizers for g in o.param_groups]
    held = [[names[id(p)] for p in g["params"]] for g in groups]
    fully_shard(module)
    new = dict(module.named_parameters())
    for group, its in zip(groups, held):
        group["params"] = [new[n] for n in its]
    return module, *optimizers
stepper.sharder = lambda accelerator: cut
sys.exit(main(sys.argv[1:]))
"""

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def scorefield(launcher, *words, program=("-m", "scorefield")):
    """What the command line leaves behind when it is started so."""
    port = free_port()
    start = [word.format(port=port) for word in launcher]
    command = [sys.executable, *start, *program, *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env=environment()
    )


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", **more}


def bare(folder, *words, lost, by):
    """Two processes without a launcher, one lost at its fourth step: what is known of the other."""
    script, port = folder / "slow.py", str(free_port())
    script.write_text(SLOW, encoding="utf-8")
    many = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    many |= {"LOST": str(lost), "SIGNAL": str(int(by))}
    started = [
        subprocess.Popen(
            [sys.executable, str(script), *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **many),
        )
        for rank in (0, 1)
    ]
    begin = time.monotonic()
    try:
        survivor = started[1 - lost]
        _, said = survivor.communicate(timeout=60)
        return survivor.returncode, said, time.monotonic() - begin
    finally:
        for process in started:
            process.kill()
            process.communicate()


def tensors(folder, step):
    with safe_open(folder / "state" / f"step-{step:08d}.safetensors", framework="pt") as content:
        return {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118


def losses(folder):
    return [line["loss"] for line in read_log(folder) if "loss" in line]


def same_but_for_rounding(one, other):
    right, found = tensors(one, 6), tensors(other, 6)
    assert found.keys() == right.keys()
    for key, value in right.items():
        assert found[key].shape == value.shape
        off = (found[key] - value).double().norm()
        assert off <= 1e-3 * value.double().norm() + 1e-6, key


def test_two_processes_train_what_one_trains_and_go_on_as_one(tmp_path):
    words = [*WORDS, "network.dropout=0", "training.budget=6steps"]
    every = "training.checkpoint_every=3steps"
    one = scorefield([], "train", "mnist10k", *words, every, "-o", tmp_path / "one")
    assert one.returncode == 0, one.stderr
    for name, launcher in (("torchrun", TWO), ("accelerate", ACCELERATE)):
        out = tmp_path / name
        two = scorefield(launcher, "train", "mnist10k", *words, every, "-o", out)
        assert two.returncode == 0, two.stderr[-2000:]
        assert two.stdout.count("trained for 6 steps, 96 images") == 1
        assert losses(out) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
        same_but_for_rounding(tmp_path / "one", out)
        assert len(list((out / "samples").iterdir())) == 2
        assert load(out).step == 6
    # started by two, finished by one
    (tmp_path / "torchrun" / "state" / "step-00000006.safetensors").unlink()
    rest = scorefield([], "train", "--resume", "-o", tmp_path / "torchrun")
    assert rest.returncode == 0, rest.stderr
    same_but_for_rounding(tmp_path / "one", tmp_path / "torchrun")


def test_a_resumed_run_of_two_is_exact(tmp_path):
    out = tmp_path / "run"
    words = [*WORDS, "training.budget=6steps", "training.checkpoint_every=3steps", "-o", out]
    assert scorefield(TWO, "train", "mnist10k", *words).returncode == 0
    right = tensors(out, 6)
    (out / "state" / "step-00000006.safetensors").unlink()
    again = scorefield(TWO, "train", "--resume", "-o", out)
    assert again.returncode == 0, again.stderr[-2000:]
    found = tensors(out, 6)
    assert found.keys() == right.keys()
    assert all(found[key].equal(value) for key, value in right.items())


def test_weights_that_are_cut_up_are_those_of_one_process(tmp_path):
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED, encoding="utf-8")
    words = [*WORDS, "network.dropout=0", "training.budget=6steps"]
    words += ["training.checkpoint_every=3steps", "-o"]
    assert scorefield([], "train", "mnist10k", *words, tmp_path / "one").returncode == 0
    out = tmp_path / "two"
    done = scorefield(TWO, "train", "mnist10k", *words, out, program=[str(script)])
    assert done.returncode == 0, done.stderr[-2000:]
    assert losses(out) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    same_but_for_rounding(tmp_path / "one", out)
    # on from the middle: what two began by one, and what one began by two
    for run, launcher, program in ((out, [], ["-m", "scorefield"]), ("one", TWO, [str(script)])):
        (tmp_path / run / "state" / "step-00000006.safetensors").unlink()
        again = scorefield(launcher, "train", "--resume", "-o", tmp_path / run, program=program)
        assert again.returncode == 0, again.stderr[-2000:]
    same_but_for_rounding(tmp_path / "one", out)
    refused = scorefield(
        TWO,
        "train",
        "mnist10k",
        "training.optimizer=muon",
        "-o",
        tmp_path / "no",
        program=[str(script)],
    )
    assert "training.optimizer=muon needs whole matrices" in refused.stderr


def test_an_error_is_said_once(tmp_path):
    done = scorefield(TWO, "train", "mnist10k", *WORDS, "training.batch=15", "-o", tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count("scorefield: the batch must be a multiple of the 2 processes") == 1
    assert not (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.parametrize(
    ("lost", "by"), [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP)]
)
def test_the_loss_of_a_process_ends_the_other_and_one_goes_on(tmp_path, lost, by):
    out = tmp_path / "run"
    words = ["network.dropout=0", "training.budget=6steps", "training.checkpoint_every=2steps"]
    code, said, seconds = bare(
        tmp_path, "train", "mnist10k", *WORDS, *words, "-o", out, lost=lost, by=by
    )
    assert code == 2, said
    assert "scorefield: another of the 2 processes has ended or does not answer" in said
    assert "Traceback" not in said
    assert seconds < 60
    assert load(out).step == 2
    assert not [path for path in out.rglob("*") if "partial" in path.name]
    rest = scorefield([], "train", "--resume", "-o", out)
    assert rest.returncode == 0, rest.stderr
    assert json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] == 6


def test_a_wish_to_stop_one_process_stops_all_well(tmp_path):
    out = tmp_path / "run"
    # the second process gets the signal at its fourth step, and nobody else does
    words = ["training.budget=1000steps", "-o", out]
    code, said, _ = bare(tmp_path, "train", "mnist10k", *WORDS, *words, lost=1, by=signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, said
    assert load(out).step == 4
