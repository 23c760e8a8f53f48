"""The order of the data: permutations that follow from the seed and the step alone."""

import pytest
import torch

from scorefield.training.order import ShuffledOrder


@pytest.mark.parametrize(("size", "batch"), [(10, 4), (12, 4), (7, 7), (5, 13), (9, 1)])
def test_each_epoch_is_a_permutation_and_batches_run_on(size, batch):
    order = ShuffledOrder(size, batch, seed=3)
    steps = [order(step) for step in range(4 * size)]
    assert all(len(step) == batch for step in steps)
    positions = torch.cat(steps)
    epochs = positions[: len(positions) // size * size].reshape(-1, size)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(size).expand_as(epochs))
    assert len(epochs) < 2 or not torch.equal(epochs[0], epochs[1])


def test_a_step_does_not_depend_on_where_one_starts():
    straight = ShuffledOrder(10, 4, seed=3)
    steps = [straight(step) for step in range(20)]
    for step in (19, 7, 0, 8, 3):
        assert torch.equal(ShuffledOrder(10, 4, seed=3)(step), steps[step])
        assert torch.equal(straight(step), steps[step])


def test_seeds_give_other_orders():
    orders = [ShuffledOrder(100, 100, seed)(0).tolist() for seed in range(5)]
    assert len({tuple(order) for order in orders}) == 5


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    ShuffledOrder(10, 4, 0)(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_positions_are_used_alike():
    # first places over many epochs: each of 5 samples about 400 times of 2,000; the standard
    # deviation of a count is √(2000 · 0.2 · 0.8) = 18
    first = torch.stack([ShuffledOrder(5, 5, seed=1)(epoch)[0] for epoch in range(2000)])
    assert (first.bincount(minlength=5) - 400).abs().max() < 4 * 18
