"""The moments of the training data, against numpy's, and in a trained model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from scorefield.core.moments import (
    CosineBasis,
    OwnBasis,
    PrincipalBasis,
    moments_from,
    white_moments,
)
from scorefield.data import blocks
from scorefield.data.base import described
from scorefield.data.streamed import Streamed
from scorefield.errors import InputError
from scorefield.models import load
from scorefield.training import Trainer, moments
from scorefield.training.moments import measured_moments


@pytest.fixture
def pictures(generator):
    """300 smooth pictures of 2 channels in 3 classes, the last of which is empty."""
    noise = torch.randn(300, 2, 5, 6, generator=generator)
    levels = (noise.cumsum(2).cumsum(3) * 8 + 120).clamp(0, 255).to(torch.uint8)
    return described(levels, torch.arange(300) % 2, classes=3)


def in_pixels(found, row):
    """Mean and covariance as they are in pixels."""
    like = torch.zeros(found.mean.shape[1], 2, 5, 6, dtype=torch.float64)
    axes = found.basis.samples(torch.eye(len(like), dtype=torch.float64), like).flatten(1)
    return found.mean[row] @ axes, axes.T @ torch.diag(found.variances[row]) @ axes


def test_principal_moments_are_mean_and_covariance(pictures):
    found = measured_moments(pictures)
    x = pictures.batch(torch.arange(300))[0].flatten(1).double().numpy()
    mean, covariance = in_pixels(found, -1)
    assert isinstance(found.basis, PrincipalBasis)
    assert np.allclose(mean, x.mean(0), atol=1e-5)
    assert np.allclose(covariance, np.cov(x.T, bias=True), atol=1e-5)
    assert found.sigma_data == pytest.approx(x.std(0).__pow__(2).mean() ** 0.5, rel=1e-5)


@pytest.mark.parametrize("principal", [1024, 10], ids=["principal", "cosines"])
def test_a_class_has_its_mean_and_its_variances_along_the_basis(pictures, principal, monkeypatch):
    monkeypatch.setattr(moments, "PRINCIPAL", principal)
    found = measured_moments(pictures)
    assert isinstance(found.basis, PrincipalBasis if principal > 60 else CosineBasis)
    x, label = pictures.batch(torch.arange(300))
    own = found.basis.coordinates(x[label == 1].double())
    assert torch.allclose(found.mean[1], own.mean(0), atol=1e-4)
    assert torch.allclose(found.variances[1], own.var(0, correction=0), rtol=1e-3, atol=1e-5)
    # the empty class is taken for all data
    assert torch.equal(found.mean[2], found.mean[3])


@pytest.mark.parametrize("principal", [1024, 10], ids=["principal", "cosines"])
def test_many_samples_are_measured_on_representatives(pictures, principal, monkeypatch):
    monkeypatch.setattr(moments, "PRINCIPAL", principal)
    monkeypatch.setattr(blocks, "ENOUGH", 120)
    monkeypatch.setattr(blocks, "MANY", 0)
    monkeypatch.setattr(blocks, "NUMBERS", 7 * 60)
    chosen, asked = blocks.representatives(300, pictures.spec), []

    def decode(index):
        asked.append(index)
        return pictures.x[index]

    streamed = Streamed(
        label=pictures.label, spec=pictures.spec, size=300, decode=decode, workers=1
    )
    found = measured_moments(streamed)
    assert asked == 2 * chosen.tolist()
    some = replace(pictures, x=pictures.x[chosen], label=pictures.label[chosen])
    expected = measured_moments(some)
    assert torch.allclose(found.mean, expected.mean, atol=1e-6)
    assert torch.allclose(found.variances, expected.variances, rtol=1e-4)


def test_rows_are_chosen_by_label(pictures):
    found = measured_moments(pictures)
    assert found.given(torch.tensor([1, -1, 0])).row.tolist() == [1, 3, 0]
    assert found.given(None).row.tolist() == [3]


@pytest.mark.parametrize("height", [1, 4, 7])
def test_cosines_are_orthonormal(height, normal):
    channels, _ = torch.linalg.qr(normal(3, 3))
    basis, x = CosineBasis(channels, height, 5), normal(2, 3, height, 5)
    coordinates = basis.coordinates(x)
    assert torch.allclose(coordinates.norm(dim=1), x.flatten(1).norm(dim=1))
    assert torch.allclose(basis.samples(coordinates, x), x)


def test_the_first_cosine_is_the_mean(normal):
    """A constant picture is its level times √(H W) on the first axis, and nothing else."""
    coordinates = CosineBasis(torch.eye(1).double(), 4, 9).coordinates(
        torch.full((1, 1, 4, 9), 0.5, dtype=torch.float64)
    )
    assert coordinates[0, 0] == pytest.approx(0.5 * 6)
    assert float(coordinates[0, 1:].abs().max()) < 1e-12


def test_white_moments_are_those_of_the_description():
    found = white_moments((0.2, -0.1), 0.5, (2, 3, 4))
    assert found.sigma_data == pytest.approx(0.5)
    like = torch.zeros(1, 2, 3, 4, dtype=torch.float64)
    mean = found.basis.samples(found.mean, like)
    assert torch.allclose(mean[0, 0], torch.tensor(0.2).double())
    assert torch.allclose(mean[0, 1], torch.tensor(-0.1).double())
    with pytest.raises(InputError, match="variance above 0"):
        white_moments((0.0,), 0.0, (2,))


def test_a_signal_is_an_image_of_height_1(normal, monkeypatch):
    monkeypatch.setattr(moments, "PRINCIPAL", 10)
    x = normal(50, 3, 16)
    found = measured_moments(described(x.float(), levels=None, low=None, high=None))
    image = CosineBasis(found.basis.channels, 1, 16)
    assert torch.allclose(found.basis.coordinates(x), image.coordinates(x[:, :, None]))
    assert torch.allclose(found.basis.samples(found.basis.coordinates(x), x), x)
    again = moments_from(found.tensors(), (3, 16))
    assert torch.allclose(again.mean, found.mean, atol=1e-6)  # kept in float32
    white = white_moments((0.2, -0.1), 0.5, (2, 16))
    like = torch.zeros(1, 2, 16, dtype=torch.float64)
    level = torch.tensor([0.2, -0.1], dtype=torch.float64)[:, None].expand(2, 16)
    assert torch.allclose(white.basis.samples(white.mean, like)[0], level)


def test_a_trained_model_keeps_the_moments_of_its_data(tmp_path, recipe):
    trainer = Trainer(recipe("images"), tmp_path / "run")
    list(trainer)
    expected, found = measured_moments(trainer.run.data), load(tmp_path / "run").denoiser.moments
    assert torch.allclose(found.mean, expected.mean, atol=1e-6)
    assert torch.allclose(found.variances, expected.variances, rtol=1e-5)


def test_long_vectors_are_described_number_by_number(generator, monkeypatch):
    """Nothing of D² numbers is made of them, or kept."""
    monkeypatch.setattr(moments, "PRINCIPAL", 10)
    x = torch.randn(200, 30, generator=generator) * torch.arange(1, 31)
    found = measured_moments(
        described(x, torch.arange(200) % 2, classes=2, levels=None, low=None, high=None)
    )
    assert isinstance(found.basis, OwnBasis)
    assert set(found.tensors()) == {"mean", "variances"}
    assert torch.allclose(found.variances[-1], x.double().var(0, correction=0), rtol=1e-4)
    again = moments_from(found.tensors(), (30,))
    assert isinstance(again.basis, OwnBasis)
    assert torch.allclose(again.mean, found.mean, rtol=1e-5, atol=1e-5)
    rows = torch.arange(60.0).reshape(2, 30)
    coordinates = again.basis.coordinates(rows)
    coordinates += 1
    assert torch.equal(again.basis.samples(coordinates, rows), rows + 1)
