"""What looking at all pictures tells, and remembering it for data that take long to look at."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from scorefield.atomic import whole_file
from scorefield.data.download import cache_folder
from scorefield.data.pictures import Kind
from scorefield.errors import InputError

FORM = 1  # to be raised when pictures are decoded otherwise than before


class Survey(NamedTuple):
    """What looking at all pictures of a split tells.

    Arguments:
        kind: what they are brought to.
        mean: mean of each channel, in the model's units.
        sigma_data: standard deviation about it.
        problems: why files cannot be used, in a few words, by name; of the others nothing or ''.
        x: the pixels of the usable ones and room behind them; none if there are too many to hold.
    """

    kind: Kind
    mean: tuple[float, ...]
    sigma_data: float
    problems: dict[str, str]
    x: Tensor | None = None


def survey_key(parts: Iterable[object]) -> str:
    """A name for a survey that differs when anything differs that it depends on.

    Arguments:
        parts: files with their sizes and times of change, settings; all with a faithful repr.
    """
    import PIL

    digest = hashlib.sha256(repr((FORM, PIL.__version__)).encode())
    for part in parts:
        digest.update(repr(part).encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()


def remembered(key: str) -> Survey | None:
    """A survey made earlier, without pixels; none if there is none, or none that can be read.

    Arguments:
        key: its name.
    """
    try:
        kept = json.loads(_path(key).read_text(encoding="utf-8"))
        kind, mean = Kind(**kept["kind"]), tuple(kept["mean"])
        return Survey(kind, mean, kept["sigma_data"], kept["problems"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(key: str, survey: Survey) -> None:
    """Keep a survey in the user's cache folder, if that can be written.

    Arguments:
        key: its name.
        survey: what to keep; its pixels are not.
    """
    problems = {name: problem for name, problem in survey.problems.items() if problem}
    plain = survey._replace(problems=problems)._asdict() | {"kind": asdict(survey.kind)}
    del plain["x"]
    with contextlib.suppress(InputError), whole_file(_path(key)) as path:
        path.write_text(json.dumps(plain), encoding="utf-8")


def _path(key: str) -> Path:
    return cache_folder() / "surveys" / f"{key}.json"
