"""The law of single numbers as it is measured, and in a trained model."""

import math
from dataclasses import replace

import pytest
import torch

from scorefield.core.marginal import Marginal
from scorefield.data.base import described
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.training import Trainer
from scorefield.training.marginal import FLOOR, measured_marginal


def levels(*counts):
    """A data set of one image whose numbers have each level so often, levels in [-1, 1]."""
    values = torch.cat([torch.full((n,), k) for k, n in enumerate(counts)])
    return described(values.to(torch.uint8).reshape(1, 1, 1, -1), levels=len(counts))


def test_as_many_pieces_as_levels_are_the_histogram():
    found = measured_marginal(Marginal(4), levels(8, 2, 4, 6))
    assert found.edges == pytest.approx([-4 / 3, -2 / 3, 0, 2 / 3, 4 / 3])
    shares = [(1 - FLOOR) * n / 20 + FLOOR / 4 for n in (8, 2, 4, 6)]
    assert found.masses == pytest.approx(shares)
    assert measured_marginal(Marginal(9), levels(8, 2, 4, 6)).masses == found.masses


def test_neighbours_that_are_alike_are_joined_first():
    """10, 1, 1, 1, 5: of all cuts into three, the one that keeps the two peaks apart from the rest."""
    found = measured_marginal(Marginal(3), levels(100, 10, 10, 10, 50))
    assert found.edges == pytest.approx([-1.25, -0.75, 0.75, 1.25])
    assert found.masses == pytest.approx([100 / 180, 30 / 180, 50 / 180], rel=1e-3)


def test_fewer_pieces_tell_less():
    data = levels(50, 3, 8, 1, 9, 30)

    def information(pieces):
        law = measured_marginal(Marginal(pieces), data)
        ends = zip(law.masses, law.edges, law.edges[1:], strict=False)
        return sum(m * math.log(m / (b - a)) for m, a, b in ends)

    told = [information(k) for k in range(1, 7)]
    assert told == sorted(told)
    assert told[0] == pytest.approx(math.log(1 / 2.4))  # one piece: uniform over [-1.2, 1.2]


def test_a_level_that_never_occurs_is_not_impossible():
    assert min(measured_marginal(Marginal(3), levels(5, 0, 5)).masses) == pytest.approx(FLOOR / 3)


def test_many_levels_are_counted_together():
    values = (torch.arange(65536).reshape(1, 1, 256, 256)).to(torch.uint16)
    found = measured_marginal(Marginal(4), described(values, levels=65536))
    half = 1 / 65535
    assert found.edges[0] == pytest.approx(-1 - half)
    assert found.edges[-1] == pytest.approx(1 + half)
    ends = zip(found.masses, found.edges, found.edges[1:], strict=False)
    density = [mass / (high - low) for mass, low, high in ends]
    assert density == pytest.approx([0.5] * 4, rel=1e-3)


def test_real_numbers_have_no_levels():
    data = described(torch.randn(4, 2), levels=None, low=None, high=None)
    with pytest.raises(InputError, match="needs data with levels, got real numbers; 0 would do"):
        measured_marginal(Marginal(2), data)
    assert measured_marginal(Marginal(), data) == Marginal()


def test_a_law_that_is_given_is_kept():
    given = Marginal(1, (-2.0, 2.0), (1.0,))
    assert measured_marginal(given, levels(1, 2)) == given


def test_a_trained_model_keeps_the_law_of_its_data(tmp_path, recipe):
    wanted = replace(recipe("images"), marginal=Marginal(3))
    trainer = Trainer(wanted, tmp_path / "run")
    list(trainer)
    expected = measured_marginal(Marginal(3), trainer.run.data)
    model = load(tmp_path / "run")
    assert model.recipe.marginal == expected == model.denoiser.marginal
    # The same recipe, its law not measured, goes on with the run.
    assert Trainer(wanted, tmp_path / "run", resume=True).run.recipe.marginal == expected
    x = model.sample(2, seed=0)
    assert torch.isfinite(torch.as_tensor(x).float()).all()
