"""A state in one safetensors file, with a checksum in its header of all that is in the file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scorefield.errors import InputError
from scorefield.models.tensors import write_tensors

FORMAT = 2  # 1 had no checksum, no recipe and no versions
DIGEST = "digest"

Header = dict[str, str]


class DamagedError(Exception):
    """A file that is not what was written: torn, cut off, changed, or never a state."""


def write_state(path: Path, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Write a state file.

    Arguments:
        path: where it is to be.
        header: what it says beside its format and its checksum.
        tensors: what is in it, by name.

    Raises:
        InputError: when it cannot be written.
    """
    header = {**header, "format": str(FORMAT)}
    write_tensors(path, tensors, {**header, DIGEST: digest(header, tensors)})


def read_state(path: Path) -> tuple[Header, dict[str, Tensor]]:
    """The header and the tensors of a state file, as they were written.

    Arguments:
        path: the file.

    Raises:
        DamagedError: when it is not as it was written, or no state.
        InputError: when it cannot be read, or a newer version wrote it.
    """
    try:
        with safe_open(path, framework="pt") as content:
            header: Header = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DamagedError(f"it is cut off or not a safetensors file: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    written = header.get("format", "")
    if written == "1":
        return header, tensors
    found = digest({k: v for k, v in header.items() if k != DIGEST}, tensors)
    if header.get(DIGEST) == found:
        if written == str(FORMAT):
            return header, tensors
        raise InputError(f"{path} has state format {written}; this version reads up to {FORMAT}")
    raise DamagedError("its checksum is another" if DIGEST in header else "it is not a state")


def digest(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """A checksum (SHA-256) of a header and of the names, types, shapes and bytes of tensors.

    Arguments:
        header: without the checksum itself.
        tensors: by name, in any order.
    """
    found = hashlib.sha256(json.dumps(sorted(header.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        # reshape: in the order of the axes, however it lies in memory, which a file does not keep
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
