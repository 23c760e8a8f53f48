"""The IDX file format of MNIST and its kin: a big-endian header, then raw bytes."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorefield.errors import InputError


def read_idx(path: Path, sha256: str | None = None) -> Tensor:
    """The array in an IDX file of unsigned bytes, raw or gzipped, as a uint8 tensor.

    Arguments:
        path: the file; gzip is recognized by its content.
        sha256: what the unpacked file must hash to, if known.

    Raises:
        InputError: when the file is missing, damaged, or not what the hash says.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise InputError(f"{path} is damaged: its sha256 is {found[:12]}…, not {sha256[:12]}…")
    return parse_idx(content, str(path))


def parse_idx(content: bytes, name: str) -> Tensor:
    """The array in the bytes of an IDX file; ``name`` is what an error calls it.

    Arguments:
        content: the unpacked bytes.
        name: where they come from.

    Raises:
        InputError: when they are not an IDX array of unsigned bytes of the size they state.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or len(content) < 4 + 4 * content[3]:
        raise InputError(f"{name} is not an IDX file of unsigned bytes")
    rank = content[3]
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    body = np.frombuffer(content, np.uint8, offset=4 + 4 * rank)
    if body.size != int(np.prod(shape, dtype=np.int64)):
        raise InputError(f"{name} is cut off: it should hold {shape} bytes, it holds {body.size}")
    return torch.from_numpy(body.reshape(shape).copy())
