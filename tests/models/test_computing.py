"""How a model computes: precision where it belongs, one compiled shape, and nothing used unseen."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from scorefield.errors import InputError
from scorefield.models import computing
from scorefield.models.computing import BATCH, Computing, batch_for, computed, operations
from scorefield.nets.engine import Computed, Engine
from scorefield.recipes import Sampling
from scorefield.samplers.exponential import DPMSolverPP
from scorefield.samplers.runge_kutta import DormandPrinceFlow

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
COMPILED = Engine(compiled=True)

# torch's own, when it first compiles
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Weighted(nn.Module):
    """Rows times a matrix, and what else it was given."""

    def __init__(self, size=3):
        super().__init__()
        self.matrix = nn.Linear(size, size, bias=False)

    def forward(self, x, c_noise, label=None):
        shift = c_noise if label is None else c_noise + label
        return self.matrix(x) + shift[:, None]


@pytest.fixture
def graphs(monkeypatch):
    """torch.compile without code to generate: the graphs that it was asked for."""
    found = []

    def backend(graph, given):
        found.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    yield found
    torch.compiler.reset()


@pytest.fixture
def unchanged(monkeypatch):
    """A compiler that does nothing."""
    failing(monkeypatch, lambda network: network)


def failing(monkeypatch, make):
    monkeypatch.setattr(torch, "compile", lambda network, **settings: make(network))


@pytest.mark.parametrize(("name", "word"), [("precision", "fp8"), ("compile", "yes")])
def test_other_words_are_refused(name, word):
    with pytest.raises(InputError, match=f"{name}.*{word}"):
        Computing(**{name: word})


def test_auto_is_bf16_for_images_where_the_machine_has_it(monkeypatch):
    shapes, auto = {"image": (1, 8, 8), "row": (2,)}, Computing("auto", "auto")
    for has, expected in ((True, ("bf16", "fp32")), (False, ("fp32", "fp32"))):
        monkeypatch.setattr(computing, "has_bf16", lambda device, has=has: has)
        assert tuple(auto.engine(s, CPU).precision for s in shapes.values()) == expected
    assert not auto.engine((2,), CPU).compiled  # only when it is known for how much


def test_a_batch_has_so_many_pixels():
    sides = (8, 16, 28, 32, 64, 128, 256, 512)
    rows = [batch_for((3, side, side), CPU) for side in sides]
    assert rows == [256, 256, 64, 64, 16, 4, 1, 1]
    assert batch_for((1, 28, 28), CUDA) == batch_for((2,), CPU) == BATCH
    assert batch_for((3, 128, 128), CUDA) == 64


def test_compiled_code_is_for_one_shape(graphs):
    torch.manual_seed(0)
    network = Weighted()
    way = Computed(network, COMPILED, rows=4)
    with torch.no_grad():
        for n in (4, 3, 9, 2, 1, 4, 1):
            x, c, label = torch.randn(n, 3), torch.linspace(-1, 1, n), torch.arange(n)
            assert torch.allclose(way(x, c, label), network(x, c, label), atol=1e-6)
            # times may be one number seen as many, and states a view
            seen = way(x.T.contiguous().T, c[:1].expand(n), label)
            assert torch.allclose(seen, network(x, c[:1].expand(n), label), atol=1e-6)
    assert len(graphs) == 2  # of a whole batch, and of one row


@pytest.mark.usefixtures("unchanged")
def test_batches_are_filled_up():
    network, seen = Weighted(), []
    network.register_forward_hook(lambda m, given, out: seen.append(len(given[0])))
    way = Computed(network, COMPILED, rows=4)
    x = torch.randn(9, 3)
    assert torch.equal(way(x, torch.zeros(9)), network(x, torch.zeros(9)))
    way(x[:2], torch.zeros(2))
    way(x[:1], torch.zeros(1))
    assert seen == [4, 4, 4, 9, 4, 1]


@pytest.mark.usefixtures("unchanged")
def test_the_network_is_left_as_it_is(images):
    before = list(images.denoiser.network.state_dict())
    model = replace(images, computing=Computing("bf16", "on"))
    model.sample(3, steps=2)
    assert list(model.denoiser.network.state_dict()) == before
    assert model.denoiser is images.denoiser


def test_only_the_network_computes_in_bf16(images):
    seen = []
    denoiser = computed(images.denoiser, Engine("bf16"), 4)
    layer = images.denoiser.network.head
    hook = layer.register_forward_hook(lambda m, given, out: seen.append(out.dtype))
    x, t = torch.randn(2, *images.spec.shape), torch.tensor(0.5, dtype=torch.float64)
    with torch.no_grad():
        low = denoiser(x, t, label=torch.tensor([0, 1]))
        high = images.denoiser(x, t, label=torch.tensor([0, 1]))
    hook.remove()
    assert seen == [torch.bfloat16, torch.float32]
    assert low.dtype == high.dtype == torch.float32
    assert not torch.equal(low, high)
    assert float((low - high).norm() / high.norm()) < 0.02  # bfloat16 has 8 bits
    # what the network's output is multiplied with was not rounded
    assert not torch.equal(low, low.bfloat16().float())


@pytest.mark.usefixtures("unchanged")
def test_samples_are_the_same_to_the_precision(images):
    ask = {"steps": 4, "seed": 3}
    exact, spread = images.sample(5, **ask), images.spec.sigma_data
    for precision, tolerance in (("fp32", 1e-5), ("bf16", 0.03)):
        for word in ("off", "on"):
            way = replace(images, computing=Computing(precision, word))
            together = way.sample(5, **ask)
            assert float((together - exact).square().mean().sqrt()) < tolerance * spread
            alone = way.sample(1, **ask, first=3)
            assert float((alone - together[3:4]).abs().max()) < 3 * tolerance * spread


@pytest.mark.usefixtures("unchanged")
def test_compiling_is_for_large_requests(images):
    model = replace(images, computing=Computing("auto", "auto"))
    each = operations(images.denoiser.network, images.spec.shape, images.classes)
    enough = computing.worth() / each
    sampling = Sampling(sampler=DPMSolverPP(), steps=10)
    for n, word in ((int(0.09 * enough), "off"), (int(0.11 * enough), "on")):
        settled = model.settled(n, sampling)
        assert settled.computing == Computing("auto", word)
        assert settled.engine.compiled == (word == "on")
        assert settled.settled(1, sampling) is settled
    own_steps = replace(sampling, sampler=DormandPrinceFlow())
    assert model.settled(int(0.03 * enough), own_steps).computing.compile == "on"


def test_operations_are_counted():
    assert operations(Weighted(5), (5,), 0) == 2 * 5 * 5


def broken(network):
    def call(*given, **known):
        raise RuntimeError("no compiler\nat all")

    return call


def wrong(network):
    return lambda x, c_noise, label=None: 1.5 * network(x, c_noise, label=label)


@pytest.mark.parametrize(
    ("make", "reason"),
    [(broken, "RuntimeError: no compiler"), (wrong, "its output is wrong by 50.0%")],
)
def test_code_that_fails_is_not_used(images, monkeypatch, make, reason):
    failing(monkeypatch, make)
    monkeypatch.setattr(computing, "WORTH", 0)
    auto = replace(images, computing=Computing("fp32", "auto"))
    assert torch.equal(auto.sample(3), images.sample(3))
    with pytest.raises(InputError, match="the network cannot be compiled") as error:
        replace(images, computing=Computing("fp32", "on")).sample(3)
    assert reason in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_compiled_code_draws_the_same_samples(images, points, precision):
    torch.compiler.reset()
    for model in (images, points):
        eager = replace(model, computing=Computing(precision, "off")).sample(7, seed=2)
        way = replace(model, computing=Computing(precision, "on"))
        tolerance = {"fp32": 1e-4, "bf16": 0.05}[precision] * model.spec.sigma_data
        for found in (way.sample(7, seed=2), way.sample(7, seed=2, batch=2)):
            assert float((found - eager).abs().max()) < tolerance
