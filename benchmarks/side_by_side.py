"""Scorefield and its peers side by side: trained on MNIST for the same time, sampled and scored.

Networks of about the same size, one contestant after the other, each stage in a process of its own. The
peers get as long for training as our whole run took, with its checks, checkpoints and choice of how to
compute. Sampling ends at half of that (or 10,000 samples, or two minutes): once with the same number of
evaluations for all, once in each peer's own customary way. One that fails has the reason in its row.

    python benchmarks/side_by_side.py [BUDGET] [--only scorefield tutorial …] [--quick]

The table goes into docs/performance.md, the plot beside it; --quick takes seconds, and puts both with the
results. scripts/bench makes the environment and runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import side_by_side_page as page
from contest import LENT, Task
from peers_environment import environment

from scorefield.cli.memory import KEPT
from scorefield.errors import InputError
from scorefield.recipes.budget import Budget

HERE = Path(__file__).parent
ROOT = HERE.parent
LONGEST = 120.0  # seconds of sampling that are enough


@dataclass(frozen=True)
class Contestant:
    """Who takes part.

    Arguments:
        title: what it is called in the table.
        script: what its stages are run with.
        compared: how it samples with the common number of evaluations.
        own: how it is customarily sampled, where that is another way.
        batch: samples at once in its own way; its example's.
        peers: whether it runs in the peers' environment, is 'lent' a package from there, or 'none'.
    """

    title: str
    script: str
    compared: str
    own: str = ""
    batch: int = 16
    peers: str = "none"

    def stages(self) -> list[str]:
        """What it does; one that is lent to our network trains none."""
        begin = [] if self.peers == "lent" else ["train"]
        return [*begin, "compared", *(["own"] if self.own else [])]


OURS, PEERS = "side_by_side_ours.py", "side_by_side_peers.py"
DPM = "DPM-Solver++, order 3, clipped"
CONTESTANTS = {
    "scorefield-unlabelled": Contestant("Scorefield, without labels", OURS, "Gaussian-residual"),
    "scorefield": Contestant("Scorefield, the preset, with labels", OURS, "Gaussian-residual"),
    "k-diffusion": Contestant(
        "k-diffusion, on Scorefield's network without labels",
        OURS,
        "DPM++ 2M, Karras",
        peers="lent",
    ),
    "diffusers": Contestant(
        "diffusers, as its example", PEERS, DPM, "DDPM, 1000 steps", peers="runs"
    ),
    "diffusers-tuned": Contestant(
        "diffusers, tuned and on our patches", PEERS, DPM, "DDPM, 1000 steps", peers="runs"
    ),
    "denoising-diffusion-pytorch": Contestant(
        "denoising-diffusion-pytorch", PEERS, "DDIM", "DDIM, 250 steps", peers="runs"
    ),
    "tutorial": Contestant(
        "the tutorial's loop",
        "tutorial.py",
        "Euler–Maruyama",
        "Euler–Maruyama, 500 steps",
        batch=64,
    ),
}


@dataclass(frozen=True)
class Contest:
    """What all are measured with.

    Arguments:
        folder: for runs, samples and results.
        budget: seconds of training.
        evaluations: of the network for each sample, where ways are compared.
        threads: of each process.
        data: the preset whose images are trained on.
        batch: samples at once, where ways are compared.
        own_batch: the most at once in a contestant's own way.
    """

    folder: Path
    budget: float
    evaluations: int = 20
    threads: int = 2
    data: str = "mnist"
    batch: int = 100
    own_batch: int = 64

    def run(self, name: str, stage: str, seconds: float) -> dict:
        """What a stage found, or why it failed."""
        who = CONTESTANTS[name]
        batch = self.batch if stage == "compared" else min(who.batch, self.own_batch)
        python = Path(sys.executable)
        if who.peers != "none":
            try:
                theirs = environment()
            except (OSError, subprocess.CalledProcessError) as error:
                return {"failed": f"the peers' environment could not be made: {error}"}
            python = theirs if who.peers == "runs" else python
        asked = (stage, name, self.folder, seconds, self.evaluations, batch, self.data)
        words = Task(*asked, launched=time.time()).words()
        failure = self.called([python, HERE / who.script, *words], 10 * seconds + 600)
        file = self.folder / name / f"{stage}.json"
        return {"failed": failure} if failure else json.loads(file.read_text(encoding="utf-8"))

    def called(self, command: list[object], longest: float) -> str:
        """The reason that a process failed, if it did."""
        given = {"OMP_NUM_THREADS": str(self.threads), "HF_HUB_OFFLINE": "1"}
        # What our command line asks for.
        kept = {name: str(size) for name, (_, size) in KEPT.items()}
        env = {**kept, **os.environ, **given}
        try:
            done = subprocess.run(
                [str(word) for word in command],
                env=env,
                capture_output=True,
                text=True,
                timeout=longest,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"[:300]
        if not done.returncode:
            return ""
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return (lines or [f"exit code {done.returncode}"])[-1][:300]

    def results(self, names: list[str]) -> Iterator[dict]:
        """The row of each contestant."""
        seconds, yardstick = self.budget, None
        for name in names:
            who = CONTESTANTS[name]
            row = {
                "name": name,
                "title": who.title,
                "compared_way": who.compared,
                "own_way": who.own,
            }
            for stage in who.stages():
                limit = self.budget if who.script == OURS else seconds
                if stage != "train":
                    limit = min(LONGEST, self.budget / 2)
                row[stage] = self.run(name, stage, limit)
                print(f"{name}: {stage} {row[stage].get('failed', 'done')}", flush=True)
                if stage == "train" and "failed" in row[stage]:
                    break
            if yardstick is None and "wall_seconds" in row.get("train", {}):
                yardstick = seconds = row["train"]["wall_seconds"]
            yield row


def compared(contest: Contest, names: list[str]) -> dict:
    """All results, with the scores."""
    contest.folder.mkdir(parents=True, exist_ok=True)
    for name in CONTESTANTS:  # of an earlier comparison
        shutil.rmtree(contest.folder / name, ignore_errors=True)
    ours = [sys.executable, HERE / OURS]
    if failure := contest.called([*ours, "data", contest.folder, contest.data], 3600):
        raise SystemExit(f"there are no images: {failure}")
    if "k-diffusion" in names and LENT not in names:
        names = [LENT, *names]
    rows = list(contest.results(names))
    failure = contest.called([*ours, "score", contest.folder, contest.data], 3600)
    scores = contest.folder / "scores.json"
    found = {} if failure else json.loads(scores.read_text(encoding="utf-8"))
    for row in rows:
        for stage in ("compared", "own"):
            row.get(stage, {}).update(found.get(f"{row['name']}/{stage}", {}))
    pins = (HERE / "peers.txt").read_text(encoding="utf-8").splitlines()
    return {
        "rows": rows,
        "unscored": failure,
        "budget": contest.budget,
        "evaluations": contest.evaluations,
        "threads": contest.threads,
        "versions": dict(pin.split("==") for pin in pins if "==" in pin),
    }


def asked_for() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("budget", nargs="?", help="60s unless given, such as 5m")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "side-by-side")
    parser.add_argument("--quick", action="store_true", help="to see whether all of it works")
    parser.add_argument("--reuse", action="store_true", help="write the last results once more")
    asked = parser.parse_args()
    try:
        budget = Budget.parse(asked.budget or ("3s" if asked.quick else "60s"))
    except InputError as error:
        parser.error(str(error))
    if budget.unit != "seconds":
        parser.error(f"the budget must be a time, such as 60s or 5m, got '{asked.budget}'")
    asked.seconds = budget.amount
    return asked


def main() -> None:
    asked = asked_for()
    document, picture = ROOT / "docs" / "performance.md", ROOT / "docs" / "images" / page.PICTURE
    small = {}
    if asked.quick:
        small = {"data": "mnist10k", "batch": 8, "own_batch": 2}
        document, picture = asked.out / "performance.md", asked.out / page.PICTURE
        asked.out.mkdir(parents=True, exist_ok=True)
        document.write_text(f"{page.BEGIN}\n{page.END}\n", encoding="utf-8")
    page.replaced(document.read_text(encoding="utf-8"), "")  # or it would fail at the very end
    file = asked.out / "results.json"
    if not asked.reuse:
        contest = Contest(asked.out, asked.seconds, asked.evaluations, asked.threads, **small)
        # in this order, whatever the order asked for
        results = compared(contest, [name for name in CONTESTANTS if name in asked.only])
        file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    results = json.loads(file.read_text(encoding="utf-8"))
    page.write(results, document, picture)
    print(page.table(results))


if __name__ == "__main__":
    main()
