"""Scorefield in the comparison side by side: training, sampling, and the scores of all contestants.

Run by side_by_side.py. Through the public interface, with the preset `mnist` as it is, or told nothing of
the labels as its peers are; k-diffusion's sampler is tried on the network of the latter.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path

import contest
import numpy as np
import torch
from contest import LENT, Task

import scorefield as sf
from scorefield.evaluation import Reference, find_features

OVERRIDES = {"scorefield": [], "scorefield-unlabelled": ["network.conditional=false"]}


def train(task: Task) -> None:
    """A run of the trainer; all that it does within its iteration is on the clock."""
    words = [*OVERRIDES[task.name], f"training.budget={task.seconds}s"]
    trainer = sf.Trainer(sf.find_recipe(task.data, words), task.home / "run", device="cpu")
    built, begin = time.time(), time.perf_counter()
    ends, settled = [], 0.0
    for progress in trainer:
        now = time.perf_counter() - begin
        if not progress.note:
            ends.append(now)
        elif not ends:  # how it computes is settled before the first step, and said
            settled = now
    wall, batch = time.perf_counter() - begin, trainer.recipe.training.batch
    task.report(
        start_seconds=built - task.launched + ends[0] - settled,
        settling_seconds=settled,
        wall_seconds=wall,
        ends=[end - settled for end in ends],
        batch=batch,
        parameters=sum(p.numel() for p in trainer.run.network.parameters()),
        network="UNet, 2 levels of 1 block, 14×14 of 2×2 patches",
        settings=f"the preset{' without labels' if OVERRIDES[task.name] else ''}: "
        f"Muon {trainer.recipe.training.lr:g}, batch {batch}, {trainer.run.engine}",
    )


class Calls:
    """How often a module was called."""

    def __init__(self, module: torch.nn.Module):
        self.count = 0
        module.register_forward_hook(self._count)

    def _count(self, *_: object) -> None:
        self.count += 1


def sample(task: Task) -> None:
    """With compiled code, as the command line has it for this many; compiling is not on the clock."""
    plain = sf.load(task.home / "run", precision="fp32", compile="off")
    calls, made = Calls(plain.denoiser.network), 0
    each = 1 if plain.recipe.guidance(plain.spec) is None else 2  # evaluations a step
    steps = task.evaluations // each
    plain.sample(1, steps=steps)
    model = sf.load(task.home / "run", compile="on")
    model.sample(task.batch, steps=1)

    def batch(count: int) -> np.ndarray:
        nonlocal made
        x = model.sample(count, steps=steps, first=made)
        made += count
        return model.spec.to_arrays(x)

    contest.draw(task, batch, lambda: calls.count * made // task.batch)


def sample_by_k_diffusion(task: Task) -> None:
    """DPM++ 2M on Karras' levels, of the network that has seen no labels."""
    sys.path.append(str(site_packages()))  # last, so that nothing but k-diffusion comes from there
    from stand_ins import k_diffusion_sampling

    k = k_diffusion_sampling()
    model = sf.load(task.folder / LENT / "run", compile="on").settled(task.batch)
    denoiser, schedule, calls = model.guided(), model.denoiser.schedule, 0
    least, most = (float(schedule.sigma(torch.tensor(t))) for t in (0.0, 1.0))
    sigmas = k.get_sigmas_karras(task.evaluations, least, most)
    generator = torch.Generator().manual_seed(0)

    def denoised(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return denoiser(x, schedule.time(-2 * math.log(float(sigma[0]))))

    @torch.no_grad()
    def batch(count: int) -> np.ndarray:
        x = most * torch.randn(count, *model.spec.shape, generator=generator)
        return model.spec.to_arrays(k.sample_dpmpp_2m(denoised, x, sigmas, disable=True))

    with torch.no_grad():  # compiling is not on the clock
        denoised(torch.zeros(task.batch, *model.spec.shape), sigmas[:1])
    calls = 0
    contest.draw(task, batch, lambda: calls)


def site_packages() -> Path:
    (found,) = (Path(__file__).parent.parent / ".venv-peers" / "lib").glob("python*/site-packages")
    return found


def write_data(folder: Path, data: str) -> None:
    """The training images, found as `data=mnist` finds them, for those who cannot."""
    stored = sf.find_recipe(data).data.load("train").x
    np.savez(folder / "images.npz", x=stored.permute(0, 2, 3, 1).numpy())


def score_all(folder: Path, data: str) -> None:
    """The Fréchet distance of every set of samples, and of as many test images.

    A distance of few samples is too large by chance: the test images' says by how much. (mnist10k has none
    and is only for trying this out: its own images stand for them.)
    """
    source = sf.find_recipe(data).data
    train, test = source.load("train"), source.load("test" if data == "mnist" else "train")
    reference = Reference.of(find_features("digits"), train)
    floor = reference.look(test.batch(torch.arange(len(test)))[0]).features
    found = {}
    for file in sorted(folder.glob("*/*.npz")):
        images = torch.from_numpy(np.load(file)["x"]).permute(0, 3, 1, 2)
        features = reference.look(test.spec.to_model(images)).features
        some = torch.linspace(0, len(test) - 1, len(images)).long()
        found[f"{file.parent.name}/{file.stem}"] = {
            "distance": reference.distance(features),
            "floor": reference.distance(floor[some]),
        }
    (folder / "scores.json").write_text(json.dumps(found), encoding="utf-8")


def main() -> None:
    if sys.argv[1] in ("data", "score"):
        (write_data if sys.argv[1] == "data" else score_all)(Path(sys.argv[2]), sys.argv[3])
        return
    task = contest.task()
    if task.stage == "train":
        train(task)
    else:
        (sample if task.name in OVERRIDES else sample_by_k_diffusion)(task)


if __name__ == "__main__":
    main()
