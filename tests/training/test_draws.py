"""Noise of a row: a function of keys and place, whoever draws it."""

import math
import time

import pytest
import torch
from scipy import stats

from scorefield.training.draws import BLOCK, drawn_by_row

ROWS, SHAPE = 128, (3, 16, 16)


def normal(rows, *keys, shape=SHAPE):
    return drawn_by_row(torch.randn, rows, shape, *keys)


def test_any_slice_is_that_part_of_the_whole():
    whole = normal(slice(0, ROWS), 3, 1, 7)
    assert whole.shape == (ROWS, *SHAPE)
    for processes in (1, 2, 4, 8, 16, 64, 128):
        share = ROWS // processes
        parts = [normal(slice(k * share, (k + 1) * share), 3, 1, 7) for k in range(processes)]
        assert torch.equal(torch.cat(parts), whole)
    for rows in (slice(5, 6), slice(7, 9), slice(3, 83)):
        assert torch.equal(normal(rows, 3, 1, 7), whole[rows])


def test_a_larger_batch_begins_with_a_smaller_one():
    assert torch.equal(normal(slice(0, 20), 0, 0, 0), normal(slice(0, 29), 0, 0, 0)[:20])


@pytest.mark.parametrize("shape", [SHAPE, (1,), (2,)])
def test_the_law_is_the_standard_normal(shape):
    steps = 1 if shape == SHAPE else 400
    x = torch.cat([normal(slice(0, ROWS), 0, 1, step, shape=shape) for step in range(steps)])
    x = x.double().flatten()
    n = len(x)
    assert abs(float(x.mean())) < 4 / math.sqrt(n)
    assert abs(float(x.var()) - 1) < 4 * math.sqrt(2 / n)
    assert stats.kstest(x.numpy(), "norm").pvalue > 1e-3


def test_dequantisation_is_uniform():
    u = drawn_by_row(torch.rand, slice(0, ROWS), SHAPE, 0, 5, 0).double().flatten()
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


def test_rows_steps_seeds_and_purposes_are_independent():
    rows = [
        normal(slice(0, 4 * BLOCK), *keys) for keys in ((0, 1, 0), (0, 1, 1), (1, 1, 0), (0, 4, 0))
    ]
    x = torch.cat(rows).flatten(1).double()
    correlation = torch.corrcoef(x) - torch.eye(len(x))
    # each is N(0, 1/D); the largest of all pairs stays below 5.5 standard deviations
    assert float(correlation.abs().max()) < 5.5 / math.sqrt(x.shape[1])


def test_the_cost_is_that_of_the_own_rows():
    shape = (3, 64, 64)

    def seconds(rows):
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            normal(rows, 0, 1, 2, shape=shape)
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(slice(120, 128)) < seconds(slice(0, 128)) / 4
