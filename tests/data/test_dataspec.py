"""The description that travels with data, and the checks at the door."""

import numpy as np
import pytest
import torch

from scorefield.data.base import Arrays, DataSpec, described
from scorefield.errors import InputError

LEVELS = torch.arange(256, dtype=torch.uint8).reshape(2, 2, 8, 8)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-0.3, 2.7), (0.0, 255.0)])
def test_all_levels_survive_the_way_to_the_model_and_back(low, high):
    spec = DataSpec((2, 8, 8), low=low, high=high)
    x = spec.to_model(LEVELS)
    assert x.dtype == torch.float32
    assert (float(x.min()), float(x.max())) == pytest.approx((low, high), abs=1e-6)
    back = spec.to_arrays(x)
    assert back.dtype == np.uint8
    assert np.array_equal(back, LEVELS.permute(0, 2, 3, 1).numpy())


def test_levels_are_evenly_spaced():
    values = DataSpec((1, 1, 1), levels=5, low=-1, high=1).to_model(torch.arange(5).to(torch.uint8))
    assert values.tolist() == [-1, -0.5, 0, 0.5, 1]


def test_few_levels_are_saved_over_the_whole_range():
    spec = DataSpec((1, 1, 2), levels=2)
    x = spec.to_model(torch.tensor([[[[0, 1]]]], dtype=torch.uint8))
    assert spec.to_arrays(x).ravel().tolist() == [0, 255]


def test_out_of_range_is_clamped_not_wrapped():
    x = torch.tensor([-3.0, -1.001, 0.0, 1.001, 3.0]).reshape(1, 1, 1, 5)
    assert DataSpec((1, 1, 5)).to_arrays(x).ravel().tolist() == [0, 0, 128, 255, 255]


def test_real_numbers_stay_what_they_are():
    spec = DataSpec((3,), levels=None, low=None, high=None)
    x = torch.randn(4, 3, requires_grad=True)
    assert np.array_equal(spec.to_arrays(x), x.detach().numpy())
    assert torch.equal(spec.to_model(x.double()), x.detach())
    assert not spec.is_image
    assert DataSpec((1, 4, 4)).is_image


def test_vectors_have_units_for_the_model_and_return_to_their_own():
    spec = DataSpec(
        (2,), levels=None, low=None, high=None, center=(1000.0, -2.0), scale=(50.0, 4.0)
    )
    x = torch.tensor([[1000.0, -2.0], [1050.0, 2.0], [900.0, -10.0]])
    assert torch.equal(spec.to_model(x), torch.tensor([[0.0, 0.0], [1.0, 1.0], [-2.0, -2.0]]))
    assert np.allclose(spec.to_arrays(spec.to_model(x)), x)


def test_sixteen_bits_are_as_exact_as_eight():
    levels = torch.tensor([0, 1, 32767, 65535], dtype=torch.int32).to(torch.uint16)
    arrays = described(levels.reshape(4, 1, 1, 1), levels=65536)
    x, _ = arrays.batch(torch.arange(4))
    assert x.flatten().double().tolist() == pytest.approx(
        [2 * v / 65535 - 1 for v in (0, 1, 32767, 65535)], abs=1e-7
    )
    with pytest.raises(InputError, match=r"256 levels must be stored as uint8"):
        described(levels.reshape(4, 1, 1, 1))


def test_batches_are_converted_as_they_are_asked_for():
    arrays = Arrays(x=LEVELS, label=torch.tensor([3, 7]), spec=DataSpec((2, 8, 8), classes=10))
    x, label = arrays.batch(torch.tensor([1, 1, 0]))
    assert torch.equal(x, arrays.spec.to_model(LEVELS)[[1, 1, 0]])
    assert label.tolist() == [7, 7, 3]
    assert Arrays(x=LEVELS, label=None, spec=arrays.spec).batch(torch.tensor([0]))[1] is None
    assert len(arrays) == 2


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("count", [2, 20])
def test_measured_moments_of_images(channels, size, count):
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (count, channels, size, size + 1), dtype=np.uint8)
    spec = described(torch.from_numpy(stored)).spec
    values = stored.astype(np.float64) / 255 * 2 - 1
    assert spec.shape == stored.shape[1:]
    assert spec.mean == pytest.approx(values.mean((0, 2, 3)), abs=1e-6)
    assert spec.sigma_data == pytest.approx(np.sqrt(values.var((0, 2, 3)).mean()), rel=1e-5)


def test_measured_moments_of_points_over_many_blocks():
    values = np.random.default_rng(0).normal([1, -4, 0.5], [2, 0.1, 7], (20_000, 3))
    spec = described(torch.from_numpy(values), levels=None, low=None, high=None).spec
    assert spec.mean == pytest.approx(values.mean(0), rel=1e-6)
    assert spec.sigma_data == pytest.approx(np.sqrt(values.var(0).mean()), rel=1e-6)


def test_measured_moments_are_in_the_models_units_for_vectors_of_levels_too():
    stored = np.random.default_rng(1).integers(0, 256, (50, 3), dtype=np.uint8)
    spec = described(torch.from_numpy(stored)).spec
    values = stored / 127.5 - 1
    assert spec.mean == pytest.approx(values.mean(0), abs=1e-6)
    assert spec.sigma_data == pytest.approx(np.sqrt(values.var(0).mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("x", "options", "sentence"),
    [
        (torch.zeros(0, 1, 2, 2, dtype=torch.uint8), {}, "at least 1 sample, got 0"),
        (torch.full((3, 2), 7.0), {"levels": None}, "samples must lie in -1 to 1, got 7 to 7"),
        (torch.tensor([[0.0], [-1.5]]), {"levels": None}, "must lie in -1 to 1, got -1.5 to 0"),
        (torch.tensor([[0.0], [float("nan")]]), {"levels": None}, "finite numbers, got NaN"),
        (
            torch.tensor([[0.0], [float("inf")]]),
            {"levels": None, "low": None, "high": None},
            "finite numbers, got NaN or infinity",
        ),
        (torch.full((3, 1, 2, 2), 9, dtype=torch.uint8), {}, "all samples are equal"),
        (torch.zeros(3, 1, 2, 2), {}, "256 levels must be stored as uint8, got float32"),
    ],
    ids=["empty", "above", "below", "nan", "infinite", "equal", "dtype"],
)
def test_bad_samples_are_refused(x, options, sentence):
    with pytest.raises(InputError, match=sentence):
        described(x, **options)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0, 3], "labels must lie in 0 to 2, got 0 to 3"),
        ([-1, 2], "labels must lie in 0 to 2, got -1 to 2"),
    ],
)
def test_bad_labels_are_refused(labels, sentence):
    with pytest.raises(InputError, match=sentence):
        described(LEVELS, torch.tensor(labels), classes=3)


def test_a_label_for_each_sample():
    with pytest.raises(InputError, match="label"):
        described(LEVELS, torch.tensor([0, 1, 2]), classes=3)


def test_the_edges_of_the_range_are_in_it():
    arrays = described(torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 2]), levels=None, classes=3)
    assert (arrays.spec.mean, arrays.spec.sigma_data) == ((0.0,), 1.0)
    assert arrays.spec.classes == 3
