"""YAML files of recipes and of their parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scorefield.atomic import whole_file
from scorefield.errors import InputError
from scorefield.recipes.config import from_dict, to_dict
from scorefield.recipes.recipe import Sampling

ENDINGS = (".yaml", ".yml", ".json")


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The keys and values of a file.

    Arguments:
        path: a .yaml, .yml or .json file; JSON is YAML.
        what: what the file holds, for errors, such as 'recipe'.

    Raises:
        InputError: for a file that cannot be read, or holds something else.
    """
    from yaml import YAMLError

    from scorefield.recipes.yaml import read_yaml

    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} must hold the keys of a {what}, got {found!r}")
    return found


def read_sampling(path: Path) -> Sampling:
    """The way of sampling that a file holds, as `write_sampling` wrote it.

    Arguments:
        path: a .yaml, .yml or .json file.

    Raises:
        InputError: for a file that cannot be read, or keys and values that do not fit.
    """
    return from_dict(Sampling, read_mapping(path, "sampling"))


def write_sampling(path: Path, sampling: Sampling) -> None:
    """Write a way of sampling to a file, which is there whole or not at all.

    Arguments:
        path: a .yaml file.
        sampling: the way.

    Raises:
        InputError: for a path that cannot be written.
    """
    import yaml

    text = yaml.safe_dump(to_dict(sampling), sort_keys=False, default_flow_style=None, width=100)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
