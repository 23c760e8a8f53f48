"""Streamed data are those in memory; what is held is bounded, and errors name the sample."""

import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
import torch

from scorefield.data import blocks
from scorefield.data.ahead import ahead
from scorefield.data.base import Arrays, DataSpec, described
from scorefield.data.blocks import representatives
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError

RNG = np.random.default_rng(4)
SHAPE = (3, 5, 4)
IMAGES = RNG.integers(0, 256, (100, *SHAPE), dtype=np.uint8)


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("scorefield-ahead")]


def streamed(decode=IMAGES.__getitem__, size=100, shape=SHAPE, **fields):
    spec = DataSpec(shape, levels=fields.pop("levels", 256))
    return Streamed(label=None, spec=spec, size=size, decode=decode, **fields)


def late(index):
    """The later ones first: what comes last is done first."""
    time.sleep(0.0002 * (99 - index) % 0.003)
    return IMAGES[index]


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("decode", [late, lambda i: torch.from_numpy(IMAGES[i])])
def test_samples_come_in_the_order_they_are_asked_for(workers, decode):
    data = streamed(decode, workers=workers)
    asked = torch.from_numpy(RNG.integers(0, 100, 70))
    assert np.array_equal(data.stored(asked), IMAGES[asked])
    values = IMAGES[asked] / 127.5 - 1
    assert np.allclose(data.batch(asked)[0], values, atol=1e-6)
    assert (len(data), threads()) == (100, [])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("room", [0, -1], ids=["fits", "one byte short"])
def test_settled_data_are_in_memory_if_they_fit(dtype, room, monkeypatch):
    monkeypatch.setattr(blocks, "NUMBERS", 7 * 60)  # several blocks, the last one shorter
    levels = {np.uint8: 256, np.uint16: 65536, np.float32: None}[dtype]
    images = (
        (IMAGES / 256).astype(dtype) if levels is None else IMAGES.astype(dtype) * (levels // 256)
    )
    label, caption = torch.arange(100) % 2, tuple(map(str, range(100)))
    held = described(torch.from_numpy(images), label, classes=2, levels=levels, caption=caption)
    plain = DataSpec(SHAPE, 2, levels)
    given = Streamed(
        label=label, caption=caption, spec=plain, size=100, decode=images.__getitem__, workers=2
    )
    data = given.settled(images.nbytes + room)
    assert type(data) is (Streamed if room else Arrays)
    assert data.spec == held.spec
    assert (data.label is label, data.caption) == (True, caption)
    asked = torch.from_numpy(RNG.permutation(100))
    for one, other in zip(data.batch(asked), held.batch(asked), strict=True):
        assert torch.equal(one, other)


def test_equal_samples_are_refused():
    with pytest.raises(InputError, match="all samples are equal"):
        streamed(lambda _: IMAGES[0] * 0).settled(0)


def test_memory_is_bounded(monkeypatch):
    """160 MB of samples pass by, and a small part of them is held at any time."""
    monkeypatch.setattr(blocks, "NUMBERS", 1 << 19)
    process, seen = psutil.Process(), []

    def decode(index):
        seen.append(process.memory_info().rss)
        return np.full((1, 200, 200), index % 251, np.uint8)

    data = streamed(decode, size=4000, shape=(1, 200, 200), workers=2)
    data.stored(torch.arange(13))
    before = seen[-1]
    settled = data.settled(159_999_999)
    assert (len(seen), len(settled)) == (4014, 4000)
    assert max(seen) - before < 40e6


def test_large_data_are_measured_on_a_part(monkeypatch):
    monkeypatch.setattr(blocks, "ENOUGH", 400)
    monkeypatch.setattr(blocks, "MANY", 1000)
    pictures = RNG.integers(0, 256, (4000, 1, 2, 2), dtype=np.uint8)
    asked = []

    def decode(index):
        asked.append(index)
        return pictures[index]

    data = streamed(decode, size=4000, shape=(1, 2, 2))
    found = data.settled(0)
    assert len(asked) == 1 + 400
    values = pictures[np.sort(asked[1:])] / 127.5 - 1
    assert found.spec.mean == pytest.approx([values.mean()], abs=1e-6)
    assert found.spec.sigma_data == pytest.approx(values.std(), abs=1e-6)


@pytest.mark.parametrize("count", [400, 401, 999, 4000, 10**9])
def test_representatives_are_evenly_spread(monkeypatch, count):
    monkeypatch.setattr(blocks, "ENOUGH", 400)
    monkeypatch.setattr(blocks, "MANY", 400 * 60)
    found = representatives(count, DataSpec(SHAPE)).double()
    assert len(found) == 400
    # one in each of 400 equal stretches, up to the rounding of their ends
    stretch = (found + 0.5) / count * 400
    assert float((stretch - torch.arange(400) - 0.5).abs().max()) <= 0.5 + 400 / count
    if count >= 4000:  # classes that take turns come equally often
        share = (found % 10 == 3).double().mean()
        assert abs(float(share) - 0.1) < 4 * (0.1 * 0.9 / 400) ** 0.5
    assert len(representatives(count, DataSpec((1, 2, 2)))) == min(count, 6000)


def broken(index):
    if index == 60:
        raise OSError("image file is truncated\n(3 bytes)")
    if index == 61:
        raise EOFError
    return IMAGES[index, :, : 5 - (index == 62)]


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (60, r"^cannot decode pictures/60: image file is truncated \(3 bytes\)$"),
        (61, r"^cannot decode pictures/61: EOFError$"),
        (62, r"^pictures/62 has the shape \(3, 4, 4\), not \(3, 5, 4\) as the data; it has been"),
    ],
)
def test_a_sample_that_cannot_be_decoded_is_named(index, sentence):
    data = streamed(broken, name="pictures/{}".format, workers=3)
    with pytest.raises(InputError, match=sentence):
        data.stored(torch.tensor([*range(50), index]))
    assert threads() == []
    with pytest.raises(InputError, match="sample 60"):
        streamed(broken).settled(0)
    assert np.array_equal(data.stored(torch.arange(60)), IMAGES[:60])


def test_a_decoder_s_own_sentence_is_kept():
    def decode(index):
        raise InputError("a.zip has been changed")

    with pytest.raises(InputError, match=r"^a\.zip has been changed$"):
        streamed(decode).stored(torch.tensor([0]))


def test_ahead_is_bounded_and_in_order():
    running, most, done = 0, 0, []
    lock = threading.Lock()

    def work(number):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
            done.append(number)
        return number**2

    walk = ahead(work, itertools.count(), threads=3, depth=5)
    for number in range(6):
        assert next(walk) == number**2
        assert len(done) <= number + 1 + 5
    time.sleep(0.05)
    assert sorted(done) == list(range(11))  # five ahead of the six that were asked for, no more
    assert most == 3
    walk.close()
    assert threads() == []


def test_ahead_raises_where_the_result_would_have_come():
    walk = ahead(lambda x: 1 / x, [2, 1, 0, 4], threads=2, depth=4)
    assert [next(walk), next(walk)] == [0.5, 1]
    with pytest.raises(ZeroDivisionError):
        next(walk)
    assert threads() == []
    assert list(ahead(str, [], threads=1, depth=1)) == []


LEFT = """
import itertools, os
from scorefield.data.ahead import ahead
os.kept = ahead(str, itertools.count(), threads=2, depth=3)  # outlives the modules of threads
next(os.kept)
"""


def test_a_program_that_ends_in_the_middle_ends_quietly():
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_threads_that_are_made_later_have_their_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    list(ahead(abs, [1, 2], threads=1, depth=1))
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    torch.set_num_threads(before)
    assert found == [2]
