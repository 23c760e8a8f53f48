"""What is Accelerate's, and what is the run's own."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("word", ["bf16", "fp16", "no"])
def test_what_accelerate_config_says_of_precision_is_not_the_runs(tmp_path, monkeypatch, word):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", word)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    code = (
        "from pathlib import Path; from scorefield.training.devices import accelerator; "
        f"made = accelerator(Path({str(tmp_path)!r}), 'cpu'); "
        "print(made.mixed_precision, made.gradient_accumulation_steps)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["no", "1"]
