"""The IDX file format of MNIST and its kin: a big-endian header, then raw bytes."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scorefield.errors import InputError


def read_unpacked(path: Path) -> tuple[bytes, bytes]:
    """A file's bytes as stored and as unpacked; the same object if it is not gzipped.

    Arguments:
        path: the file; gzip is recognized by its content.

    Raises:
        InputError: when the file is missing or its packing is damaged.
    """
    try:
        stored = path.read_bytes()
        if stored[:2] == b"\x1f\x8b":
            return stored, gzip.decompress(stored)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return stored, stored


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
