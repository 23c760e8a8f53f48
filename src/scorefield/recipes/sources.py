"""Data by name or by path: what a person says on a command line, as a light data set."""

from __future__ import annotations

from pathlib import Path

from scorefield.data.base import Dataset
from scorefield.errors import InputError, unknown
from scorefield.recipes.catalog import CATALOG
from scorefield.recipes.config import from_dict

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
HUB = "hub:"
# The kind of data set that reads a file, by how its name ends; a folder is the first.
KINDS = {"folder": ARCHIVES, "arrays": (".npz", ".npy"), "csv": (".csv",)}


def data_source(source: str) -> Dataset:
    """The data set that a name or a path stands for; nothing is loaded.

    A name of the catalog comes first: write ./mnist for a folder of that name.

    Arguments:
        source: a name (see: scorefield list datasets), a folder of images or an archive of one (.zip,
            .tar), arrays (.npz, .npy), a table (.csv), or hub:OWNER/NAME.

    Raises:
        InputError: for what is neither a name nor a path that exists, or a file that nothing reads.
    """
    _, kinds = CATALOG[Dataset]
    if source in kinds:
        # by the door that asks for what has no default, in place of a TypeError
        return from_dict(Dataset, source)  # type: ignore[type-abstract]
    if source.startswith(HUB):
        return _of_kind("hub", source.removeprefix(HUB), source)
    path = Path(source)
    if path.is_dir():
        return _of_kind("folder", source, source)
    if not path.exists():
        if path.suffix or "/" in source:
            raise InputError(f"there is no file or folder '{source}'")
        raise unknown("data set", source, kinds)
    for kind, endings in KINDS.items():
        if path.name.lower().endswith(endings):
            return _of_kind(kind, source, source)
    known = ", ".join(ending for endings in KINDS.values() for ending in endings)
    raise InputError(f"cannot read data from '{source}'; a folder can be read, and {known}")


def _of_kind(kind: str, path: str, source: str) -> Dataset:
    _, kinds = CATALOG[Dataset]
    if kind not in kinds:
        raise InputError(
            f"cannot read '{source}': no data set of kind {kind} is installed (known: "
            f"{', '.join(kinds)})"
        )
    plain = {"kind": kind, "path": path}
    return from_dict(Dataset, plain, "data")  # type: ignore[type-abstract]
