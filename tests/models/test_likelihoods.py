"""Likelihoods and codes of models: constants, batches, labels, priors."""

import math
from dataclasses import replace

import pytest
import torch

from scorefield.core.couplings import MinibatchOT
from scorefield.core.denoisers import NetworkDenoiser
from scorefield.core.levels import Levels, data_log_likelihood
from scorefield.core.likelihood import normal_prior
from scorefield.core.ode import DormandPrince, FixedSteps
from scorefield.core.variational import variational_bound
from scorefield.data.base import DataSpec
from scorefield.data.toy import Moons
from scorefield.errors import InputError
from scorefield.models import (
    between,
    bits_per_dim,
    bounds,
    codes,
    data_of,
    decoded,
    levels_of,
    likelihoods,
)
from scorefield.recipes.catalog import SCHEDULES
from scorefield.samplers.grids import UniformTime
from scorefield.samplers.noise import seeded

COARSE = FixedSteps("rk4", 6)


@pytest.mark.parametrize("levels", [2, 4, 16, 256, 65536])
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0)])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 5, 4), (7,)])
def test_a_constant_density_over_the_cells_costs_the_depth(levels, low, high, shape):
    """The cells of all levels are high - low and half a cell more at each end, in every number."""
    spec = DataSpec(shape, 0, levels, low, high)
    width = (high - low) * levels / (levels - 1)
    log_prob = torch.tensor([-math.prod(shape) * math.log(width)], dtype=torch.float64)
    assert float(bits_per_dim(log_prob, spec)) == pytest.approx(math.log2(levels), abs=1e-9)


def test_published_offsets_are_near(images):
    """Density in [-1, 1]: nll/(D log 2) + 7 is usual for 8 bits, as if the range had 256 steps."""
    spec = DataSpec((1, 28, 28))
    usual = 1000 / (784 * math.log(2)) + 7
    ours = float(bits_per_dim(torch.tensor([-1000.0], dtype=torch.float64), spec))
    assert ours - usual == pytest.approx(math.log2(255 / 256), abs=1e-9)


def test_what_has_no_bits(points):
    assert levels_of(points.spec) is None
    assert levels_of(DataSpec((1, 4, 4))) == Levels(-1.0, 1.0, 256)
    with pytest.raises(InputError, match="real numbers without levels"):
        bits_per_dim(torch.zeros(1), points.spec)


@pytest.fixture
def pictures(images):
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (3, 1, 9, 10), generator=generator, dtype=torch.uint8)
    return images.spec.to_model(levels), torch.tensor([2, 0, 1])


def test_likelihoods_are_those_of_the_denoiser(images, pictures):
    x, label = pictures
    found = torch.cat(
        [
            p.log_prob
            for p in likelihoods(images, x, label, solver=COARSE, probes=2, seed=4, batch=2)
        ]
    )
    prior = normal_prior(images.denoiser.schedule, -0.4, 0.5)
    direct = data_log_likelihood(
        images.denoiser,
        x,
        Levels(-1.0, 1.0, 256),
        noise=seeded(4, range(len(x))),
        solver=COARSE,
        probes=2,
        prior=prior,
        label=label,
    ).log_prob
    assert torch.allclose(found, direct, rtol=1e-4, atol=1e-2)
    (other,) = likelihoods(images, x, torch.full((3,), -1), solver=COARSE, probes=2, seed=4)
    assert not torch.allclose(other.log_prob, direct, rtol=1e-4, atol=1e-2)


def test_points_have_an_exact_trace_and_a_prior_of_their_own(points):
    x = torch.tensor([[0.3, 0.4], [-1.0, 0.2]])
    (found,) = likelihoods(points, x)
    prior = normal_prior(points.denoiser.schedule, torch.tensor([0.1, -0.2]), 1.0)
    assert torch.equal(found.error, torch.zeros(2, dtype=torch.float64))
    assert torch.allclose(found.prior, prior(found.z))


def test_codes_lead_back(points):
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    solver = DormandPrince(1e-6, 1e-6)
    z = torch.cat(list(codes(points, x, solver=solver, batch=2)))
    back = torch.cat(list(decoded(points, z, solver=solver, batch=3)))
    assert torch.allclose(back, x, rtol=0, atol=1e-3)
    assert not torch.allclose(z, x, rtol=0, atol=0.1)


EVERYDAY = ("vp", "ve", "flow")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(cls, id=kind, marks=() if kind in EVERYDAY else pytest.mark.slow)
        for kind, cls in SCHEDULES.items()
    ],
)
def test_networks_have_likelihoods_on_every_path(points, path):
    """An untrained network, from t_min to where no signal may be left; the trace by differences."""
    recipe = replace(points.recipe, schedule=path())
    denoiser = NetworkDenoiser(
        points.denoiser.network, path(), recipe.parameterization, (0.1, -0.2)
    )
    model = replace(points, recipe=recipe, denoiser=denoiser)
    x, h = torch.tensor([[0.3, 0.4], [-1.0, 0.2]]), 0.02
    solver = FixedSteps("rk4", 40)  # the same steps for both ends of a difference
    (found,) = likelihoods(model, x, solver=solver)
    moved = [
        next(codes(model, x + h * e, solver=solver)) - next(codes(model, x - h * e, solver=solver))
        for e in torch.eye(2)
    ]
    alpha, _ = path()(path().t_min)
    log_det = torch.linalg.slogdet(torch.stack(moved, 2) / (2 * h * alpha)).logabsdet
    assert torch.allclose(found.divergence.float(), log_det.float(), rtol=0, atol=0.05)


def test_codes_know_their_labels(images, pictures):
    x, label = pictures
    (z,) = codes(images, x, label, solver=COARSE)
    (first,) = codes(images, x[:1], label[:1], solver=COARSE)
    assert torch.allclose(first, z[:1], rtol=1e-3, atol=1e-3)
    for other in (torch.full((3,), -1), torch.tensor([0, 1, 2])):
        (moved,) = codes(images, x, other, solver=COARSE)
        assert float((moved - z).abs().max()) > 0.01


def test_codes_between(points):
    a, b = torch.eye(2), 2 * torch.eye(2).flip(0)
    rows = between(a, b, 5).reshape(2, 5, 2)
    assert torch.allclose(rows[:, 0], a)
    assert torch.allclose(rows[:, -1], b, atol=1e-6)
    assert torch.allclose(rows[0, 2], torch.tensor([0.5, 1.0]) * math.sqrt(2), atol=1e-6)
    with pytest.raises(InputError, match="at least 2, got 1"):
        between(a, b, 1)


def test_data_in_other_units_are_refused(points):
    """As of a table that has got rows since: its numbers are centred anew."""
    known = replace(points, recipe=replace(points.recipe, data=Moons(size=20)))
    moved = replace(known, spec=replace(known.spec, center=(1.0, 1.0)))
    with pytest.raises(InputError, match=r"not like those .* center is \(\), not \(1.0, 1.0\)"):
        data_of(moved, "test", 7)


def test_a_model_that_always_had_a_label_is_asked_with_one(images):
    known = replace(images.recipe, objective=replace(images.recipe.objective, drop=0.0))
    with pytest.raises(InputError, match=r"label must be 'data' .* objective.drop=0"):
        data_of(replace(images, recipe=known), "train", 3, "none")


def test_data_of_a_model(points):
    known = replace(points, recipe=replace(points.recipe, data=Moons(size=20)))
    x, label = data_of(known, "test", 7)
    assert torch.equal(x, Moons(size=20).load("test").x[:7])
    assert label is None
    assert len(data_of(known, "train", 100)[0]) == 20


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (("test", 0), "at least 1, got 0"),
        (("valid", 3), "split must be 'train' or 'test', got 'valid'"),
        (("test", 3, "seven"), "label must be 'data' or 'none', got 'seven'"),
    ],
)
def test_data_that_are_not_there(points, ask, words):
    with pytest.raises(InputError, match=words):
        data_of(points, *ask)


def test_impossible_batches_are_refused(points):
    with pytest.raises(InputError, match="batch must be at least 1, got 0"):
        next(likelihoods(points, torch.zeros(2, 2), batch=0))
    with pytest.raises(InputError, match=r"the model is for shape \(2,\), got \(3,\)"):
        next(codes(points, torch.zeros(2, 3)))


@pytest.mark.parametrize("kind", ["images", "points"])
def test_a_chain_bounds_the_density_of_the_data(kind, images, points, pictures):
    """Of levels their probability is bounded, whose density is smaller by the volume of a cell."""
    some = torch.tensor([[0.3, 0.4], [-1.0, 0.2], [0.0, 0.7]])
    model, x, label = {"images": (images, *pictures), "points": (points, some, None)}[kind]
    found = torch.cat([part.log_prob for part in bounds(model, x, label, steps=5, seed=4, batch=2)])
    spec = model.spec
    direct = variational_bound(
        model.denoiser,
        x,
        UniformTime().times(model.denoiser.schedule, 5),
        mean=torch.tensor(spec.mean).reshape(-1, *[1] * (len(spec.shape) - 1)),
        variance=spec.sigma_data**2,
        levels=levels_of(spec),
        noise=seeded(4, range(3)),
        **({} if label is None else {"label": label}),
    ).log_prob
    cell = 0.0 if spec.levels is None else math.prod(spec.shape) * math.log(levels_of(spec).spacing)
    assert torch.allclose(found, direct - cell, rtol=1e-4, atol=1e-3)


def test_a_chain_of_coupled_noise_has_no_bound(images, pictures):
    objective = replace(images.recipe.objective, coupling=MinibatchOT())
    coupled = replace(images, recipe=replace(images.recipe, objective=objective))
    x, label = pictures
    with pytest.raises(InputError, match=r"independent of the data, and .* MinibatchOT pairs"):
        next(bounds(coupled, x, label, steps=3))
