"""Noise with a stream for each sample: the same image in any batch."""

import pytest
import torch

from scorefield.core.denoisers import Denoiser
from scorefield.core.moments import moments_of
from scorefield.core.oracles import GaussianDenoiser
from scorefield.core.schedules import VP
from scorefield.errors import InputError
from scorefield.recipes.catalog import SAMPLERS
from scorefield.samplers.ancestral import DDIM
from scorefield.samplers.base import sample
from scorefield.samplers.flow import Heun
from scorefield.samplers.noise import seeded, stream, unseeded
from scorefield.samplers.residual import GaussianResidual
from scorefield.samplers.restart import Restart


class Elementwise(Denoiser):
    """Made of additions, multiplications and divisions, which round alike in any batch."""

    def forward(self, x, t, **cond):
        return x / (1 + x * x)


@pytest.mark.parametrize(
    "sampler",
    [*(kind() for kind in SAMPLERS.values()), DDIM(eta=1.0), Heun(churn=5.0)],
    ids=repr,
)
def test_sample_17_is_the_same_alone_and_among_100(sampler):
    denoiser = Elementwise(VP(), moments_of(torch.zeros(3), torch.diag(torch.tensor([1.0, 2, 3]))))
    many = sample(denoiser, (100, 3), sampler, 6, noise=seeded(4, range(100)))
    alone = sample(denoiser, (1, 3), sampler, 6, noise=seeded(4, [17]))
    # A change of basis is a matrix product, which may round otherwise in another batch.
    tolerance = 1e-6 if sampler == GaussianResidual() else 0
    assert (alone[0] - many[17]).abs().max() <= tolerance
    assert not torch.equal(many[16], many[17])


def test_seed_0_is_used_if_none_is_given():
    denoiser = Elementwise(VP())
    given = sample(denoiser, (3, 2), DDIM(), 4, noise=seeded(0, range(3)))
    assert torch.equal(sample(denoiser, (3, 2), DDIM(), 4), given)


def test_fresh_noise_is_not_that_of_a_state_drawn_before():
    """Restart adds noise for the first time late: the same numbers twice widen the law by a fifth."""
    schedule, count = VP(), 4000
    exact = GaussianDenoiser(schedule, torch.zeros(1), torch.eye(1))
    state = schedule.sigma(torch.ones(())) * seeded(0, range(count))(torch.zeros(count, 1).double())
    spread = float(sample(exact, state, Restart(), 20).std())
    assert spread == pytest.approx(1.0, abs=4 / (2 * count) ** 0.5)


def test_noise_is_fixed_by_seed_and_index():
    like = torch.zeros(2, 5)
    assert torch.equal(seeded(1, [3, 4])(like), seeded(1, [3, 4])(like))
    assert torch.equal(seeded(1, [3, 4])(like), seeded(1, [4, 3])(like).flip(0))
    assert not torch.equal(seeded(1, [3, 4])(like), seeded(2, [3, 4])(like))
    # seed and index are not interchangeable: sample 2 of seed 1 is not sample 1 of seed 2
    assert not torch.equal(seeded(1, [2])(like[:1]), seeded(2, [1])(like[:1]))


def test_successive_draws_differ_and_have_the_states_shape_and_dtype():
    noise = seeded(0, range(2))
    first, second = noise(torch.zeros(2, 1, 4, 4)), noise(torch.zeros(2, 1, 4, 4))
    assert not torch.equal(first, second)
    assert first.shape == (2, 1, 4, 4)
    assert first.dtype == torch.float32
    assert noise(torch.zeros(2, 3, dtype=torch.float64)).dtype == torch.float64


def test_neighbours_are_standard_normal_and_uncorrelated():
    """Over n numbers mean ± n^-½, mean square 1 ± (2/n)^½, correlation ± n^-½; 5 of each."""
    n = 20000
    like = torch.zeros(3, n, dtype=torch.float64)
    rows = torch.cat([seeded(0, range(3))(like), seeded(1, range(3))(like)])
    products = rows @ rows.T / n - torch.eye(6)
    assert (rows.mean(1).abs() < 5 / n**0.5).all()
    assert (products.diagonal().abs() < 5 * (2 / n) ** 0.5).all()
    assert ((products - products.diagonal().diag()).abs() < 5 / n**0.5).all()


def test_first_numbers_of_many_streams_are_uncorrelated():
    """Streams of neighbouring indices: the lag-1 correlation of n first numbers is 0 ± n^-½."""
    n = 2000
    first = seeded(0, range(n))(torch.zeros(n, 1, dtype=torch.float64))[:, 0]
    assert abs(float(first.mean())) < 5 / n**0.5
    assert abs(float((first[1:] * first[:-1]).mean())) < 5 / n**0.5


def test_streams_are_splitmix64():
    """The generator's published first outputs for seeds 0 and 1234567, without the last bit."""
    assert stream(0) == 0xE220A8397B1DCDAF >> 1
    assert stream(1234567) == 6457827717110365317 >> 1


def test_streams_differ_by_every_key_and_by_their_order():
    seeds = {stream(a, b) for a in range(100) for b in range(100)}
    assert len(seeds) == 10000
    assert all(0 <= s < 2**63 for s in seeds)
    assert 0 <= stream(-1, 2**70) < 2**63
    assert stream(1) != stream(1, 0)


def test_noise_for_another_batch_is_refused():
    with pytest.raises(InputError, match="noise for 3 samples was asked for 2"):
        seeded(0, range(3))(torch.zeros(2, 1))


def test_unseeded_noise_is_one_draw_of_its_generator():
    noise = unseeded(torch.Generator().manual_seed(3))
    expected = torch.Generator().manual_seed(3)
    for dtype in (torch.float64, torch.float32):
        draw = torch.randn(4, 2, generator=expected, dtype=dtype)
        assert torch.equal(noise(torch.zeros(4, 2, dtype=dtype)), draw)


@pytest.mark.parametrize("sampler", [DDIM(), DDIM(eta=1.0)], ids=repr)
def test_no_samples_are_none(points, sampler):
    assert sample(points(VP()), (0, 2), sampler, 3).shape == (0, 2)
