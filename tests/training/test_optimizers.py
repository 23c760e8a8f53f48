"""Muon against its formulae, written with singular values instead of matrix products."""

import numpy as np
import pytest
import torch
from torch import nn

from scorefield.nets.mlp import MLPConfig
from scorefield.nets.scorenet import ScoreNetConfig
from scorefield.nets.unet import UNetConfig
from scorefield.training.optimizers import Muon, build_optimizers, orthogonalized

NETWORKS = {
    "unet": UNetConfig(width=8, heads=2),
    "scorenet": ScoreNetConfig(conditional=True),
    "mlp": MLPConfig(width=8),
}


def with_singular_values(rows, columns, values, seed):
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(rows, len(values))))
    right, _ = np.linalg.qr(rng.normal(size=(columns, len(values))))
    return left, np.asarray(values), right


def pushed(matrix, iterations=5):
    """The quintic s ← 3.4445 s - 4.7750 s³ + 2.0315 s⁵ on the singular values of M/‖M‖."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.sqrt((values**2).sum())
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left @ np.diag(values) @ right


@pytest.mark.parametrize(("rows", "columns"), [(6, 20), (20, 6), (8, 8)])
def test_orthogonalized_keeps_singular_vectors_and_levels_values(rows, columns):
    values = np.geomspace(1.0, 0.03, 6)
    scales = (1, 50)
    parts = [with_singular_values(rows, columns, values * c, i) for i, c in enumerate(scales)]
    stacked = np.stack([left @ np.diag(s) @ right.T for left, s, right in parts])
    found = orthogonalized(torch.from_numpy(stacked)).numpy()
    for (left, _, right), matrix in zip(parts, found, strict=True):
        inner = left.T @ matrix @ right
        level = np.diag(inner)
        assert np.abs(inner - np.diag(level)).max() < 1e-6
        assert ((level > 0.6) & (level < 1.3)).all()
        # nothing outside the span of the singular vectors
        assert np.allclose(left @ np.diag(level) @ right.T, matrix, atol=1e-6)


def test_orthogonalized_is_the_quintic_on_singular_values():
    rng = np.random.default_rng(0)
    for shape in ((3, 5), (5, 3), (4, 4)):
        matrices = rng.normal(size=(2, *shape))
        found = orthogonalized(torch.from_numpy(matrices), iterations=3).numpy()
        expected = np.stack([pushed(matrix, 3) for matrix in matrices])
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(24, 200), (200, 24), (48, 48)])
def test_orthogonalized_in_bf16_is_near_what_it_is_in_float32(rows, columns):
    rank = min(rows, columns)
    # steep, as momentum is: the least is lost in the rounding of the largest
    left, values, right = with_singular_values(rows, columns, np.geomspace(1.0, 1e-3, rank), 0)
    matrices = torch.from_numpy((left @ np.diag(values) @ right.T)[None]).float()
    exact = orthogonalized(matrices)
    with torch.autocast("cpu", torch.bfloat16):
        found = orthogonalized(matrices)
    assert found.dtype == torch.float32
    assert 0 < float((found - exact).norm() / exact.norm()) < 0.15
    assert torch.linalg.svdvals(found).max() < 1.25


def test_no_gradient_gives_no_update():
    assert not orthogonalized(torch.zeros(1, 3, 4)).any()


def test_muon_steps_are_those_of_the_formula():
    rng = np.random.default_rng(1)
    lr, momentum, decay = 0.02, 0.9, 0.1
    # a wide kernel (4, 3, 2, 2), a tall matrix (9, 2), and a second matrix of the same shape
    starts = [rng.normal(size=shape) for shape in ((4, 3, 2, 2), (9, 2), (9, 2))]
    parameters = [nn.Parameter(torch.from_numpy(start.copy())) for start in starts]
    optimizer = Muon(parameters, lr=lr, momentum=momentum, weight_decay=decay)
    expected, buffers = [s.copy() for s in starts], [np.zeros_like(s) for s in starts]
    for _ in range(3):
        gradients = [rng.normal(size=start.shape) for start in starts]
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = torch.from_numpy(g)
        optimizer.step()
        for k, g in enumerate(gradients):
            buffers[k] = momentum * buffers[k] + g
            matrix = (g + momentum * buffers[k]).reshape(len(g), -1)
            size = lr * np.sqrt(max(1, matrix.shape[0] / matrix.shape[1]))
            update = pushed(matrix).reshape(g.shape)
            expected[k] = (1 - lr * decay) * expected[k] - size * update
    for p, e in zip(parameters, expected, strict=True):
        assert np.allclose(p.detach().numpy(), e, atol=1e-6)


def test_muon_leaves_what_has_no_gradient():
    still, moving = (nn.Parameter(torch.ones(3, 3)) for _ in range(2))
    optimizer = Muon([still, moving])
    moving.grad = torch.eye(3)
    optimizer.step()
    assert torch.equal(still, torch.ones(3, 3))
    assert not torch.equal(moving, torch.ones(3, 3))


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_weight_has_one_optimizer(kind, name):
    network = NETWORKS[kind].build((1, 12, 12), 3)
    optimizers = build_optimizers(network, name, 1e-3, 0.25)
    kinds = {"adamw": [torch.optim.AdamW], "muon": [torch.optim.AdamW, Muon]}
    assert [type(o) for o in optimizers] == kinds[name]
    held = [id(p) for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in network.parameters())
    groups = [group for o in optimizers for group in o.param_groups]
    assert all((group["lr"], group["weight_decay"]) == (1e-3, 0.25) for group in groups)


@pytest.mark.parametrize("kind", NETWORKS)
def test_muon_takes_inner_matrices_only(kind):
    network = NETWORKS[kind].build((1, 12, 12), 3)
    adamw, muon = build_optimizers(network, "muon", 1e-3, 0.0)
    names = {id(p): name for name, p in network.named_parameters()}
    inner = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    # the layers that touch the data, and the table of labels
    outer = ["down1.conv", "up1"] if kind == "scorenet" else ["stem", "head"]
    tables = [name for name, m in network.named_modules() if isinstance(m, nn.Embedding)]
    assert tables
    assert {f"{layer}.weight" for layer in [*outer, *tables]} <= by_adamw
    assert all(network.get_parameter(name).ndim >= 2 for name in inner)
    assert len(inner) >= 5
