"""Pairs of noise and data: what optimal transport within a batch keeps, and what it saves."""

import sys
from itertools import permutations

import pytest
import torch

from scorefield.core.couplings import Independent, MinibatchOT
from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.objective import Objective
from scorefield.core.parameterizations import Noise
from scorefield.core.schedules import VP
from scorefield.errors import InputError


def cost(x0, eps):
    return float((x0 - eps).square().sum())


def test_five_points_are_paired_as_brute_force_pairs_them(normal):
    x0, eps = normal(5, 1, 2, 2), normal(5, 1, 2, 2)
    best = min(permutations(range(5)), key=lambda order: cost(x0, eps[list(order)]))
    assert torch.equal(MinibatchOT()(x0, eps), eps[list(best)])
    assert best != tuple(range(5))


def test_it_costs_no_more_than_independent_pairs_and_loses_no_noise(normal):
    for size in (1, 2, 64):
        x0, eps = normal(size, 3), normal(size, 3)
        found = MinibatchOT()(x0, eps)
        assert cost(x0, found) <= cost(x0, Independent()(x0, eps))
        assert torch.equal(found.sort(0).values, eps.sort(0).values)
    assert cost(x0, found) < 0.7 * cost(x0, eps)


def test_on_a_line_it_is_the_order(normal):
    """The optimal map in one dimension is monotone."""
    x0, eps = normal(50, 1), normal(50, 1)
    found = MinibatchOT()(x0, eps)
    assert torch.equal(found[x0.flatten().argsort()], eps.sort(0).values)


def test_noise_keeps_to_its_label(normal):
    """A label's noise is the noise that it was drawn, so that it stays standard normal."""
    label = torch.tensor([0, 1, -1] * 20)
    x0 = normal(60, 2) + 3 * label[:, None]
    eps = normal(60, 2)
    found = MinibatchOT()(x0, eps, label)
    for value in (-1, 0, 1):
        rows = label == value
        assert torch.equal(found[rows], MinibatchOT()(x0[rows], eps[rows]))
    # without labels the noise of label 1 is shifted along with its data
    shifted = MinibatchOT()(x0, eps)[label == 1].mean()
    assert float(shifted) > float(found[label == 1].mean()) + 0.5


def test_the_objective_pairs_within_the_labels_that_are_shown(normal):
    class Seen(torch.nn.Module):
        def forward(self, x, c_noise, label=None):
            return torch.zeros_like(x)

    x0, label = normal(40, 2), torch.arange(40) % 2
    objective = Objective(coupling=MinibatchOT(), drop=0.3)
    drawn = torch.Generator().manual_seed(5)
    _, eps, shown = objective.draw(VP(), x0, label, drawn)
    # a network that says 0 of the noise has its square for a loss
    found = objective(
        NetworkDenoiser(Seen(), VP(), Noise(1.0)),
        x0,
        generator=torch.Generator().manual_seed(5),
        label=label,
    )
    assert torch.allclose(found, MinibatchOT()(x0, eps, shown).square().mean(1))
    assert not torch.allclose(found, eps.square().mean(1))


def test_without_scipy_it_says_what_to_install(normal, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(InputError, match=r"minibatch-ot needs scipy.*scorefield\[ot\]"):
        MinibatchOT()(normal(2, 1), normal(2, 1))
