"""Networks of others, with stand-ins for them: how they are called, and when they are refused."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from scorefield.data.base import DataSpec
from scorefield.errors import InputError
from scorefield.evaluation.networks import INCEPTION_FILE, Dinov2, Inception, Own


@pytest.fixture
def images(generator):
    return torch.randint(0, 256, (5, 16, 16, 3), generator=generator, dtype=torch.uint8)


class InceptionStandIn(nn.Module):
    """Called as torch-fidelity 0.4 calls its own: channel means, and twice these as logits."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        assert features_list == ["2048", "logits_unbiased"]
        self.weight = nn.Parameter(torch.load(feature_extractor_weights_path))

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        means = x.float().mean((2, 3)) * self.weight
        return means, 2 * means


@pytest.fixture
def fidelity(monkeypatch, tmp_path):
    module = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = InceptionStandIn
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints" / INCEPTION_FILE


def test_inception_looks_at_colours(fidelity, images):
    torch.save(torch.tensor(1.0), fidelity)
    fitted = Inception().fitted(images)
    seen = fitted.look(images)
    assert torch.allclose(seen.features, images.double().mean((1, 2)), atol=1e-3)
    assert torch.allclose(seen.logits, 2 * seen.features)
    assert (fitted.name, fitted.published) == ("inception", True)
    gray = fitted.look(images[..., :1]).features
    assert torch.allclose(gray, images[..., :1].double().mean((1, 2)).expand(-1, 3), atol=1e-3)


def test_other_weights_have_another_hash(fidelity, images, tmp_path):
    torch.save(torch.tensor(1.0), fidelity)
    torch.save(torch.tensor(2.0), tmp_path / "other.pth")
    other = Inception(weights=str(tmp_path / "other.pth"))
    assert Inception().fitted(images).hash != other.fitted(images).hash


def test_inception_is_not_fetched(fidelity, images):
    with pytest.raises(InputError, match=f"need the weights {INCEPTION_FILE}.*there is no"):
        Inception().fitted(images)


class DinoStandIn(nn.Module):
    """Called as transformers calls Dinov2Model: channel means of what it is shown."""

    @classmethod
    def from_pretrained(cls, name, *, local_files_only):
        assert local_files_only
        if name != "here":
            raise OSError("not in the cache")
        return cls()

    def forward(self, x):
        assert x.shape[1:] == (3, 224, 224)
        return SimpleNamespace(pooler_output=x.mean((2, 3)))


def test_dinov2_looks_at_normalized_colours(monkeypatch, images):
    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(Dinov2Model=DinoStandIn))
    flat = images[:, :1, :1].expand(-1, 16, 16, -1)  # resizing leaves images of one colour alone
    seen = Dinov2("here").fitted(images).look(flat)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (flat[:, 0, 0].float() / 255 - mean) / std
    assert torch.allclose(seen.features, expected.double(), atol=1e-4)
    assert seen.logits is None
    with pytest.raises(InputError, match="'elsewhere' in Hugging Face's cache"):
        Dinov2("elsewhere").fitted(images)


@pytest.mark.parametrize(
    ("features", "package"), [(Inception(), "torch-fidelity"), (Dinov2(), "transformers")]
)
def test_a_missing_package_is_named(monkeypatch, images, features, package):
    for name in ("torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"{package}.*pip install \"scorefield\[evaluation\]\""):
        features.fitted(images)


@pytest.mark.parametrize("features", [Inception(), Dinov2()])
def test_what_is_no_picture_is_refused(features):
    features.check(DataSpec((1, 8, 8)))
    for shape in ((4, 8, 8), (2,)):
        with pytest.raises(InputError, match="look at gray or RGB images"):
            features.check(DataSpec(shape))


@pytest.fixture
def own(monkeypatch):
    module = ModuleType("own_features")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_function_of_the_user_s_own(own, images):
    own.look = lambda x: x.float().mean((1, 2))
    own.both = lambda x: (x.float().mean((1, 2)), x.float().amax((1, 2)))
    alone = Own("own_features:look").fitted(images)
    assert torch.allclose(alone.look(images).features, images.double().mean((1, 2)), atol=1e-3)
    assert alone.look(images).logits is None
    assert alone.name == "own_features:look"
    both = Own("own_features:both").fitted(images).look(images)
    assert torch.equal(both.logits, images.double().amax((1, 2)))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("own_features:absent", "cannot be imported.*absent"),
        ("no_such_module:look", "cannot be imported.*no_such_module"),
        ("own_features:number", "are not a function but int"),
        ("own_features:flat", r"must give tensors \(B, D\)"),
        ("own_features:one", "must give a row for each of 2 samples"),
    ],
)
def test_functions_that_do_not_fit(own, images, path, message):
    own.number, own.flat, own.one = 3, lambda x: x.float().mean(), lambda x: torch.zeros(1, 4)
    with pytest.raises(InputError, match=message):
        Own(path).fitted(images)
