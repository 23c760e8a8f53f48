"""Claims about resuming: runs in processes of their own, killed with SIGKILL, against one that was not.

A small conditional UNet with dropout, dropped labels and augmentation is trained twice. Whatever hidden
state there were, such as a generator's, would show: what differs at the first resume differs at the end.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open

from scorefield.errors import InputError
from scorefield.verification.claims import Claim, Place
from scorefield.verification.processes import finish, train_command

RECIPE = (
    *("mnist10k", "network.width=8", "network.heads=2", "network.dropout=0.1"),
    *("augmentation.flip=0.3", "augmentation.crop=2", "augmentation.dequantise=true"),
    *("training.batch=16", "training.warmup=5", "training.checkpoint_every=2steps"),
    "training.health_every=off",
)
SPACING = 6  # steps trained for each kill, in the mean
PATIENCE = 300.0  # seconds that a process may take before it is called hung


@dataclass(frozen=True)
class Ordeal:
    """What a run went through, and what it came to.

    Arguments:
        differing: tensors of the state, the model and its averages that are not the same bit for bit.
        losses: lines of the log whose loss is not the same.
        lost: steps that were lost beyond those since the last checkpoint, at most.
        kills: how often it was killed.
        torn: how many of the kills came in the middle of writing a file.
    """

    differing: int
    losses: int
    lost: int
    kills: int
    torn: int


def ordeal(way: str, kills: int, seed: int = 0, device: str = "cpu") -> Ordeal:
    """Train a run that is killed again and again, and one that is not, and compare them.

    Every second kill waits for a file that is being written.

    Arguments:
        way: how the network computes: 'fp32', 'bf16' or 'compiled'.
        kills: how often to kill.
        seed: fixes the moments of the kills.
        device: as for training.

    Raises:
        InputError: when a process fails by itself, or hangs.
    """
    steps = SPACING * (kills + 2)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole"), Path(folder, "cut")
        command = _command(way, steps, device)
        finish(command, whole, PATIENCE)
        torn, lost = 0, 0
        for kill in range(kills):
            target = chance.randint(SPACING * kill + 1, SPACING * (kill + 1))
            before = newest(cut)
            torn += _killed(command, cut, target, chance.uniform(0, 0.05), bool(kill % 2))
            lost = max(lost, before - newest(cut))
        finish(command, cut, PATIENCE)
        differing = _differing(whole, cut)
        return Ordeal(differing, _losses(whole, cut), lost, kills, torn)


def newest(run: Path) -> int:
    """The step of a run's newest state file, as its name says; 0 if there is none."""
    return max((int(file.stem.split("-")[1]) for file in run.glob("state/step-*")), default=0)


def _command(way: str, steps: int, device: str) -> list[str]:
    compiled = "on" if way == "compiled" else "off"
    settings = [
        f"training.precision={'fp32' if way == 'fp32' else 'bf16'}",
        f"training.compile={compiled}",
        f"training.budget={steps}steps",
    ]
    return train_command([*RECIPE, *settings, "--resume"], device)


def _killed(command: list[str], run: Path, target: int, delay: float, writing: bool) -> bool:
    """Start a run and kill it a little after a step is saved; says whether a file was being written."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*command, str(run)], stdout=quiet, stderr=quiet)
    try:
        for _ in _polls(process, lambda: newest(run) >= target):
            time.sleep(0.002)
        if writing:
            for _ in _polls(process, lambda: any(_partial(run))):
                pass
        else:
            time.sleep(delay)
    finally:
        process.kill()
        process.wait()
    return any(_partial(run))


def _polls(process: subprocess.Popen[bytes], over: Callable[[], bool]) -> Iterator[None]:
    """Until something is so, or the process has ended by itself."""
    begin = time.monotonic()
    while process.poll() is None and not over():
        if time.monotonic() - begin > PATIENCE:
            raise InputError(f"a run made no progress within {PATIENCE:.0f} s")
        yield


def _partial(run: Path) -> Iterator[Path]:
    return run.rglob("*.partial*")


def _differing(whole: Path, cut: Path) -> int:
    """How many tensors differ, of all files of tensors that either run has."""
    names = {f.relative_to(run) for run in (whole, cut) for f in run.rglob("*.safetensors")}
    found = 0
    for name in names:
        if ".partial" in name.name:
            continue
        if not ((whole / name).is_file() and (cut / name).is_file()):
            found += 1
            continue
        with safe_open(whole / name, "pt") as one, safe_open(cut / name, "pt") as other:
            keys = set(one.keys()) | set(other.keys())
            common = set(one.keys()) & set(other.keys())
            same = (torch.equal(one.get_tensor(k), other.get_tensor(k)) for k in common)
            found += len(keys) - sum(same)
    return found


def _losses(whole: Path, cut: Path) -> int:
    """How many lines of the logs tell another loss."""
    one, other = (
        {line["step"]: line["loss"] for line in map(json.loads, _log(run)) if "loss" in line}
        for run in (whole, cut)
    )
    return sum(one.get(step) != other.get(step) for step in one.keys() | other.keys())


def _log(run: Path) -> list[str]:
    return (run / "log.jsonl").read_text(encoding="utf-8").splitlines()


_ordeal = cache(ordeal)  # several claims are about one


def resume_claims(kills: int = 3) -> tuple[Claim, ...]:
    """Claims about resuming on this machine.

    Arguments:
        kills: how often each run is killed.
    """

    def measured(way: str, of: str) -> Callable[[Place], float]:
        return lambda place: float(getattr(_ordeal(way, kills, 0, place.device), of))

    source = "the same run without a kill"
    often = f"after {kills} kills"
    return (
        Claim(
            f"weights, averages and optimizers are the same bit for bit {often}",
            source,
            measured("fp32", "differing"),
            0.0,
        ),
        Claim(f"the log tells the same losses {often}", source, measured("fp32", "losses"), 0.0),
        Claim(
            "nothing is lost but the steps since the last checkpoint",
            source,
            measured("fp32", "lost"),
            0.0,
        ),
        Claim(
            "kills that came while a file was being written",
            "files begun and not ended",
            measured("fp32", "torn"),
            None,
        ),
        Claim(f"the same in bfloat16 {often}", source, measured("bf16", "differing"), 0.0),
        Claim(
            f"the same with compiled code {often}",
            source,
            measured("compiled", "differing"),
            0.0,
            slow=True,
        ),
    )
