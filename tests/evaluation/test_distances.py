"""Nearest neighbours against scikit-learn."""

import pytest
import torch

from scorefield.errors import InputError
from scorefield.evaluation import distances, nearest


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("entries", [300, 2**22])  # many small blocks, and one
def test_against_sklearn(entries, monkeypatch):
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr(distances, "ENTRIES", entries)
    x, to = draw(83, 5, seed=1) + 1e4, draw(147, 5, seed=2) + 1e4
    found = nearest(x, to, k=7)
    distance, row = (
        NearestNeighbors(n_neighbors=7, algorithm="brute").fit(to - 1e4).kneighbors(x - 1e4)
    )
    assert torch.allclose(found.distance, torch.from_numpy(distance), rtol=1e-9)
    assert torch.equal(found.row, torch.from_numpy(row))


def test_images_and_copies():
    images = torch.randint(0, 256, (200, 3, 6, 5), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    rows = torch.tensor([17, 3, 199])
    found = nearest(images[rows], images, k=2)
    assert torch.equal(found.row[:, 0], rows)
    assert torch.equal(found.distance[:, 0], torch.zeros(3).double())
    apart = (images[rows].long() - images[found.row[:, 1]].long()).flatten(1).double().norm(dim=1)
    assert torch.allclose(found.distance[:, 1], apart)


def test_copies_far_from_the_origin_in_float32():
    x = draw(300, 20).float() + 1000
    assert torch.equal(nearest(x, x).distance, torch.zeros(300, 1).double())


@pytest.mark.parametrize("entries", [1, 60, 10**6])
def test_blocks_are_all_rows_and_bounded(entries, monkeypatch):
    monkeypatch.setattr(distances, "ENTRIES", entries)
    parts = list(distances.row_blocks(100, 7))
    assert torch.equal(torch.cat([torch.arange(100)[p] for p in parts]), torch.arange(100))
    assert all((p.stop - p.start) * 7 <= max(entries, 7) for p in parts)
    assert list(distances.row_blocks(0, 7)) == []


def test_no_rows():
    found = nearest(torch.empty(0, 3), torch.ones(4, 3), k=2)
    assert found.distance.shape == found.row.shape == (0, 2)


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        (torch.ones(2, 4), 1, r"equal shape, got \(4,\) and \(3,\)"),
        (torch.ones(2, 3), 6, "1 to 5, the number of rows, got 6"),
        (torch.ones(2, 3), 0, "got 0"),
    ],
)
def test_what_has_no_neighbours(x, k, message):
    with pytest.raises(InputError, match=message):
        nearest(x, torch.ones(5, 3), k=k)
