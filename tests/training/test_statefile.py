"""A state file is read as it was written, or not at all."""

import random

import pytest
import torch
from safetensors.torch import save_file

from scorefield.errors import InputError
from scorefield.training.statefile import DamagedError, digest, read_state, write_state

HEADER = {"position": '{"step": 3}', "recipe": "{}"}


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(3, 4, generator=generator),
        "kernel": torch.randn(2, 3, 4, 5, generator=generator).to(
            memory_format=torch.channels_last
        ),
        "half": torch.randn(5, generator=generator).bfloat16(),
        "count": torch.tensor(7),
        "nothing": torch.zeros(0, 3),
        "choice": torch.tensor([True, False]),
        "nan": torch.tensor([float("nan"), float("inf")]),
    }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "step-00000003.safetensors"
    write_state(path, HEADER, tensors())
    return path


def test_what_is_written_is_read(file):
    header, found = read_state(file)
    assert header.items() >= HEADER.items()
    assert header["format"] == "2"
    assert found.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found[name].nan_to_num(), tensor.nan_to_num())


def test_no_bit_of_the_file_can_change_unseen(file):
    good = file.read_bytes()
    chance = random.Random(0)
    for place in [*range(8), *range(8, len(good), 3)]:
        changed = bytearray(good)
        changed[place] ^= 1 << chance.randrange(8)
        file.write_bytes(changed)
        with pytest.raises(DamagedError):
            read_state(file)


def test_a_part_of_the_file_is_not_the_file(file):
    good = file.read_bytes()
    for length in [*range(0, len(good), 37), len(good) - 1]:
        for rest in (b"", bytes(len(good) - length)):  # cut off; or its end never reached the disk
            if good[:length] + rest == good:
                continue
            file.write_bytes(good[:length] + rest)
            with pytest.raises(DamagedError):
                read_state(file)
    file.write_bytes(good + b"x")
    with pytest.raises(DamagedError):
        read_state(file)


def test_files_of_others(tmp_path):
    path = tmp_path / "step-00000003.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(DamagedError, match="not a state"):
        read_state(path)
    save_file({"weight": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(DamagedError, match="not a state"):
        read_state(path)
    path.write_text("a letter")
    with pytest.raises(DamagedError, match="not a safetensors file"):
        read_state(path)


def test_a_newer_format_is_not_damage(tmp_path):
    path = tmp_path / "step-00000003.safetensors"
    header = {**HEADER, "format": "3"}
    save_file({}, path, metadata={**header, "digest": digest(header, {})})
    with pytest.raises(InputError, match="has state format 3; this version reads up to 2"):
        read_state(path)


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*: No such file"):
        read_state(tmp_path / "step-00000003.safetensors")


def test_the_checksum_knows_names_types_and_shapes_apart():
    x = torch.arange(6, dtype=torch.int32)
    found = {
        digest(HEADER, {"x": x}),
        digest({**HEADER, "position": ""}, {"x": x}),
        digest(HEADER, {"y": x}),
        digest(HEADER, {"x": x.view(torch.float32)}),
        digest(HEADER, {"x": x.reshape(2, 3)}),
        digest(HEADER, {"x": x[:3], "x2": x[3:]}),
    }
    assert len(found) == 6
