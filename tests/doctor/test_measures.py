"""What is measured, against other libraries and closed forms."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from scorefield.data import blocks
from scorefield.data.base import Data, described
from scorefield.data.toy import Moons
from scorefield.doctor import Examination
from scorefield.doctor.distances import largest_distance
from scorefield.doctor.scan import Scanner, mirror_gap
from scorefield.errors import InputError


def scanned(data):
    reader = Scanner(data)
    shares = list(reader)
    assert shares[-1] == 1.0
    return reader.scan


def test_a_walk_in_small_blocks_measures_what_numpy_does(pictures, monkeypatch):
    x = pictures(31, channels=3, side=16)
    data = described(x)
    monkeypatch.setattr(blocks, "NUMBERS", 5000)  # six images a block
    found = scanned(data)
    real = x.double().numpy() / 255 * 2 - 1
    assert found.std == pytest.approx(real.std(axis=(0, 2, 3)), rel=1e-6)
    assert (found.low, found.high) == (x.min(), x.max())
    assert found.levels.tolist() == np.bincount(x.numpy().ravel(), minlength=256).tolist()
    mean = real.mean(axis=(0, 2, 3), keepdims=True)
    radius = np.linalg.norm((real - mean).reshape(31, -1), axis=1)
    assert found.radius.numpy() == pytest.approx(radius, rel=1e-5)
    likeness = np.corrcoef(real.mean(axis=1).reshape(31, -1))  # of gray images
    assert (found.thumbs @ found.thumbs.T).numpy() == pytest.approx(likeness, abs=1e-5)


@pytest.mark.parametrize("make", [Moons(size=500).load, lambda: None], ids=["moons", "images"])
def test_the_largest_distance_is_scipys(make, pictures):
    data = make() or described(pictures(60))
    x = data.batch(torch.arange(len(data)))[0].flatten(1).double().numpy()
    every = pdist(x)
    found = largest_distance(data, scanned(data).radius)
    assert found.exact
    assert found.value == pytest.approx(every.max(), rel=1e-6)
    assert squareform(every)[found.pair] == pytest.approx(every.max(), rel=1e-6)


def test_a_part_of_the_samples_bounds_the_largest_distance_from_both_sides(pictures):
    data = described(pictures(300))
    true = pdist(data.batch(torch.arange(300))[0].flatten(1).double().numpy()).max()
    radius = scanned(data).radius
    for limit in (2, 20, 100, 299):
        found = largest_distance(data, radius, limit)
        assert found.compared == limit
        assert found.value <= true * (1 + 1e-6)
        assert found.bound >= true * (1 - 1e-6)


def test_few_of_the_furthest_can_be_enough():
    # a cloud of radius 1 and two points at ±10: no other pair can be as far apart
    angle = torch.linspace(0, 6, 100)
    x = torch.stack([angle.cos(), angle.sin()], dim=1)
    x = torch.cat([x, torch.tensor([[10.0, 0.0], [-10.0, 0.0]])])
    found = largest_distance(described(x, levels=None, low=None, high=None), x.norm(dim=1), 3)
    assert (found.value, found.pair, found.exact) == (20.0, (100, 101), True)


def test_the_mirror_gap_of_noise_is_none_and_of_an_edge_is_its_height(generator):
    noise = torch.randn(400, 1, 32, 32, generator=generator, dtype=torch.float64)
    assert mirror_gap(noise.mean(0), 1.0, 400) < 0.03
    edge = torch.ones(1, 4, 6, dtype=torch.float64)
    edge[..., 3:] = -1  # everywhere 2 from its mirror image
    assert mirror_gap(edge, 0.5, 10**9) == pytest.approx(4.0)


def test_histograms_count_what_numpy_counts(pictures, examined):
    x = pictures(40, channels=3)
    found = examined(x).histogram
    for channel in range(3):
        counts = np.bincount(x[:, channel].numpy().ravel(), minlength=256)
        assert found.counts[channel].tolist() == counts.tolist()
    assert found.edges[:2].tolist() == [-0.5, 0.5]
    points = Moons(size=300).load().x
    found = examined(points, levels=None, low=None, high=None).histogram
    for column in range(2):
        counts, _ = np.histogram(points[:, column], bins=found.edges.numpy())
        assert np.abs(found.counts[column].numpy() - counts).sum() <= 2  # a value on an edge
    assert found.counts.sum(1).tolist() == [300, 300]


def test_a_large_set_is_counted_evenly_spaced(pictures, examined, monkeypatch):
    monkeypatch.setattr("scorefield.doctor.histogram.NUMBERS", 400 * 10)
    x = pictures(50)
    found = examined(x).histogram
    assert found.samples == 10
    assert found.counts[0].tolist() == np.bincount(x[::5].numpy().ravel(), minlength=256).tolist()


@dataclass(frozen=True, kw_only=True)
class Watched(Data):
    """Data made when they are asked for, which remember the largest request."""

    count: int
    most: list[int]

    def __len__(self):
        return self.count

    def stored(self, indices):
        self.most[0] = max(self.most[0], len(indices))
        rows = torch.arange(64 * 64).reshape(1, 64, 64) + 7 * indices[:, None, None]
        return ((rows * rows) % 251).to(torch.uint8)[:, None]


def test_data_from_a_disk_are_read_in_parts(monkeypatch):
    monkeypatch.setattr(blocks, "NUMBERS", 2**16)
    spec = described(torch.arange(128, dtype=torch.uint8).reshape(2, 1, 8, 8)).spec
    spec = type(spec)((1, 64, 64), mean=spec.mean, sigma_data=spec.sigma_data)
    data = Watched(label=None, spec=spec, count=600, most=[0])
    list(Scanner(data))
    assert data.most == [16]
    largest_distance(data, torch.rand(600))
    assert data.most[0] <= 256


def test_stages_grow_to_the_whole(pictures, examined):
    shares = [stage.share for stage in Examination(Moons(size=50))]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    x = pictures(2)
    assert math.isfinite(examined(x).distance.value)
    with pytest.raises(InputError, match="at least 2 samples, got 1"):
        examined(x[:1])
