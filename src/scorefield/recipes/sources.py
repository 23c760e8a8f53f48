"""Data by name or by path: what a person says on a command line, as a light data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scorefield.data.base import Dataset
from scorefield.errors import InputError, unknown
from scorefield.recipes.catalog import DATASETS
from scorefield.recipes.config import from_dict, override

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
HUB = "hub:"
# The kind of data set that reads a file, by how its name ends.
KINDS = {"folder": ARCHIVES, "arrays": (".npz", ".npy"), "csv": (".csv",)}


def data_source(source: str, overrides: Sequence[str] = ()) -> Dataset:
    """The data set that a name or a path stands for; nothing is loaded.

    A name of the catalog comes first: write ./mnist for a folder of that name.

    Arguments:
        source: a name (see: scorefield list datasets), a folder of images or an archive of one (.zip,
            .tar), arrays (.npz, .npy), a table (.csv), or hub:OWNER/NAME.
        overrides: its settings, such as ``data.holdout=0.1``.

    Raises:
        InputError: for what is neither a name nor a path that exists, a file that nothing reads, and
            settings that do not fit.
    """
    plain: dict[str, Any] = {"data": {"kind": _kind(source)}}
    if source not in DATASETS:
        plain["data"]["path"] = source.removeprefix(HUB)
    for assignment in overrides:
        plain = override(plain, assignment)
    return from_dict(Dataset, plain["data"], "data")  # type: ignore[type-abstract]


def _kind(source: str) -> str:
    """The kind of data set that reads a source."""
    if source in DATASETS:
        return source
    if not source:
        raise InputError("the name or the path of data is needed, got nothing")
    if source.startswith(HUB):
        return "hub"
    path = Path(source)
    try:
        there, folder = path.exists(), path.is_dir()
    except OSError as error:  # a name that is too long, or a folder that may not be looked into
        raise InputError(f"cannot read data from '{source}': {error.strerror}") from error
    if folder:
        return "folder"
    if not there:
        if path.suffix or "/" in source:
            raise InputError(f"there is no file or folder '{source}'")
        raise unknown("dataset", source, DATASETS)
    for kind, endings in KINDS.items():
        if path.name.lower().endswith(endings):
            return kind
    known = ", ".join(ending for endings in KINDS.values() for ending in endings)
    raise InputError(f"cannot read data from '{source}'; a folder can be read, and {known}")
