"""Features: which there are, what they see, and that one is never taken for another."""

import hashlib

import pytest
import torch
from torch import nn

from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.evaluation.choice import FEATURES, features_for, find_features
from scorefield.evaluation.digits import digit_features
from scorefield.evaluation.features import Digits, Pixels, fingerprint, shown
from scorefield.evaluation.networks import Dinov2, Inception, Own

GRAY, VECTORS = DataSpec((1, 28, 28), 10), DataSpec((3,), levels=None, low=None, high=None)


@pytest.fixture
def images(generator):
    return torch.randint(0, 256, (40, 28, 28, 1), generator=generator, dtype=torch.uint8)


def test_the_default_is_what_fits_the_data():
    assert features_for(GRAY) == Digits()
    assert features_for(VECTORS) == Pixels()
    assert features_for(DataSpec((2, 50), levels=None, low=None, high=None)) == Pixels()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 27, 28), (3, 28, 28)])
def test_other_images_have_no_default(shape):
    with pytest.raises(InputError, match="choose with --features: inception or dinov2"):
        features_for(DataSpec(shape))


def test_names():
    assert {find_features(name) for name in FEATURES} == {
        *(Digits(), Pixels(), Inception(), Dinov2())
    }
    assert find_features("pixels", {"size": 7}) == Pixels(7)
    assert find_features("a.b:c") == Own("a.b:c")
    assert Own not in FEATURES.values()  # what is executed is named on the command line only
    with pytest.raises(InputError, match=r"unknown features 'digit'; did you mean 'digits'\?"):
        find_features("digit")
    with pytest.raises(InputError, match="unknown key in features: 'sise'"):
        find_features("pixels", {"sise": 7})


def test_digits_are_the_classifier_s(images):
    fitted = Digits().fitted(images[:0])
    seen = fitted.look(images)
    features, logits = digit_features(images)
    assert torch.allclose(seen.features, features, atol=1e-4)
    assert torch.allclose(seen.logits, logits, atol=1e-4)
    with pytest.raises(InputError, match=r"28×28 pixels, the data are \(3, 28, 28\)"):
        Digits().check(DataSpec((3, 28, 28)))


def test_few_numbers_are_features_themselves(normal):
    x = normal(9, 3).float()
    assert torch.equal(Pixels().fitted(x).look(x).features, x.double())


@pytest.mark.parametrize("rows", [30, 300])  # fewer and more than the 100 numbers of a sample
def test_many_numbers_are_reduced_as_scikit_learn_does(normal, rows):
    from sklearn.decomposition import PCA

    x = normal(rows, 100) @ torch.diag(torch.linspace(1, 3, 100).double())
    fitted = Pixels(size=6).fitted(x)
    found, other = fitted.look(x).features, PCA(6, svd_solver="full").fit_transform(x.numpy())
    assert torch.allclose(found.abs(), torch.from_numpy(other).abs(), atol=1e-6)


def test_pixels_of_images_are_shares_of_white():
    x = torch.tensor([0, 255, 51], dtype=torch.uint8).reshape(3, 1, 1, 1)
    assert Pixels().fitted(x).look(x).features.flatten().tolist() == [0, 1, 0.2]


def test_images_are_looked_at_as_people_keep_them():
    x = torch.tensor([-1.0, 1.0, 0.001, 7.0]).reshape(4, 1, 1, 1)
    assert shown(x, DataSpec((1, 1, 1))).flatten().tolist() == [0, 255, 128, 255]
    vectors = torch.tensor([[0.5, 2.0, -3.0]])
    assert torch.equal(shown(vectors, VECTORS), vectors)


def test_fingerprint_tells_weights_apart():
    with torch.random.fork_rng(devices=[]):
        one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    same = nn.Linear(2, 2)
    same.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert fingerprint(torch.zeros(2, 3)) != fingerprint(torch.zeros(3, 2))
    assert fingerprint("a") == hashlib.sha256(b"a").hexdigest()[:16]
    assert fingerprint(torch.zeros(0)) != fingerprint("")
