"""How fast data come, against how fast the default network takes them.

Pictures are smooth random ones, written anew; they stay in the system's cache, so that decoding is measured
and no disk. Loaders and training take turns, round after round in one process, and medians are compared.
The last lines are training steps whose batches come from memory, and from files fetched ahead.

    python benchmarks/loaders.py [--batch 128] [--rounds 5] [--count 2048] [--compiled]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import scorefield as sf
from scorefield.data.arrays import ArrayFile
from scorefield.data.base import Data
from scorefield.data.pictures import Kind
from scorefield.data.streamed import Streamed
from scorefield.nets.engine import Engine
from scorefield.recipes import find_recipe
from scorefield.training.batches import Batches
from scorefield.training.optimizers import build_optimizers
from scorefield.training.order import ShuffledOrder

TURN = 4  # batches: as many as a DataLoader of two workers fetches ahead


def pictures(count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Coarse noise made smooth, uint8 (count, side, side, 3): about as hard to compress as photographs."""
    coarse = rng.integers(0, 256, (count, side // 4, side // 4, 3), dtype=np.uint8)
    smooth = (Image.fromarray(c).resize((side, side), Image.Resampling.BICUBIC) for c in coarse)
    return np.stack([np.array(s) for s in smooth])


def written(folder: Path, images: np.ndarray, suffix: str) -> list[Path]:
    folder.mkdir(parents=True)
    files = [folder / f"{number}.{suffix}" for number in range(len(images))]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file)
    return files


def zipped(path: Path, files: list[Path]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path


def streamed(count: int, side: int, opened: Callable[[int], Image.Image]) -> Streamed:
    kind = Kind("RGB", side, side)

    def decode(index: int) -> torch.Tensor:
        with opened(index) as picture:
            return kind.pixels(picture)

    return Streamed(label=None, spec=sf.DataSpec(kind.shape), size=count, decode=decode)


def from_files(files: list[Path], side: int) -> Streamed:
    return streamed(len(files), side, lambda index: Image.open(files[index]))


def from_zip(path: Path, side: int) -> Streamed:
    archive = zipfile.ZipFile(path)
    names = archive.namelist()
    return streamed(len(names), side, lambda index: Image.open(archive.open(names[index])))


def mapped(path: Path, images: np.ndarray) -> Data:
    np.save(path, images)
    return ArrayFile(str(path)).load()


class Plain(torch.utils.data.Dataset):
    """What a torch DataLoader is usually given: a file for each sample."""

    def __init__(self, files: list[Path]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as picture:
            pixels = np.array(picture.convert("RGB"))
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1


def plain(files: list[Path], batch: int, workers: int) -> Iterator[torch.Tensor]:
    """Batches of a DataLoader, epoch after epoch."""
    settings = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = torch.utils.data.DataLoader(Plain(files), batch, True, drop_last=True, **settings)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def ours(data: Data, batch: int) -> Iterator[torch.Tensor]:
    """Batches as the trainer asks for them, but none ahead of time."""
    batches = Batches(data, ShuffledOrder(len(data), batch, 0), slice(None))
    return (batches(step)[0] for step in itertools.count())


def ahead(data: Data, batch: int) -> Iterator[torch.Tensor]:
    """Batches as the trainer gets them."""
    walk = Batches(data, ShuffledOrder(len(data), batch, 0), slice(None)).ahead(0)
    return (x0 for x0, _ in walk)


class Subject:
    """The default network, training on pictures of a shape."""

    def __init__(self, shape: tuple[int, ...], batch: int, compiled: bool):
        torch.manual_seed(0)
        self.recipe = find_recipe("mnist", ["network=unet"])
        self.engine = Engine("bf16", channels_last=True, compiled=compiled)
        self.denoiser = self.recipe.build(sf.DataSpec(shape, sigma_data=0.5))
        self.engine.apply(self.denoiser.network)
        self.optimizers = build_optimizers(self.denoiser.network, "adamw", 1e-4, 0.0)
        self.generator = torch.Generator().manual_seed(0)
        self.step(torch.rand(batch, *shape))

    def step(self, x0: torch.Tensor) -> None:
        with self.engine.autocast(torch.device("cpu")):
            loss = self.recipe.objective(self.denoiser, x0, generator=self.generator)
        loss.mean().backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def rates(runs: dict[str, Callable[[], object]], batch: int, rounds: int) -> dict[str, float]:
    """Images a second of each, by the median of rounds in which all take turns; a run is a batch."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            for _ in range(
                TURN
            ):  # what had been fetched while the others had their turns is used up
                run()
            begin = time.perf_counter()
            for _ in range(TURN):
                run()
            times[name].append((time.perf_counter() - begin) / TURN)
    return {name: batch / statistics.median(found) for name, found in times.items()}


@dataclass(frozen=True)
class Sources:
    """The same pictures in every form.

    Arguments:
        data: what gives them, by name.
        files: the paths of the PNG and JPEG files.
    """

    data: dict[str, Data]
    files: dict[str, list[Path]]


def sources(folder: Path, count: int) -> Sources:
    rng = np.random.default_rng(0)
    small, large = pictures(count, 32, rng), pictures(count, 64, rng)
    png, jpeg = written(folder / "png", small, "png"), written(folder / "jpeg", large, "jpg")
    data = {
        "memory, 32×32": from_files(png, 32).settled(1 << 30),
        "memory, 64×64": from_files(jpeg, 64).settled(1 << 30),
        "mapped .npy, 32×32": mapped(folder / "x.npy", small),
        "PNG, 32×32": from_files(png, 32),
        "zip of PNG, 32×32": from_zip(zipped(folder / "x.zip", png), 32),
        "JPEG, 64×64": from_files(jpeg, 64),
    }
    return Sources(data, {"PNG, 32×32": png, "JPEG, 64×64": jpeg})


def loading(given: Sources, batch: int) -> dict[str, Callable[[], object]]:
    """Ways to get a batch."""
    walks = {name: ours(data, batch) for name, data in given.data.items()}
    for name, files in given.files.items():
        for workers in (0, 2):
            walks[f"DataLoader, {workers} workers, {name}"] = plain(files, batch, workers)
    return {name: partial(next, walk) for name, walk in walks.items()}


def training(given: Sources, batch: int, compiled: bool) -> dict[str, Callable[[], object]]:
    """Training steps: on one batch again and again, and on batches from memory and from files."""
    names = {
        (1, 28, 28): (),
        (3, 32, 32): ("memory, 32×32", "PNG, 32×32"),
        (3, 64, 64): ("memory, 64×64", "JPEG, 64×64"),
    }
    found: dict[str, Callable[[], object]] = {}
    for shape, fed in names.items():
        subject = Subject(shape, batch, compiled)
        found[f"training, {'×'.join(map(str, shape))}"] = partial(
            subject.step, torch.rand(batch, *shape)
        )
        for name in fed:
            walk = ahead(given.data[name], batch)
            found[f"training from {name}"] = lambda s=subject, walk=walk: s.step(next(walk))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=2048)
    parser.add_argument("--compiled", action="store_true", help="compile the networks first")
    asked = parser.parse_args()
    print(f"batch {asked.batch}, {torch.get_num_threads()} threads, {asked.rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        given = sources(Path(name), asked.count)
        runs = loading(given, asked.batch) | training(given, asked.batch, asked.compiled)
        found = rates(runs, asked.batch, asked.rounds)
    unit = found["training, 1×28×28"]
    print(f"{'':36} images/s  / training, 1×28×28")
    for name, rate in found.items():
        print(f"{name:36} {rate:8.0f}  {rate / unit:7.2f}")


if __name__ == "__main__":
    main()
