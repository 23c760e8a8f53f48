"""Networks: any size of image, what labels do, and how a fresh one starts."""

import dataclasses

import pytest
import torch
from torch import nn

from scorefield.errors import InputError
from scorefield.nets import layers
from scorefield.nets.mlp import MLPConfig
from scorefield.nets.scorenet import ScoreNetConfig
from scorefield.nets.unet import UNetConfig

UNET = UNetConfig(width=8, heads=2)
IMAGE_NETS = {
    "unet": UNET,
    "unet-1-level": UNetConfig(width=8, multipliers=(1,), attention=(), heads=2),
    "unet-3-levels": UNetConfig(width=8, multipliers=(1, 1, 2), attention=(0, 2), heads=2),
    "unet-4-levels": UNetConfig(width=8, multipliers=(1, 1, 1, 2), attention=(), blocks=2),
    "unet-pixels": UNetConfig(width=8, multipliers=(1, 2), attention=(), patch=1),
    "unet-fourier": UNetConfig(width=8, heads=2, embedding="fourier", patch=3),
    "scorenet": ScoreNetConfig(conditional=True),
}
NETS = {**IMAGE_NETS, "mlp": MLPConfig(width=16, depth=2)}
SHAPES = [(1, 28, 28), (3, 17, 31), (1, 1, 40), (2, 5, 1)]


def awake(config, shape, classes, seed=0):
    """A network whose layers that start as zero are not zero any more."""
    torch.manual_seed(seed)
    network = config.build(shape, classes)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return network.eval()


def inputs(shape, count=2):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, *shape, generator=generator)
    return x, torch.linspace(-1, 1, count)


every_net = pytest.mark.parametrize("config", NETS.values(), ids=NETS.keys())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_net
def test_any_size_and_channels(config, shape):
    network = awake(config, shape, 0)
    x, c_noise = inputs(shape)
    out = network(x, c_noise)
    assert out.shape == x.shape
    assert out.std() > 0
    out.square().mean().backward()
    unused = [name for name, p in network.named_parameters() if p.grad is None]
    assert unused == []


@every_net
def test_every_sample_is_computed_for_itself(config):
    network = awake(config, (1, 12, 12), 3)
    x, c_noise = inputs((1, 12, 12), 3)
    label = torch.tensor([0, -1, 2])
    together = network(x, c_noise, label)
    for i in range(3):
        alone = network(x[i : i + 1], c_noise[i : i + 1], label[i : i + 1])
        assert torch.allclose(alone[0], together[i], atol=1e-4)


@every_net
def test_the_noise_level_matters(config):
    network = awake(config, (1, 12, 12), 0)
    x, c_noise = inputs((1, 12, 12))
    assert not torch.allclose(network(x, c_noise), network(x, c_noise + 0.3), atol=1e-4)


@every_net
def test_labels(config):
    network = awake(config, (1, 12, 12), 3)
    x, c_noise = inputs((1, 12, 12))
    free = network(x, c_noise)
    assert torch.equal(network(x, c_noise, torch.tensor([-1, -1])), free)
    of_class = [network(x, c_noise, torch.full((2,), k)) for k in range(3)]
    for k, one in enumerate(of_class):
        for other in [free, *of_class[k + 1 :]]:
            assert not torch.allclose(one, other, atol=1e-4)


@every_net
def test_unconditional_networks_have_no_label_table(config):
    plain = dataclasses.replace(config, conditional=False)
    for network in (plain.build((1, 12, 12), 3), config.build((1, 12, 12), 0)):
        assert not any(isinstance(module, nn.Embedding) for module in network.modules())
    x, c_noise = inputs((1, 12, 12))
    network = awake(plain, (1, 12, 12), 3)
    assert torch.equal(network(x, c_noise), network(x, c_noise, torch.tensor([0, 1])))


@every_net
def test_what_was_done_to_the_data(config):
    plain = awake(config, (1, 12, 12), 3)
    torch.manual_seed(0)
    network = config.build((1, 12, 12), 3, augment=4)
    (extra,) = network.state_dict().keys() - plain.state_dict().keys()  # one weight more
    assert network.state_dict()[extra].any()
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    x, c_noise = inputs((1, 12, 12))
    label = torch.tensor([0, -1])
    untouched = network(x, c_noise, label)
    told = torch.eye(4)[:2]
    assert torch.equal(network(x, c_noise, label, augment=torch.zeros(2, 4)), untouched)
    for numbers in (told, -told, told.flip(0)):
        assert not torch.allclose(network(x, c_noise, label, augment=numbers), untouched, atol=1e-4)
    assert torch.equal(plain(x, c_noise, label, augment=told), plain(x, c_noise, label))


def test_scorenet_has_the_parameters_of_the_tutorial():
    # Derived layer by layer from the tutorial's network: embedding 256·256 + 256, dense layers
    # 257·(32 + 64 + 128 + 256 + 128 + 64 + 32), norms 2·(the same), and the 3×3 kernels.
    features = 32 + 64 + 128 + 256 + 128 + 64 + 32
    kernels = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256)
    kernels += 9 * (256 * 128 + 256 * 64 + 128 * 32 + 64 * 1)
    derived = 256 * 256 + 256 + 257 * features + 2 * features + kernels
    assert derived == 1_115_296
    network = ScoreNetConfig().build((1, 28, 28), 0)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == derived
    fixed = dict(network.named_buffers())
    assert [tuple(buffer.shape) for buffer in fixed.values()] == [(128,)]


def test_scorenet_takes_digits_without_padding(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("padded")

    monkeypatch.setattr(layers.functional, "pad", refuse)
    network = ScoreNetConfig().build((1, 28, 28), 0)
    assert network(*inputs((1, 28, 28))).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("name", ["unet", "unet-fourier", "mlp"])
def test_a_fresh_network_says_nothing(name):
    torch.manual_seed(0)
    network = NETS[name].build((1, 12, 12), 3)
    x, c_noise = inputs((1, 12, 12))
    assert not network(x, c_noise, torch.tensor([0, 2])).any()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 17, 31)], ids=str)
@pytest.mark.parametrize("name", ["unet", "scorenet"])
def test_bfloat16_and_channels_last_say_nearly_the_same(name, shape):
    network = awake(NETS[name], shape, 3)
    x, c_noise = inputs(shape)
    label = torch.tensor([0, 2])
    with torch.no_grad():
        plain = network(x, c_noise, label)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(x, c_noise, label).float()
        network.to(memory_format=torch.channels_last)
        inner = network(x.to(memory_format=torch.channels_last), c_noise, label)
    assert torch.allclose(inner, plain, atol=1e-4 * float(plain.abs().max()))
    # bfloat16 keeps 8 bits: 2⁻⁸ a layer
    assert (rough - plain).norm() < 0.05 * plain.norm()
    assert not torch.equal(rough, plain)


def test_dropout_is_of_training_only():
    for config in (UNetConfig(width=8, heads=2, dropout=0.5), MLPConfig(width=16, dropout=0.5)):
        network = awake(config, (1, 12, 12), 0)
        x, c_noise = inputs((1, 12, 12))
        assert torch.equal(network(x, c_noise), network(x, c_noise))
        network.train()
        assert not torch.equal(network(x, c_noise), network(x, c_noise))


def test_attention_is_where_it_is_asked_for():
    def count(config):
        return sum(isinstance(m, layers.Attention) for m in config.build((1, 8, 8), 0).modules())

    base = dataclasses.replace(UNET, multipliers=(1, 1, 1), blocks=2)
    assert count(dataclasses.replace(base, attention=())) == 0
    # two blocks down and two up at a level; the one in the middle belongs to the coarsest
    assert count(dataclasses.replace(base, attention=(0,))) == 4
    assert count(dataclasses.replace(base, attention=(0, 2))) == 9


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: UNetConfig(width=0), "width must be at least 1, got 0"),
        (lambda: UNetConfig(blocks=0), "blocks must be at least 1, got 0"),
        (lambda: UNetConfig(heads=0), "heads must be at least 1, got 0"),
        (lambda: UNetConfig(patch=-1), "patch must be at least 1, got -1"),
        (lambda: UNetConfig(multipliers=()), r"multipliers must be .* above 0, got \(\)"),
        (lambda: UNetConfig(multipliers=(1, 0)), r"multipliers must be .* got \(1, 0\)"),
        (lambda: UNetConfig(attention=(2,)), "level 2 does not exist; there are levels 0 to 1"),
        (lambda: UNetConfig(attention=(-1,)), "level -1 does not exist"),
        (lambda: UNetConfig(heads=5, attention=(1,)), "heads must divide the 96 channels"),
        (lambda: UNetConfig(dropout=1.0), "dropout must lie from 0 to below 1, got 1.0"),
        (lambda: MLPConfig(width=0), "width must be at least 1, got 0"),
        (lambda: MLPConfig(depth=0), "depth must be at least 1, got 0"),
        (lambda: MLPConfig(dropout=-0.1), "dropout must lie from 0 to below 1, got -0.1"),
        (lambda: ScoreNetConfig(scale=0.0), "scale must be above 0, got 0.0"),
        (lambda: ScoreNetConfig(scale=float("nan")), "scale must be above 0, got nan"),
        (lambda: UNetConfig().build((2,), 0), r"needs images \(C, H, W\), got .* \(2,\); try mlp"),
        (lambda: ScoreNetConfig().build((2,), 0), r"needs images .* shape \(2,\); try mlp"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_the_decoder_gets_the_encoders_maps():
    network, fine, given = awake(UNET, (1, 12, 12), 0), {}, {}
    for k, (down, up) in enumerate(zip(network.down, network.up, strict=True)):
        down.register_forward_hook(lambda m, i, out, k=k: fine.update({k: out}))
        up.register_forward_pre_hook(lambda m, i, k=k: given.update({k: i[0]}))
    network(*inputs((1, 12, 12)))
    assert fine.keys() == given.keys()
    assert len(fine) == len(UNET.multipliers)
    for k, skip in fine.items():
        assert torch.equal(given[k][:, -skip.shape[1] :], skip)
