"""How the network computes is chosen by measuring, and only as far as measuring pays."""

import time

import pytest
import torch
from torch import nn

from scorefield.nets.base import Network
from scorefield.nets.engine import Engine
from scorefield.nets.scorenet import ScoreNetConfig
from scorefield.nets.unet import UNetConfig
from scorefield.recipes import Training
from scorefield.training import Trainer
from scorefield.training.engine import disagreement, measured, trials

FP32, BF16 = Engine("fp32", channels_last=True), Engine("bf16", channels_last=True)


class Small(Network):
    """Layers one after the other."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)


@pytest.fixture
def network(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda self, **settings: None)
    return Small(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))


def engines(network, remaining, **settings):
    found = trials(Training(**settings), network, lambda engine: None, lambda seconds: remaining)
    return [trial.engine for trial in found]


@pytest.mark.parametrize(
    ("remaining", "settings", "expected"),
    [
        (1e9, {"precision": "fp32", "compile": "off"}, {FP32}),
        (1e9, {"precision": "bf16", "compile": "off"}, {BF16}),
        (20, {}, {FP32}),
        (60, {}, {FP32, Engine("fp32", channels_last=False), BF16}),
        (60, {"compile": "off"}, {FP32, Engine("fp32", channels_last=False), BF16}),
        (60, {"precision": "fp32"}, {FP32}),
    ],
)
def test_what_is_tried(network, remaining, settings, expected):
    found = engines(network, remaining, **settings)
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("remaining", "compile_", "tried"),
    [
        (200, "auto", [False, False, True]),
        (60, "auto", [False]),
        (1, "on", [False, True]),
        (200, "off", [False]),
    ],
)
def test_compiling_is_tried_where_it_may_pay(network, remaining, compile_, tried):
    found = engines(network, remaining, precision="bf16", compile=compile_)
    assert [engine.compiled for engine in found] == tried


def test_compiling_is_tried_on_the_fastest(network):
    def run(engine):
        time.sleep(0.002 if engine.precision == "bf16" else 0.02)

    *_, last = trials(Training(), network, run, lambda seconds: 1e9)
    assert last.engine == Engine("bf16", channels_last=True, compiled=True)


def test_compiled_and_eager_are_compared_in_turns(network):
    """A machine that slows down all the while would make whichever came first the best."""
    passes = []
    found = trials(
        Training(precision="bf16"),
        network,
        lambda engine: passes.append(engine.compiled),
        lambda seconds: 1e9,
    )
    assert [trial.engine.compiled for trial in found] == [False, False, True]
    assert passes[-20:] == [False, True] * 10


def test_points_have_no_channels():
    network = Small(nn.Linear(2, 2))
    assert engines(network, 1, precision="fp32") == [Engine("fp32", channels_last=False)]


def test_time_is_the_median_without_the_first(network):
    waits = iter([0.05, 0.001, 0.03, 0.01])
    trial = measured(FP32, network, lambda engine: time.sleep(next(waits)), n=3)
    assert trial.preparation >= 0.05
    assert 0.01 <= trial.seconds < 0.03
    assert trial.failure == ""


@pytest.mark.parametrize(
    ("waits", "passes"),
    [([0.03, 0.03, 0.03], 3), ([0.03, 0.03, 0.001, *[0.03] * 8], 11), ([0.03] * 2 + [0] * 9, 11)],
)
def test_a_hopeless_way_is_not_timed_to_the_end(network, waits, passes):
    """Without arithmetic of its own bfloat16 takes a processor ten times as long, for minutes."""
    left = iter(waits)
    measured(BF16, network, lambda engine: time.sleep(next(left)), best=0.01)
    assert len(waits) - len(list(left)) == passes


def test_only_the_compiler_may_fail(network):
    def fail(engine):
        raise RuntimeError("out of memory\nand more")

    trial = measured(Engine(compiled=True), network, fail)
    assert (trial.seconds, trial.failure) == (float("inf"), "RuntimeError: out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        measured(FP32, network, fail)


def test_an_engine_lays_out_the_network(network):
    FP32.apply(network)
    assert network.layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    Engine().apply(network)
    assert network.layers[0].weight.is_contiguous()
    x = torch.ones(2, 2)
    for engine, dtype in ((BF16, torch.bfloat16), (FP32, torch.float32)):
        with engine.autocast(torch.device("cpu")):
            assert (x @ x).dtype == dtype


def test_engines_in_words():
    assert str(Engine()) == "fp32, contiguous, eager"
    assert str(Engine("bf16", True, True)) == "bf16, channels-last, compiled"


def test_compiled_code_that_gives_wrong_gradients_is_refused(tmp_path, recipe, monkeypatch):
    """The values are right and the gradients a tenth of what they should be."""

    def wrong(module, **settings):
        def call(*words, **named):
            right = module._call_impl(*words, **named)
            return right.detach() + 0.1 * (right - right.detach())

        module._compiled_call_impl = call

    monkeypatch.setattr(torch.nn.Module, "compile", wrong)
    trainer = Trainer(recipe("images"), tmp_path / "run")
    before = {n: p.detach().clone() for n, p in trainer.run.network.named_parameters()}
    trial = measured(Engine(compiled=True), trainer.run.network, trainer.run.dry_run)
    assert "gradient of" in trial.failure
    assert trial.seconds == float("inf")
    assert all(torch.equal(before[n], p) for n, p in trainer.run.network.named_parameters())
    assert trainer.run.network._compiled_call_impl is None


def test_compiled_code_that_gives_right_gradients_is_used(tmp_path, recipe, monkeypatch):
    def same(module, **settings):
        module._compiled_call_impl = module._call_impl

    monkeypatch.setattr(torch.nn.Module, "compile", same)
    trainer = Trainer(recipe("images"), tmp_path / "run")
    trial = measured(Engine(compiled=True), trainer.run.network, trainer.run.dry_run)
    assert trial.failure == ""
    assert trial.seconds < float("inf")


def test_other_dropout_masks_are_no_wrong_gradients(network):
    """Compilers draw masks of their own, as here the second pass does."""
    network.layers.append(nn.Dropout(0.9))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, 4, 4, generator=generator)
    asleep = []

    def run(engine):
        network.zero_grad(set_to_none=True)
        asleep.append(not network.layers[-1].training)
        network.layers(x).square().sum().backward()

    assert disagreement(Engine(compiled=True), network, run) == ""
    assert asleep == [True, True]
    assert network.layers[-1].training


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it first compiles
@pytest.mark.parametrize(
    "config",
    [UNetConfig(width=16), UNetConfig(width=16, attention=(1,), patch=1), ScoreNetConfig()],
    ids=["unet", "unet with attention", "scorenet"],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)], ids=["gray", "colour"])
def test_what_the_compiler_makes_of_it_is_right(config, shape):
    """torch 2.13 has compiled gradients to zeros here: of its own upsampling, in bfloat16.

    And it fails on a second shape of images in one process, when it tries to compile for any shape.
    """
    torch.manual_seed(0)
    network = config.build(shape, classes=0)
    engine = Engine("bf16", channels_last=True, compiled=True)
    x, c_noise, target = torch.randn(8, *shape), torch.randn(8), torch.randn(8, *shape)

    def run(engine):
        network.zero_grad(set_to_none=True)
        with engine.autocast(x.device):
            out = network(x, c_noise)
        nn.functional.mse_loss(out.float(), target).backward()

    engine.apply(network)
    run(engine)
    assert disagreement(engine, network, run) == ""
