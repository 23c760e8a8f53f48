"""Gradient checkpointing: the same gradients from fewer kept tensors."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from scorefield.nets.mlp import MLPConfig
from scorefield.nets.scorenet import ScoreNetConfig
from scorefield.nets.unet import UNetConfig

BUILDS = {
    "unet": (UNetConfig(width=8, heads=2, attention=(1,)), (1, 16, 16)),
    "unet-dropout": (UNetConfig(width=8, dropout=0.4, blocks=2), (1, 16, 16)),
    "scorenet": (ScoreNetConfig(conditional=True), (1, 20, 20)),
    "mlp": (MLPConfig(width=32), (5,)),
    "mlp-dropout": (MLPConfig(width=32, dropout=0.4), (5,)),
}


@pytest.fixture(params=BUILDS.values(), ids=BUILDS.keys())
def passed(request):
    """passed(network's recompute, bf16): output, gradients, and bytes kept between the two passes."""
    config, shape = request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = config.build(shape, classes=3)
        for p in network.parameters():
            p.data.normal_(std=0.1)
        x, c_noise, label = torch.randn(4, *shape), torch.randn(4), torch.tensor([0, 1, -1, 2])

    def run(recompute, bf16=False):
        network.recompute = recompute
        network.zero_grad()
        kept = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.random.fork_rng():
            torch.manual_seed(7)
            with saved_tensors_hooks(keep, lambda t: t), torch.autocast("cpu", enabled=bf16):
                out = network(x, c_noise, label)
            total = sum(kept.values())
            torch.rand(3)  # what is drawn between the passes is no concern of dropout's
            out.float().square().mean().backward()
        return out.detach(), [p.grad.clone() for p in network.parameters()], total

    run.network = network
    return run


@pytest.mark.parametrize("bf16", [False, True])
def test_gradients_are_the_same(passed, bf16):
    out, gradients, _ = passed(False, bf16)
    again, same, _ = passed(True, bf16)
    assert torch.equal(out, again)
    assert any(g.abs().max() > 1e-6 for g in gradients)
    largest = max(float(g.abs().max()) for g in gradients)
    for one, other in zip(gradients, same, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6 * largest)


def test_fewer_bytes_are_kept(passed):
    parameters = sum(p.numel() * p.element_size() for p in passed.network.parameters())
    plain, checkpointed = passed(False)[2], passed(True)[2]
    assert checkpointed < plain
    assert checkpointed - parameters < 0.6 * (plain - parameters)


def test_nothing_is_recomputed_where_no_gradient_is_asked_for(passed, monkeypatch):
    def refuse(*args, **settings):
        raise AssertionError("nothing to checkpoint")

    monkeypatch.setattr("scorefield.nets.base.checkpoint", refuse)
    with pytest.raises(AssertionError, match="nothing to checkpoint"):
        passed(True)
    network, one = passed.network, torch.ones(2, requires_grad=True)
    with torch.no_grad():
        assert network.through(torch.nn.Identity(), one).equal(one)
    network.eval()
    assert network.through(torch.nn.Identity(), one).equal(one)
