"""The IDX format: what its specification says is read, all else is refused by name."""

import gzip
import struct

import numpy as np
import pytest
import torch

from scorefield.data.idx import parse_idx, read_unpacked
from scorefield.errors import InputError

ARRAY = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def test_bytes_of_the_specification():
    # magic 0x00000801: unsigned bytes, one axis; then its length, big-endian; then the data
    found = parse_idx(bytes.fromhex("00000801 00000003 05 00 ff"), "labels")
    assert found.tolist() == [5, 0, 255]
    assert found.dtype == torch.uint8


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzip"])
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_raw_and_gzip_are_told_by_content(tmp_path, idx, pack, name):
    (tmp_path / name).write_bytes(pack(idx(ARRAY)))
    stored, content = read_unpacked(tmp_path / name)
    assert stored == (tmp_path / name).read_bytes()
    found = parse_idx(content, name)
    assert np.array_equal(found.numpy(), ARRAY)
    found[0, 0, 0] = 1  # the array is the caller's own


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        b"not an idx file at all",
        b"\x00\x00\x0d\x01" + struct.pack(">I", 1) + b"\x00" * 4,  # floats
        b"\x00\x00\x08\x03" + struct.pack(">I", 1),  # the header itself is cut off
    ],
    ids=["empty", "two-bytes", "text", "floats", "half-header"],
)
def test_not_idx(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match="file is not an IDX file of unsigned bytes"):
        parse_idx(read_unpacked(path)[1], str(path))


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_length(tmp_path, idx, change):
    content = idx(ARRAY)
    path = tmp_path / "images"
    path.write_bytes(content[:change] if change < 0 else content + b"\x00")
    with pytest.raises(InputError, match=f"images.*it holds {ARRAY.size + change}"):
        parse_idx(read_unpacked(path)[1], str(path))


def test_damaged_gzip(tmp_path, idx):
    whole = gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (40, 8, 8))))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for name, content in {"cut": whole[: len(whole) // 2], "flipped": bytes(flipped)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"cannot read .*{name}"):
            read_unpacked(tmp_path / name)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match=f"cannot read {path}"):
            parse_idx(read_unpacked(path)[1], str(path))
