"""A run of two processes is a run of one."""

import json
import subprocess
import sys

import pytest

WORDS = [
    *("network.width=8", "network.heads=2", "training.batch=16", "training.warmup=2"),
    *("training.precision=fp32", "training.compile=off", "training.budget=4steps"),
    *("training.optimizer=adamw", "training.lr=1e-3", "augmentation.flip=0.3"),
    *("augmentation.crop=2", "augmentation.dequantise=true", "augmentation.told=0.4"),
]

RUN = """
import json, sys
from pathlib import Path
from scorefield.recipes import find_recipe
from scorefield.training import Trainer, trainer
trainer.save_preview = lambda *args: None
run = Trainer(find_recipe("mnist10k", sys.argv[2:]), sys.argv[1], device="cpu")
seen = [(p.loss, p.grad_norm) for p in run if not p.note]
weights = [float(p.detach().double().sum()) for p in run.network.parameters()]
found = {"processes": run.accelerator.num_processes, "seen": seen, "weights": weights}
rank = run.accelerator.process_index
Path(f"{sys.argv[1]}-{rank}.json").write_text(json.dumps(found))
"""


def trained(folder, processes):
    """What each process of a run saw."""
    (folder / "run.py").write_text(RUN, encoding="utf-8")
    out = str(folder / f"of-{processes}")
    many = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *(many if processes > 1 else []), str(folder / "run.py"), out]
    done = subprocess.run([*command, *WORDS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [
        json.loads((folder / f"of-{processes}-{k}.json").read_text()) for k in range(processes)
    ]
    assert {f["processes"] for f in found} == {processes}
    return found


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    (alone,) = trained(tmp_path, 1)
    one, other = trained(tmp_path, 2)
    assert one["weights"] == other["weights"]
    for step, (loss, norm) in enumerate(alone["seen"]):
        (first, shared), (second, same) = one["seen"][step], other["seen"][step]
        assert (first + second) / 2 == pytest.approx(loss, rel=1e-4)
        assert shared == same == pytest.approx(norm, rel=1e-3)
        assert first != pytest.approx(second, rel=1e-3)
    assert one["weights"] == pytest.approx(alone["weights"], rel=1e-3, abs=1e-3)
