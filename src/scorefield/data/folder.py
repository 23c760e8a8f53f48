"""Pictures in a folder or an archive."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from scorefield.data.base import Arrays, Data, Dataset, DataSpec, Skipped, Split, measured
from scorefield.data.blocks import NUMBERS
from scorefield.data.file_labels import Labels, Named, Sample, named_files
from scorefield.data.holdout import check_share
from scorefield.data.picture_files import Outcome, all_headers, all_pixels, read_pixels
from scorefield.data.pictures import Channels, Fit, Kind, kind_of
from scorefield.data.places import Place, open_place
from scorefield.data.published import known_split
from scorefield.data.streamed import THREADS, Streamed
from scorefield.data.surveys import Survey, remember, remembered, survey_key
from scorefield.errors import InputError


@dataclass(frozen=True)
class Folder(Dataset):
    """Pictures in a folder, or in a .zip or .tar that is not unpacked.

        x ∈ {0 … 255}^(C×H×W) or {0 … 65535}^(1×H×W), shown to the model in [-1, 1]

    PNG, JPEG, WebP, TIFF, BMP, GIF and PPM, turned upright as their EXIF says; of several frames the
    first. Gray of 16 bits keeps them, colour has 8. What is transparent is laid on white unless channels
    is 'rgba'. Classes are the sub-folders, or stand in labels.csv or metadata.jsonl (file_name, label,
    text) beside the pictures, as captions do. Broken files are skipped and named.

    Arguments:
        path: the folder or archive; its sub-folders train and test are the splits if it has both.
        size: side of all pictures, or height and width; 0 if they are of one size already.
        fit: how others are brought to that size: 'crop' the middle, 'pad' with their edges, 'stretch'.
        channels: 'gray', 'rgb' or 'rgba'; 'auto' is gray if all pictures are, else rgb.
        labels: classes from the sub-folders ('folders') or a table ('file'), 'auto' or 'none'.
        holdout: share of the files for the test split, by a hash of their names; 0 for none.
        strict: a broken file is an error.
        memory: GiB of pixels that may be held; more are decoded as they are asked for.
        workers: threads that decode; 0 for as many as there are processors.

    Reference: Lhoest et al. 2021, Datasets: A Community Library for Natural Language Processing
        (the folder of images with metadata.jsonl). arXiv:2109.02846
    """

    path: str = ""
    size: int | tuple[int, int] = 0
    fit: Fit = "crop"
    channels: Channels = "auto"
    labels: Labels = "auto"
    holdout: float = 0.0
    strict: bool = False
    memory: float = 1.0
    workers: int = 0

    def __post_init__(self) -> None:
        check_share(self.holdout)
        if self._size is not None and min(self._size) < 1:
            raise InputError(
                f"size must be at least 1, or 0 to keep the pictures' own, got {self.size}"
            )
        for name in ("memory", "workers"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")

    @property
    def _size(self) -> tuple[int, int] | None:
        """Height and width, if they were given."""
        if isinstance(self.size, tuple):
            return self.size
        return (self.size, self.size) if self.size else None

    def load(self, split: Split = "train") -> Data:
        known_split(split)
        if not self.path:
            raise InputError("a folder or archive is needed, as in data.path=photos")
        place = open_place(Path(self.path).expanduser(), int(self.memory * 2**30))
        named = named_files(place, self.labels, self.holdout)
        if not named.samples:
            others = ", ".join(f"{n} {end or 'without'}" for end, n in place.endings.items())
            raise InputError(f"no pictures in {self.path}; other endings: {others or 'none'}")
        chosen = [sample for sample in named.samples if sample.split == split]
        if not chosen and not self.holdout:
            raise InputError("there is no test split; hold a share out, as in data.holdout=0.1")
        if not chosen:
            count = len(named.samples)
            raise InputError(f"holdout={self.holdout:g} of {count} files leaves none to {split}")
        key = self._key(place, named, split)
        survey = remembered(key)
        if survey is None or self._fit(survey.kind, len(chosen)):
            survey = self._survey(place, named, [sample.name for sample in chosen])
            if survey.x is None:
                remember(key, survey)
        chosen = [s._replace(problem=survey.problems.get(s.name, "")) for s in chosen]
        self._check({s.name: s.problem for s in chosen})
        return self._data(place, named, chosen, survey)

    def _key(self, place: Place, named: Named, split: Split) -> str:
        """What a survey depends on."""
        files = ((name, entry.size, entry.changed) for name, entry in place.files.items())
        settings = self._size, self.fit, self.channels, split
        return survey_key([str(place.path.resolve()), settings, *files, *named.samples])

    def _fit(self, kind: Kind, count: int) -> bool:
        """Whether so many pictures may be held in memory."""
        return count * kind.bytes <= self.memory * 2**30

    def _survey(self, place: Place, named: Named, chosen: Sequence[str]) -> Survey:
        """Look at the headers of both splits, so that they are brought to the same, and decode one."""
        problems = {sample.name: sample.problem for sample in named.samples}
        headers = []
        names = [name for name, problem in problems.items() if not problem]
        for outcome in all_headers(place, names, self.workers):
            problems[outcome.name] = outcome.problem
            headers += [outcome.header] if outcome.header else []
        self._check(problems)
        kind = kind_of(headers, self._size, self.fit, self.channels)
        problems = {name: problems[name] for name in chosen}
        names = [name for name, problem in problems.items() if not problem]
        held = len(names) if self._fit(kind, len(chosen)) else 0
        x = torch.empty((held, *kind.shape), dtype=kind.dtype)
        plain = DataSpec(kind.shape, levels=kind.levels)
        outcomes = all_pixels(place, names, kind, self.workers)
        blocks = self._blocks(outcomes, x, problems)
        spec = measured(plain, blocks)
        return Survey(kind, spec.mean, spec.sigma_data, problems, x if held else None)

    def _blocks(
        self, outcomes: Iterable[Outcome], x: Tensor, problems: dict[str, str]
    ) -> Iterator[Tensor]:
        """Decoded pictures in blocks; they go into ``x`` too if it has room, and what is wrong into
        ``problems``.
        """
        block: list[Tensor] = []
        one, differ, at = None, False, 0
        for outcome in outcomes:
            if outcome.pixels is None:
                problems[outcome.name] = outcome.problem
                continue
            one = outcome.pixels if one is None else one
            differ = differ or not torch.equal(one, outcome.pixels)
            if len(x):
                x[at] = outcome.pixels
            at += 1
            block.append(outcome.pixels)
            if len(block) * one.numel() >= NUMBERS:
                yield torch.stack(block)
                block.clear()
        self._check(problems)
        if at > 1 and not differ:
            raise InputError(
                f"all {at} pictures in {self.path} are equal; there is nothing to learn"
            )
        if block:
            yield torch.stack(block)

    def _data(self, place: Place, named: Named, chosen: Sequence[Sample], survey: Survey) -> Data:
        kept = [sample for sample in chosen if not sample.problem]
        kind, names = survey.kind, [sample.name for sample in kept]
        spec = DataSpec(
            kind.shape,
            len(named.classes),
            kind.levels,
            mean=survey.mean,
            sigma_data=survey.sigma_data,
            class_names=named.classes,
        )
        label = self._labels(kept, named.classes) if named.classes else None
        caption = tuple(sample.caption for sample in kept) if named.captioned else None
        skipped = tuple(Skipped(s.name, s.problem) for s in chosen if s.problem)
        if survey.x is not None:
            x = survey.x[: len(kept)]
            return Arrays(x=x, label=label, spec=spec, caption=caption, skipped=skipped)
        return Streamed(
            label=label,
            spec=spec,
            caption=caption,
            skipped=skipped,
            size=len(kept),
            decode=lambda index: read_pixels(place.read(names[index]), kind),
            name=lambda index: f"{names[index]} of {self.path}",
            workers=self.workers or THREADS,
        )

    def _labels(self, samples: Sequence[Sample], classes: Sequence[str]) -> Tensor:
        number = {name: i for i, name in enumerate(classes)}
        label = torch.tensor([number[sample.label] for sample in samples])
        absent = set(range(len(classes))) - set(label.tolist())
        if absent and samples[0].split == "train":
            raise InputError(
                f"the class '{classes[min(absent)]}' of {self.path} has no usable picture to train on; "
                f"add one, or take the class away"
            )
        return label

    def _check(self, problems: Mapping[str, str]) -> None:
        """Refuse pictures of which none can be used, or not all if there must be no broken ones."""
        broken = [(name, problem) for name, problem in problems.items() if problem]
        if broken and (self.strict or len(broken) == len(problems)):
            count = len(problems) - len(broken)
            name, problem = broken[0]
            raise InputError(
                f"only {count} of {len(problems)} pictures in {self.path} can be used; {name}: {problem}"
            )
