"""The environment that the peers run in: .venv-peers, which holds nothing of Scorefield."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
# Installed without what they need for images and likelihoods, which is not used: torchvision above all,
# whose builds must match torch's own.
BARE = ("k-diffusion", "denoising-diffusion-pytorch")


def environment() -> Path:
    """The peers' Python; made when there is none or the list of versions has changed."""
    folder, wanted = ROOT / ".venv-peers", (HERE / "peers.txt").read_text()
    python, mark = folder / "bin" / "python", folder / "installed.txt"
    if mark.is_file() and mark.read_text() == wanted:
        return python
    print("Making .venv-peers (1 GB, a few minutes)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    pins = [line for line in wanted.splitlines() if line and not line.startswith("#")]
    bare = [pin for pin in pins if pin.startswith(BARE)]
    install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    rest = [pin for pin in pins if pin not in bare]
    subprocess.run([*install, "-c", ROOT / "constraints.txt", *rest], check=True)
    subprocess.run([*install, "--no-deps", *bare], check=True)
    mark.write_text(wanted)
    return python
