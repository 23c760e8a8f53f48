"""The classifier that comes with the package, and what its features are good for."""

import os

import pytest
import torch
from safetensors import safe_open

from scorefield.data.mnist import MNIST, MNIST10k
from scorefield.errors import InputError
from scorefield.evaluation import digit_classifier, digit_features, digits, frechet_distance


@pytest.fixture(scope="module")
def some():
    data = MNIST10k().load()
    return data.x[:1000].movedim(1, -1), data.label[:1000]


def test_it_reads_digits(some):
    images, label = some
    features, logits = digit_features(images[:500])
    assert features.shape == (500, 128)
    assert (logits.argmax(1) == label[:500]).double().mean() > 0.997  # it was trained on these


def test_the_file_says_how_accurate_it_is():
    file = digits.resources.files("scorefield.evaluation") / "embedded" / digits.WEIGHTS
    with safe_open(str(file), framework="pt") as content:
        assert float(content.metadata()["accuracy"].split()[0]) >= 0.995


@pytest.mark.slow
def test_test_images():
    """Where the test images are at hand."""
    root = os.environ.get("SCOREFIELD_DATA")
    if not root:
        pytest.skip("the test images are not embedded; SCOREFIELD_DATA tells where they are")
    data = MNIST(root).load("test")
    _, logits = digit_features(data.x.movedim(1, -1))
    assert (logits.argmax(1) == data.label).double().mean() >= 0.995


def test_an_image_does_not_depend_on_its_batch(some):
    images, _ = some
    whole, one = digit_features(images[:100])[0], digit_features(images[:100], batch=7)[0]
    assert torch.allclose(whole, one, atol=1e-4)


@pytest.mark.slow
def test_worse_images_are_further_away(some):
    """Noise of growing strength moves a set away from another of the same kind."""
    images, _ = some
    near, other = digit_features(images[:500])[0], images[500:]
    noise = torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    found = [
        frechet_distance(near, digit_features((other + s * noise).clamp(0, 255).byte())[0])
        for s in (0, 30, 60, 120)
    ]
    assert found == sorted(found)
    assert found[3] > 3 * found[0]


def test_other_images_are_refused(some):
    images, _ = some
    with pytest.raises(InputError, match=r"\(N, 28, 28, 1\), got torch.uint8 \(2, 27, 28, 1\)"):
        digit_features(images[:2, 1:])
    with pytest.raises(InputError, match=r"got torch\.float32"):
        digit_features(images[:2].float())


def test_damaged_weights_are_not_used(monkeypatch):
    monkeypatch.setattr(digits, "SHA256", "0" * 64)
    digit_classifier.cache_clear()
    with pytest.raises(InputError, match="damaged"):
        digit_classifier()
    monkeypatch.undo()
    digit_classifier.cache_clear()
    assert not digit_classifier().training
